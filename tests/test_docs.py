"""The commands of docs/models.md and docs/engines.md on the digits, against what the pages say they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.transforms.predictors.engines.installed import require

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d+([.,]\d+)*(e-?\d+)?")
_FIXED = ("compared on", "agree in")
_NOT_RUN = "mobilenet_v2"


def _commands(page: str) -> list[tuple[str, str]]:
    """Return the commands of a page that need only the repository, and what it shows as their output."""
    blocks = [match.groups() for match in _BLOCK.finditer((ROOT / "docs" / page).read_text())]
    following = [*blocks[1:], ("", "")]
    return [
        (code.replace("\\\n", ""), shown if kind == "text" else "")
        for (language, code), (kind, shown) in zip(blocks, following, strict=True)
        if language == "bash" and "examples/digits" in code and _NOT_RUN not in code
    ]


def _shape(line: str) -> str:
    """Leave out what differs from machine to machine: sizes, differences and speeds."""
    text = " ".join(line.split())
    if text.startswith("engine "):  # which is the fastest, differs as well
        return "engine"
    return text if text.startswith(_FIXED) else _NUMBER.sub("#", text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the digits lie where the pages have them."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", ["models.md", "engines.md"])
def test_the_commands_of_a_page_print_what_it_shows(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    require("litert")
    commands = _commands(page)
    assert commands

    for code, shown in commands:  # in the order of the page: some take what others have written
        program, *arguments = shlex.split(code)
        assert (program, main(arguments)) == ("beam-predict", 0), capsys.readouterr().err
        printed = [_shape(line) for line in capsys.readouterr().out.splitlines()]
        assert [line for line in map(_shape, shown.splitlines()) if line not in printed] == []


def test_the_pages_say_which_blocks_are_not_run() -> None:
    for page in ("models.md", "engines.md"):
        text = (ROOT / "docs" / page).read_text()
        assert re.search(r"tests do not run\s+(the|these)\s+blocks", text) or _NOT_RUN not in text


def test_the_line_of_an_engine_is_the_one_that_a_run_prints(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("litert")
    require("openvino")
    (command,) = [code for code, _ in _commands("engines.md") if "--engine auto" in code]
    (shown,) = re.findall(r"^  engine  .*$", (ROOT / "docs/engines.md").read_text(), re.MULTILINE)

    assert main(shlex.split(command)[1:]) == 0

    (printed,) = re.findall(r"^  engine  .*$", capsys.readouterr().out, re.MULTILINE)
    form = r"  engine        \w+; \w+ [\d.]+ times, \w+ [\d.]+ times the speed of tensorflow"
    assert re.fullmatch(form, shown)
    assert re.fullmatch(form, printed)
