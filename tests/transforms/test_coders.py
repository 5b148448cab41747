"""How records travel between Beam's steps."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

import pytest
from apache_beam.coders.typecoders import registry

import transforms.results  # noqa: F401 (it registers the coders)
from transforms.coders import DeadLetterCoder, FileRefCoder
from transforms.errors import FileMissing, ParseError
from transforms.json_values import record_to_json
from transforms.records import DeadLetter, FileRef

REFS = [
    FileRef("a.png"),
    FileRef("gs://bucket/a.png", generation=1_795_224_577_597_187, size=3),
    FileRef("a.png", generation=-1, size=0),
    FileRef("line\nbreak \0 déjà 数字 🙂 \" \\ '.png"),
    FileRef("a.png", attributes={"": "", "uri": "other", "ключ": "🙂\n\0"}),
    FileRef("a.png", attributes={"i": 2**63 - 1, "u": 2**64 - 1, "n": -(2**63), "f": 0.1, "e": 5e-324}),
    FileRef("a.png", attributes={"b": True, "none": None, "zero": 0, "false": False, "float": 1.0}),
    FileRef("a.png", attributes={"nested": {"l": [1, "x", None, {"deep": []}]}}),
]


def types(value: Any) -> Any:
    return [type(item) for item in value.attributes.values()]


@pytest.mark.parametrize("ref", REFS, ids=range(len(REFS)))
def test_a_file_comes_back_as_it_was(ref: FileRef) -> None:
    back = FileRefCoder().decode(FileRefCoder().encode(ref))
    assert back == ref
    assert types(back) == types(ref)


@pytest.mark.parametrize("ref", REFS, ids=range(len(REFS)))
def test_a_dead_letter_comes_back_as_it_was(ref: FileRef) -> None:
    letter = DeadLetter.of(FileMissing("there is no file"), ref, prediction_id="id", model_version="1")
    back = DeadLetterCoder().decode(DeadLetterCoder().encode(letter))
    assert back == letter
    assert types(back) == types(letter)


@pytest.mark.parametrize("microsecond", [0, 1, 120_000, 999_999])
def test_the_time_comes_back_to_the_microsecond_in_utc(microsecond: int) -> None:
    letter = DeadLetter.of(ParseError("no", "payload \0 \n"))
    time = datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=timezone.utc)
    letter = DeadLetter(**{**_fields(letter), "failed_at": time})
    back = DeadLetterCoder().decode(DeadLetterCoder().encode(letter))
    assert back == letter
    assert back.failed_at.utcoffset() == time.utcoffset()


def test_the_dead_letter_of_a_name_that_is_not_utf8_travels() -> None:
    name = os.fsdecode(b"/folder/\xff.png")
    letter = DeadLetter.of(FileMissing(f"there is no file {name}"), FileRef(name))
    back = DeadLetterCoder().decode(DeadLetterCoder().encode(letter))
    assert (back.stage, back.error) == ("read", "FileMissing")
    assert record_to_json(back)


def test_beam_uses_these_coders() -> None:
    assert isinstance(registry.get_coder(FileRef), FileRefCoder)
    assert isinstance(registry.get_coder(DeadLetter), DeadLetterCoder)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in DeadLetter.__dataclass_fields__}
