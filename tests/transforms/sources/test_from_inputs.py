"""Globs and lists as the source of a pipeline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.transforms.pipelines import collect, local_pipeline
from transforms import storage
from transforms.errors import ListError, ParseError
from transforms.records import DeadLetter, FileRef
from transforms.sources.from_inputs import FromInputs, list_files


def files_and_letters(*inputs: str) -> tuple[list[FileRef], list[DeadLetter]]:
    with local_pipeline() as pipeline:
        listed = pipeline | FromInputs(inputs)
        files, letters = collect(listed.main), collect(listed.dead_letters)
    return sorted(files, key=lambda ref: ref.uri), letters


def test_globs_and_lists_are_listed_together(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"content")
    (tmp_path / "names.jsonl").write_text('{"uri": "c.png", "label": 3}\n')
    files, letters = files_and_letters(f"{tmp_path}/*.png", f"@{tmp_path}/names.jsonl")
    assert files == [
        storage.stat(f"{tmp_path}/a.png"),
        storage.stat(f"{tmp_path}/b.png"),
        FileRef("c.png", attributes={"label": 3}),
    ]
    assert letters == []


def test_the_same_name_twice_is_two_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    uri = f"{tmp_path}/a.png"
    files, _ = files_and_letters(uri, f"{tmp_path}/*.png")
    assert [ref.uri for ref in files] == [uri, uri]


def test_an_input_that_names_nothing_costs_itself_only(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    nothing = f"{tmp_path}/*.jpg"
    files, (letter,) = files_and_letters(nothing, f"{tmp_path}/a.png")
    assert len(files) == 1
    assert (letter.stage, letter.error, letter.uri) == ("list", "ListError", nothing)
    assert letter.prediction_id is None
    assert not letter.retryable


def test_a_missing_list_is_a_dead_letter_that_names_it(tmp_path: Path) -> None:
    _, (letter,) = files_and_letters(f"@{tmp_path}/names.csv")
    assert (letter.stage, letter.uri) == ("list", f"@{tmp_path}/names.csv")


def test_a_line_without_a_name_is_a_dead_letter_that_keeps_the_line(tmp_path: Path) -> None:
    (tmp_path / "names.jsonl").write_text('{"uri": "a.png"}\n{"label": 3}\n')
    files, (letter,) = files_and_letters(f"@{tmp_path}/names.jsonl")
    assert files == [FileRef("a.png")]
    assert (letter.stage, letter.error, letter.uri) == ("parse", "ParseError", None)
    assert letter.payload == '{"label": 3}'


def test_a_damaged_list_is_a_dead_letter(tmp_path: Path) -> None:
    (tmp_path / "names.txt.gz").write_bytes(b"not compressed")
    _, letters = files_and_letters(f"@{tmp_path}/names.txt.gz")
    assert [letter.error for letter in letters] == ["ListError"]


def test_a_name_that_is_not_utf8_has_one_outcome_and_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"content")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    files, letters = files_and_letters(f"{tmp_path}/*.png")
    assert f"{tmp_path}/a.png" in [ref.uri for ref in files]
    assert len(files) + len(letters) == 2


def test_errors_come_in_their_place_without_beam_too(tmp_path: Path) -> None:
    (tmp_path / "names.jsonl").write_text('{"uri": "a.png"}\n{}\n{"uri": "b.png"}\n')
    first, bad, last = list_files(f"@{tmp_path}/names.jsonl")
    assert (first, last) == (FileRef("a.png"), FileRef("b.png"))
    assert isinstance(bad, ParseError)
    (error,) = list_files(f"{tmp_path}/nothing")
    assert isinstance(error, ListError)


def test_no_input_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="inputs is empty"):
        FromInputs([])
