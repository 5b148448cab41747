"""`beam-predict replay`, as a user calls it: what failed is tried again, and only that."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from pipeline.cli import main
from pipeline.exit_codes import DONE, FAILED, WRONG_USAGE
from tests.conftest import IMAGES, MODEL, run
from transforms.errors import ModelUnavailable, ParseError
from transforms.json_values import record_to_json
from transforms.records import DeadLetter, FileRef

PROGRAM = Path(sys.executable).with_name("beam-predict")
UNCHANGED = "not retryable; when its cause is removed, take it with --kind {}"


@pytest.fixture
def replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Run the command; `list` has the lines that it writes."""

    def call(dead_letters: object, *flags: str, output: str = "again.jsonl") -> SimpleNamespace:
        path = tmp_path / output
        code = main(["replay", "--dead_letters", str(dead_letters), "--output", str(path), *flags])
        out, err = capsys.readouterr()
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else None
        return SimpleNamespace(code=code, out=out.splitlines(), err=err, list=lines, path=path)

    return call


def letters(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def letter(
    uri: str | None, stage: str = "read", error: str = "StorageUnavailable", **fields: Any
) -> dict[str, Any]:
    return {"uri": uri, "stage": stage, "error": error, "retryable": True, "attributes": {}, **fields}


def test_files_that_were_missing_are_predicted_on_when_they_have_come(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    late = tmp_path / "late.png"
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    names = tmp_path / "names.jsonl"
    names.write_text(
        "".join(f"{json.dumps({'uri': str(path), 'shop': 7})}\n" for path in (IMAGES[0], late, bad))
    )
    first = run("--input", f"@{names}", "--model", MODEL, "--signature", "from_bytes", output=tmp_path / "1")
    assert len(first.predictions) == 1

    shutil.copy(IMAGES[1], late)
    made = replay(tmp_path / "1" / "dead_letters-*.jsonl", "--kind", "read/FileMissing")
    assert (made.code, made.list) == (DONE, [{"shop": 7, "uri": str(late)}])
    assert made.out == [
        "left out: 1 decode/DecodeError: of no --kind that is asked for",
        f"written: 1 to {made.path}",
        f"next: {PROGRAM} --input @{made.path} --model MODEL --output OUTPUT",
    ]
    assert PROGRAM.exists()
    again = run(
        "--input", f"@{made.path}", "--model", MODEL, "--signature", "from_bytes", output=tmp_path / "2"
    )
    (row,) = again.predictions
    assert (row["uri"], row["attributes"]) == (str(late), {"shop": 7})
    assert again.dead_letters == []


def test_without_a_kind_those_are_taken_that_may_succeed_unchanged(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    may = DeadLetter.of(ModelUnavailable("away"), FileRef("may.png", attributes={"shop": 7}))
    path = tmp_path / "dead.jsonl"
    path.write_text(json.dumps(letter("not.png", "decode", "DecodeError", retryable=False)) + "\n")
    with path.open("ab") as file:
        file.write(record_to_json(may))
    made = replay(path)
    assert made.list == [{"shop": 7, "uri": "may.png"}]
    assert made.out[0] == f"left out: 1 decode/DecodeError: {UNCHANGED.format('decode/DecodeError')}"


def test_what_would_fail_again_unchanged_is_left_with_the_flag_that_takes_it(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    path = letters(tmp_path / "dead.jsonl", letter("late.png", "read", "FileMissing", retryable=False))
    made = replay(path)
    assert (made.code, made.list) == (FAILED, None)
    assert made.out == [
        f"left out: 1 read/FileMissing: {UNCHANGED.format('read/FileMissing')}",
        "nothing to be tried again",
    ]
    assert replay(path, "--kind", "read/FileMissing").list == [{"uri": "late.png"}]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("read/FileMising", "; did you mean read/FileMissing?"),
        ("raed", "; did you mean read?"),
        ("write", ""),
    ],
)
def test_a_kind_that_there_is_none_of_is_told_with_the_likeliest_that_there_is(
    typed: str, told: str, tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    path = letters(
        tmp_path / "dead.jsonl",
        letter("late.png", "read", "FileMissing", retryable=False),
        letter("bad.png", "decode", "DecodeError", retryable=False),
    )
    made = replay(path, "--kind", typed, "--kind", "decode")
    assert made.list == [{"uri": "bad.png"}]
    assert f"none is of --kind {typed}{told}" in made.out


def test_files_without_dead_letters_are_told(tmp_path: Path, replay: Callable[..., SimpleNamespace]) -> None:
    made = replay(letters(tmp_path / "dead.jsonl"), "--kind", "read")
    assert (made.code, made.out) == (
        FAILED,
        ["there are no dead letters in there", "nothing to be tried again"],
    )


def test_a_list_in_a_bucket_is_for_a_job_on_dataflow_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = letters(tmp_path / "dead.jsonl", letter("gs://digits/a.png"))
    with fake_gcs_server() as host, storage_client_of(host) as client:
        client.create_bucket("digits")
        code = main(["replay", "--dead_letters", str(path), "--output", "gs://digits/again.jsonl"])
    assert code == DONE
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "or on Dataflow: ./run_dataflow.sh batch --input @gs://digits/again.jsonl"


def test_a_file_that_failed_twice_is_tried_once(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    path = letters(
        tmp_path / "dead.jsonl", letter("a.png"), letter("a.png"), letter("a.png", attributes={"n": 1})
    )
    assert replay(path).list == [{"uri": "a.png"}, {"n": 1, "uri": "a.png"}]


def test_what_a_message_may_not_name_does_not_come_back_by_a_list(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    refused = letter("/etc/passwd", "parse", "PlaceNotAllowed", retryable=False)
    made = replay(
        letters(tmp_path / "dead.jsonl", refused), "--kind", "parse", "--kind", "parse/PlaceNotAllowed"
    )
    assert (made.code, made.list) == (FAILED, None)
    assert made.out == [
        "left out: 1 parse/PlaceNotAllowed: never taken, since it names no file that a list may "
        "name; mend the sender",
        "nothing to be tried again",
    ]


def test_what_has_no_file_is_left_out(tmp_path: Path, replay: Callable[..., SimpleNamespace]) -> None:
    path = letters(tmp_path / "dead.jsonl", letter("pubsub:17"), letter(None), letter("a.png"))
    made = replay(path)
    assert made.list == [{"uri": "a.png"}]
    assert made.out[0] == "left out: 2 read/StorageUnavailable: there is no file to read again"


def test_the_export_of_a_table_is_read_as_well(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    exported = letter("a.png", attributes='{"shop":7}', retryable="true", generation="5", payload=None)
    assert replay(letters(tmp_path / "dead.jsonl", exported)).list == [{"shop": 7, "uri": "a.png"}]


@pytest.mark.parametrize(
    "line", ["no JSON", "[]", '"text"', '{"uri": "a.png"}', '{"uri": "a", "stage": "read"}']
)
def test_what_is_no_dead_letter_is_told(
    line: str, tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text(line)
    made = replay(path)
    assert (made.code, made.list) == (FAILED, None)
    assert made.err.startswith("beam-predict replay: failed: ")


def test_dead_letters_that_are_not_there_are_told(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    made = replay(tmp_path / "dead_letters-*.jsonl")
    assert made.code == FAILED
    assert "dead_letters-*.jsonl" in made.err


def test_wrong_flags_are_told_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--output", "names.txt", "--kin", "read"]) == WRONG_USAGE
    told = capsys.readouterr().err
    assert all(text in told for text in ("--dead_letters is missing", ".jsonl", "--kind"))


def test_a_letter_of_a_list_that_names_no_file_stays_out(
    tmp_path: Path, replay: Callable[..., SimpleNamespace]
) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_bytes(record_to_json(DeadLetter.of(ParseError("line 1 has no uri", "{}"))))
    assert replay(path, "--kind", "parse").list is None
