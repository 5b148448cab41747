"""Write the dashboard, the alerts, what the runbook says of them, and the list of metrics.

    .venv/bin/python -m pipeline.monitoring

writes what is committed. For jobs and subscriptions of your own:

    .venv/bin/python -m pipeline.monitoring --job_name 'photos-.*' --subscription photos --folder out/photos
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; those of the docs only where the committed ones are written."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.monitoring", description="Write the dashboard and the alerts of jobs."
    )
    parser.add_argument("--job_name", default=JOB_NAME, metavar="REGEX", help="which jobs (%(default)s)")
    parser.add_argument(
        "--subscription", default=SUBSCRIPTION, metavar="REGEX", help="which subscriptions (%(default)s)"
    )
    parser.add_argument(
        "--runbook", metavar="URL", help=f"where {RUNBOOK} can be read: notifications link to it then"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files go (%(default)s)")
    given = parser.parse_args(arguments)
    files = monitoring_files(given.job_name, given.subscription, given.runbook)
    written = {given.folder / name: content for name, content in files.items()}
    if given.folder == FOLDER:
        written[DOCS] = metrics_page()
        written[Path(RUNBOOK)] = runbook_page(Path(RUNBOOK).read_text(encoding="utf-8"))
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
