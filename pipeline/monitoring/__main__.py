"""Write the dashboard, the alerts, what the runbook says of them, and the list of metrics.

    .venv/bin/python -m pipeline.monitoring

writes what is committed. For jobs and subscriptions of your own:

    .venv/bin/python -m pipeline.monitoring --job_name 'photos-.*' --subscription photos
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.exit_codes import DONE
from pipeline.monitoring.documentation import RUNBOOK
from pipeline.monitoring.files import (
    DOCS,
    FOLDER,
    JOB_NAME,
    SUBSCRIPTION,
    metrics_page,
    monitoring_files,
    runbook_page,
)
from pipeline.monitoring.flag_values import address, names, subscription_ids

OWN_FOLDER = Path("out/monitoring")
"""Where the files go that are not the committed ones."""

_DESCRIPTION = f"""\
Write the dashboard and the alerts of jobs. Without flags, those that are committed are written anew:
{FOLDER}, {DOCS}, and the alerts in {RUNBOOK}.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; those of the docs only where the committed ones are written.

    Raises:
        SystemExit: The flags are wrong, or the help was asked for; what is to be told was printed.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    committed = given == parser.parse_args([])
    folder = given.folder or (FOLDER if committed else OWN_FOLDER)
    files = monitoring_files(given.job_name, given.subscription, given.runbook)
    written = {folder / name: content for name, content in files.items()}
    if committed:
        if not Path(RUNBOOK).exists():
            parser.error(f"{RUNBOOK} is not here; go to the folder of the repository, or pass --folder")
        written |= _docs()
    try:
        _write(written)
    except OSError as error:
        parser.error(f"{error.filename} cannot be written ({error.strerror}); pass another --folder")
    return DONE


def _write(contents: Mapping[Path, str]) -> None:
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.monitoring", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "--job_name", type=names, default=JOB_NAME, metavar="REGEX", help="which jobs (%(default)s)"
    )
    parser.add_argument(
        "--subscription",
        type=subscription_ids,
        default=SUBSCRIPTION,
        metavar="REGEX",
        help="the ids of which subscriptions (%(default)s)",
    )
    parser.add_argument(
        "--runbook",
        type=address,
        metavar="URL",
        help=f"where {RUNBOOK} can be read: notifications link to it then",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help=f"where the files go ({OWN_FOLDER} if there is another flag, else what is committed is written)",
    )
    return parser


def _docs() -> Mapping[Path, str]:
    runbook = Path(RUNBOOK)
    return {DOCS: metrics_page(), runbook: runbook_page(runbook.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    sys.exit(main())
