"""docs/runbook.md: its flags exist, its links lead somewhere, and its replay of dead letters works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from options.parsing import _beam_flags, _own_flags
from options.replay import ReplayOptions

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/runbook.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OURS = ("./run_dataflow.sh", "beam-predict")
OF_THE_SCRIPT = {"dry_run"}


def commands(*programs: str) -> list[list[str]]:
    """Return the commands of the page that start with a program, word by word."""
    text = "\n".join(code for language, code in BLOCKS if language in {"sh", "bash"}).replace("\\\n", "")
    split = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [words for words in split if words and words[0] in programs]


def test_the_flags_of_its_commands_exist() -> None:
    known = {flag.removeprefix("--") for flag in (*_own_flags(), *_beam_flags())} | OF_THE_SCRIPT
    found = commands(*OURS)
    assert len(found) > 8
    for words in found:
        flags = {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}
        of_command = {flag.name for flag in ReplayOptions.FLAGS} if words[1] == "replay" else known
        assert flags <= of_command, words


def test_flags_in_its_text_exist() -> None:
    known = {flag.removeprefix("--") for flag in (*_own_flags(), *_beam_flags())} | OF_THE_SCRIPT
    known |= {flag.name for flag in ReplayOptions.FLAGS}
    text = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    flags = set(re.findall(r"`--(\w+)[ `]", text))
    of_gcloud = {"force"}
    assert flags - of_gcloud <= known


def test_its_links_lead_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        assert (ROOT / "docs" / path).exists() if path else anchor in anchors, target


def test_dead_letters_are_replayed_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    places = [place for place, (language, _) in enumerate(BLOCKS) if language == "bash"]
    (place,) = places
    program = f'beam-predict() {{ {shlex.quote(sys.executable)} -m pipeline "$@"; }}\n{BLOCKS[place][1]}'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout[done.stdout.index("written:") :].splitlines()
    for line in BLOCKS[place + 1][1].splitlines():
        assert line in printed
