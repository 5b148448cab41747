"""The README's commands, run as a reader would run them, against what it says they print."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.processes import free_port
from options import parse
from options.env_file import read_env_file
from options.launching import Launch
from pipeline import notify, replay
from pipeline.flex_template.command import plan_build
from transforms.predictors.saved_model_files import fingerprint

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks() -> list[tuple[str, str, str]]:
    """Return each block of code: its language, its text, and what the README shows as its output."""
    found = [(match.group(1), match.group(2)) for match in _BLOCK.finditer(README)]
    following = [*found[1:], ("", "")]
    return [
        (language, code, output if kind == "text" else "")
        for (language, code), (kind, output) in zip(found, following, strict=True)
        if language in ("bash", "python")
    ]


def _shape(line: str) -> str:
    """Leave out of a line what differs from run to run: numbers, and how it is aligned."""
    return re.sub(r"\s+", " ", re.sub(r"\b[0-9a-f]{16}\b|\d+([.,]\d+)*", "#", line)).strip()


def _pieces(line: str) -> list[str]:
    """Return what stands between the dots that leave something out."""
    return [piece.strip(' ,"') for piece in re.split(r"\.\.\.", line) if piece.strip(' ,"')]


@pytest.mark.parametrize(("language", "code", "shown"), _blocks())
def test_readme_block_runs_and_prints_what_the_readme_shows(language: str, code: str, shown: str) -> None:
    command = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]

    done = subprocess.run(
        [*command, code], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )

    assert done.returncode == 0, done.stderr
    printed = [_shape(line) for line in done.stdout.splitlines()]
    for line in shown.splitlines():
        for piece in _pieces(line):
            assert any(_shape(piece) in candidate for candidate in printed), (piece, done.stdout)


def test_an_endpoint_is_called_as_the_readme_says() -> None:
    (section,) = re.findall(r"^## Call an endpoint\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    (_, serve), (_, ready), (_, call), (_, summary) = _BLOCK.findall(section)
    port = str(free_port())
    command = ["bash", "-euo", "pipefail", "-c"]

    with subprocess.Popen(
        [*command, serve], cwd=ROOT, env={**os.environ, "PORT": port}, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line == ready.replace("8080", port)
            done = subprocess.run(
                [*command, call.replace("8080", port)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        finally:
            server.send_signal(signal.SIGINT)  # Ctrl-C, as the line says
            code = server.wait(timeout=60)

    assert (done.returncode, code) == (0, 0), done.stderr
    printed = [_shape(line) for line in done.stdout.splitlines()]
    assert [line for line in map(_shape, summary.splitlines()) if line not in printed] == []


def _commands(program: str) -> list[list[str]]:
    """Return the arguments of the commands that need Google Cloud, and so are not run."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for path in documents for block in _BLOCK.finditer(path.read_text())]
    lines = [line for block in blocks if block.group(1) == "sh" for line in _lines(block.group(2))]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


def _lines(code: str) -> list[str]:
    return code.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("arguments", _commands("beam-predict"), ids=" ".join)
def test_the_flags_of_a_command_for_google_cloud_are_understood(arguments: list[str]) -> None:
    commands = {"notify": notify._parse, "replay": replay._parse}
    if arguments[0] in commands:
        commands[arguments[0]](arguments[1:])
    else:
        parse(arguments)


@pytest.mark.parametrize("arguments", _commands("./run_dataflow.sh"), ids=" ".join)
def test_the_flags_of_a_job_on_dataflow_are_understood(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no .env is
    settings = read_env_file(ROOT / ".env.example")
    if arguments[:2] == ["template", "build"]:
        assert list(plan_build(arguments[2:], settings).problems) == []
        return
    mode, *flags = arguments[2:] if arguments[:2] == ["template", "run"] else arguments
    launch = Launch.of(mode, flags, settings)
    assert [*launch.problems(), *launch.missing()] == []
    parse(launch.words("setup.py", "20260101-000000"))


def test_the_images_are_built_with_what_their_build_takes() -> None:
    command = next(words for words in _commands("gcloud") if words[:2] == ["builds", "submit"])
    config = (ROOT / command[command.index("--config") + 1]).read_text()
    given = command[command.index("--substitutions") + 1].split(",")
    for name in [text.partition("=")[0] for text in given] + re.findall(r"`(_[A-Z]+)=", README):
        assert re.search(rf"^  {name}: ", config, re.MULTILINE), name


def test_the_demonstration_shows_predictions_and_dead_letters_as_they_come(pubsub: str) -> None:
    command = [sys.executable, "-m", "emulators.demo", "--seconds", "4", "--drops_a_second", "10"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert re.search(r"gs://photos/digit-0003\.png +is a \d +\d+ ms", done.stdout), done.stdout
    assert re.search(r"gs://photos/cut-0014\.png +is none: DecodeError +\d+ ms", done.stdout), done.stdout
    assert re.search(r"\d+ records: half of them within \d+ ms", done.stdout), done.stdout
    assert "Done in" in done.stdout
    assert "UNACCOUNTED" not in done.stdout


def test_the_readme_shows_the_version_of_the_bundled_model() -> None:
    assert f"version {fingerprint(str(ROOT / 'examples/digits/model'))}" in README
