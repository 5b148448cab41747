"""Credentials of Google's without Google: a workload's identity, whose tokens an emulator gives."""

from __future__ import annotations

import json
from pathlib import Path

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


def write_credentials(folder: Path, token_uri: str) -> Path:
    """Write credentials as `gcloud iam workload-identity-pools create-cred-config` does.

    Google's own client libraries find, read and use them; so no program has to be told that they are none.

    Args:
        folder: For two files; the one that is returned goes into `GOOGLE_APPLICATION_CREDENTIALS`.
        token_uri: Who exchanges the workload's token for an access token, as `emulators.dataflow` does.
    """
    token, credentials = folder / "token", folder / "credentials.json"
    token.write_text("a token of the workload")
    described = {
        "type": "external_account",
        "audience": "//emulators",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_uri,
        "credential_source": {"file": str(token)},
    }
    credentials.write_text(json.dumps(described))
    return credentials
