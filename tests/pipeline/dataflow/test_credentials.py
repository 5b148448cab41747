"""Looking for credentials before a job: which are told as missing, as invalid, and as not to be known now."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from emulators.credentials import VARIABLE, write_credentials
from pipeline.dataflow.api import NoCredentials, Unreachable, find_credentials

CLOUD = PipelineOptions([]).view_as(GoogleCloudOptions)


def test_being_offline_is_no_fault_of_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(write_credentials(tmp_path, "http://localhost:9/token")))
    with pytest.raises(Unreachable, match=r"cannot be reached \(Connection refused\); see to .*HTTPS_PROXY"):
        find_credentials(CLOUD)


def test_who_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        token_uri = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        monkeypatch.setenv(VARIABLE, str(write_credentials(tmp_path, token_uri)))
        with pytest.raises(Unreachable, match=r"cannot be reached \(no answer in 1 s\)"):
            find_credentials(CLOUD, seconds=1.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "was not found"),
        ("{}", "does not have a valid type"),
        ("no JSON", "is not a valid json file"),
        ('{"type": "service_account"}', "missing fields"),
    ],
)
def test_a_file_that_holds_none_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, reason: str
) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(
        NoCredentials, match=rf"^{VARIABLE} {file}: there are no credentials \(.*{reason}.*\)"
    ):
        find_credentials(CLOUD)
