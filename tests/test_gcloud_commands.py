"""Each command of gcloud that a page, a comment or a message tells people to run is one that gcloud takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from pipeline.monitoring.remedies import REMEDIES
from tests.conftest import ROOT
from tests.gcloud import commands_in_comments, commands_in_messages, commands_in_page, complaints

PAGES = [ROOT / "README.md", ROOT / "tests/README.md", *sorted((ROOT / "docs").glob("*.md"))]
HEADS = [path for path in sorted((ROOT / "deploy").rglob("*")) if path.is_file() and path.suffix != ".json"]
MODULES = [
    path for name in ("options", "pipeline", "transforms") for path in sorted((ROOT / name).rglob("*.py"))
]


def found() -> dict[str, Path]:
    """Return the commands, each with a file that has it."""
    kinds = {commands_in_page: PAGES, commands_in_comments: HEADS, commands_in_messages: MODULES}
    return {
        command: path
        for extract, paths in kinds.items()
        for path in paths
        for command in extract(path.read_text(encoding="utf-8"))
    }


COMMANDS = found()


@cache
def refused() -> Mapping[str, str]:
    """Ask gcloud once about all of them."""
    return complaints(
        [*COMMANDS, "gcloud dataflow jobs drain --region=us-central1 --project=my-project --no-such"]
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_gcloud_takes_the_command(command: str) -> None:
    assert command not in refused(), f"{COMMANDS[command].relative_to(ROOT)}: {refused().get(command)}"


def test_gcloud_refuses_what_is_wrong() -> None:
    (wrong,) = [told for command, told in refused().items() if "--no-such" in command]
    assert "JOB_ID" in wrong or "--no-such" in wrong


def test_the_commands_are_found() -> None:
    assert {"README.md", "runbook.md", "serving.md", "cloudbuild.yaml"} <= {
        path.name for path in COMMANDS.values()
    }
    shown = "\n".join(COMMANDS)
    for remedy in REMEDIES.values():
        for command in remedy.commands:
            assert command.replace("\\\n", " ") in shown


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if COMMANDS[one].name in {"runbook.md", "dataflow.md"}]
)
def test_a_command_of_an_operator_names_its_project(command: str) -> None:
    """What gcloud has been configured with is another project sooner or later."""
    of_no_project = ("gcloud storage cp", "gcloud storage rm", "gcloud auth ", "gcloud projects ")
    of_buckets = "gcloud storage buckets add-iam-policy-binding"
    only_named = re.fullmatch(r"[a-z -]+", command)
    assert only_named or command.startswith((*of_no_project, of_buckets)) or "--project" in command
