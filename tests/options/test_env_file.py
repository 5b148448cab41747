"""A file `.env`: what is read here is what a shell reads."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from options.env_file import load_env_file, read_env_file
from transforms.errors import UsageError

BASH = shutil.which("bash") or "/bin/bash"
LETTERS = [*" \t'\"$`\\#~*?[]{}()<>|&;!=:,.-^%@+/aZ0_", "é", "\u00a0", "\u2028"]
NASTY = [*LETTERS, "''", '""', "$(", "${", "$'", "~/", " #", "{a,b}", "{1..2}"]
TRIES = 5_000


def of_bash(file: Path, *names: str) -> dict[str, str]:
    """Return what a shell has after it has read a file, under some names."""
    run = subprocess.run(
        [BASH, "--norc", "-c", 'set -a; . "$0"; env -0', str(file)],
        env={"PATH": "/usr/bin:/bin", "HOME": "/home/somebody"},
        cwd=file.parent,
        capture_output=True,
        check=True,
    )
    pairs = (entry.partition("=")[::2] for entry in run.stdout.decode().split("\0"))
    return {name: value for name, value in pairs if name in names}


def accepted(file: Path) -> bool:
    try:
        read_env_file(file)
    except ValueError:
        return False
    return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("V=", ""),
        ("V=my-project", "my-project"),
        ("export V=my-project", "my-project"),
        ("\texport\t V=a", "a"),
        ("V=gs://b/photos/**.jpg", "gs://b/photos/**.jpg"),
        ("V=bigquery:p.d.t", "bigquery:p.d.t"),
        ("V='a=1, b=2'  # two", "a=1, b=2"),
        ("V=a\t# one", "a"),
        ("V= # none", ""),
        ('V="it\'s"', "it's"),
        ("V='type:t;count:1'", "type:t;count:1"),
        ("V='$HOME `ls` \\ ~ #'", "$HOME `ls` \\ ~ #"),
        ("V='it'\"'\"'s $1'", "it's $1"),
        ("V=a'b c'\"d e\"f", "ab cd ef"),
        ("V='größe'", "größe"),
        ("V=größe", "größe"),
    ],
)
def test_a_value_is_what_a_shell_takes_it_for(file: Path, line: str, value: str) -> None:
    file.write_text(f"# a comment\n\n  {line}\nW=1\n", encoding="utf-8")
    assert read_env_file(file) == {"V": value, "W": "1"} == of_bash(file, "V", "W")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("type:t;count:1", "a ; outside quotes"),
        ("a&b", "a & outside quotes"),
        ("a|b", "a | outside quotes"),
        ("a<b", "a < outside quotes"),
        ("(a)", "a ( outside quotes"),
        ("$HOME/key.json", "a $ outside quotes"),
        ("`id`", "a ` outside quotes"),
        ("~/key.json", "a ~ outside quotes"),
        ("a\\b", "a \\ outside quotes"),
        ("a#b", "a # outside quotes"),
        ("{a,b}", "a { outside quotes"),
        ('"$HOME"', "between double quotes"),
        ('"a`id`"', "between double quotes"),
        ('"a\\b"', "between double quotes"),
        ("a b", "more behind the value"),
        ("'a' b", "more behind the value"),
        ("'a", "a ' has no second one"),
        ('"a', 'a " has no second one'),
    ],
)
@pytest.mark.parametrize("export", ["", "export "])
def test_what_a_shell_may_take_for_something_else_must_be_in_quotes(
    file: Path, value: str, told: str, export: str
) -> None:
    file.write_text(f"REGION=a\n{export}KEY={value}\n")
    with pytest.raises(ValueError, match="line 2: ") as caught:
        read_env_file(file)
    assert told in str(caught.value)
    assert "write KEY='VALUE', in single quotes" in str(caught.value)


@pytest.mark.parametrize("value", ["$BUCKET/model", '"$BUCKET/model"', '"gs://$BUCKET"'])
def test_a_variable_in_a_value_is_to_be_written_out(file: Path, value: str) -> None:
    file.write_text(f"MODEL={value}\n")
    with pytest.raises(ValueError, match="no variable is replaced in this file, so write its value out"):
        read_env_file(file)


def test_all_bad_lines_are_told_at_once(file: Path) -> None:
    file.write_text("A=a b\nB=right\nC = d\nE='f\n")
    with pytest.raises(UsageError) as caught:
        load_env_file(file)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        f"{file}, line {number}" for number in (1, 3, 4)
    ]


@pytest.mark.parametrize(
    "line", ["PROJECT", "PROJECT = a", "1=2", "export PROJECT", "Größe=1", "A+=b", "A[0]=b"]
)
def test_a_line_that_is_no_assignment_is_told(file: Path, line: str) -> None:
    file.write_text(f"REGION=a\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: must be NAME=VALUE"):
        read_env_file(file)


def test_a_name_that_a_shell_keeps_for_itself_is_told(file: Path) -> None:
    file.write_text("UID=1000\n")
    with pytest.raises(ValueError, match="line 1: UID cannot be set in a shell"):
        read_env_file(file)


def test_what_may_be_a_secret_is_not_repeated(file: Path) -> None:
    file.write_text("KEY=hunter2;x\n")
    with pytest.raises(ValueError, match="KEY") as caught:
        read_env_file(file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"A=1\r\nB=2\r\n", "lines that end as on Windows"),
        (b"\xef\xbb\xbfA=1\n", "begins with a byte order mark"),
        ("A=1\n".encode("utf-16"), "no text in UTF-8"),
        (b"A=caf\xe9\n", "no text in UTF-8"),
        (b"A=1\nB='\x00'\n", "line 2: has the control character '\\x00'"),
        (b"A=1\n\x0cB=2\n", "line 2: has the control character '\\x0c'"),
    ],
)
def test_a_file_in_another_form_is_told_with_its_name(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match="env") as caught:
        read_env_file(file)
    assert str(caught.value).startswith(str(file))
    assert told in str(caught.value)


def test_without_a_file_there_are_no_values(file: Path) -> None:
    assert read_env_file(file) == {}
    file.mkdir()  # a virtual environment may have this name
    assert read_env_file(file) == {}


def test_whatever_is_accepted_is_the_same_in_a_shell(file: Path) -> None:
    chance = random.Random(6)
    lines = []
    for _ in range(TRIES):
        value = "".join(chance.choices(NASTY, k=chance.randrange(9)))
        export, quote = chance.choice(["", "export "]), chance.choice(["", "'", '"'])
        line = f"{export}V{len(lines)}={quote}{value}{quote}"
        file.write_text(f"{line}\n", encoding="utf-8")
        if accepted(file):
            lines.append(line)
    assert 1_000 < len(lines) < TRIES
    file.write_text("\n".join(lines), encoding="utf-8")
    found = read_env_file(file)
    assert len(found) == len(lines)
    assert of_bash(file, *found) == found
