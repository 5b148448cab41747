"""How records travel between Beam's steps."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from apache_beam.coders.typecoders import registry

import transforms.results  # noqa: F401 (it registers the coders)
from transforms.coders import DeadLetterCoder, FileRefCoder, PredictionCoder
from transforms.errors import FileMissing, ParseError
from transforms.json_values import record_to_json
from transforms.records import DeadLetter, FileRef, Prediction, utc_now

REFS = [
    FileRef("a.png"),
    FileRef("gs://bucket/a.png", generation=1_795_224_577_597_187, size=3),
    FileRef("a.png", generation=-1, size=0),
    FileRef("line\nbreak \0 déjà 数字 🙂 \" \\ '.png"),
    FileRef("a.png", attributes={"": "", "uri": "other", "ключ": "🙂\n\0"}),
    FileRef("a.png", attributes={"i": 2**63 - 1, "u": 2**64 - 1, "n": -(2**63), "f": 0.1, "e": 5e-324}),
    FileRef("a.png", attributes={"b": True, "none": None, "zero": 0, "false": False, "float": 1.0}),
    FileRef("a.png", attributes={"nested": {"l": [1, "x", None, {"deep": []}]}}),
    FileRef("pubsub:1", generation=2**63 - 1, size=256, content=bytes(range(256))),
    FileRef("pubsub:1", content=b""),
]


def types(value: Any) -> Any:
    return [type(item) for item in value.attributes.values()]


@pytest.mark.parametrize("ref", REFS, ids=range(len(REFS)))
def test_a_file_comes_back_as_it_was(ref: FileRef) -> None:
    back = FileRefCoder().decode(FileRefCoder().encode(ref))
    assert back == ref
    assert types(back) == types(ref)


def test_the_time_of_arrival_comes_back() -> None:
    ref = FileRef("a.png", arrived=1_795_224_577.597187)
    assert FileRefCoder().decode(FileRefCoder().encode(ref)).arrived == ref.arrived


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


class TestPredictions:
    PREDICTION = Prediction("0123", "é.png", 5, "model", "1", "s", {}, {"label": 3, "x": [None]}, utc_now())
    NUMBERS = (
        *("bool", "float16", "float32", "float64", "complex64", "complex128"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
    DTYPES = (*map(np.dtype, NUMBERS), np.dtype(ml_dtypes.bfloat16), np.dtype(">i4"), np.dtype("<U3"))

    def there_and_back(self, value: Any) -> Any:
        prediction = replace(self.PREDICTION, outputs={"first": value, "second": np.int64(2)})
        back = PredictionCoder().decode(PredictionCoder().encode(prediction))
        assert replace(back, outputs={}) == self.PREDICTION
        assert list(back.outputs) == ["first", "second"]
        assert back.outputs["second"] == 2
        return back.outputs["first"]

    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0), (1, 2, 3)], ids=str)
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_arrays_come_back_as_they_were(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        back = self.there_and_back(array)
        assert (type(back), back.dtype, back.shape) == (np.ndarray, dtype, shape)
        assert back.tobytes() == array.tobytes()
        assert back.flags.writeable

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_scalars_come_back_as_scalars(self, dtype: np.dtype[Any]) -> None:
        scalar = np.array([3]).astype(dtype)[0]
        back = self.there_and_back(scalar)
        assert back == scalar
        assert isinstance(back, str) if dtype.kind == "U" else type(back) is type(scalar)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16], ids=str)
    def test_every_bit_of_a_float_comes_back(self, dtype: Any) -> None:
        array = np.array([np.nan, np.inf, -np.inf, -0.0, 1 / 3, 1e-7]).astype(dtype)
        assert self.there_and_back(array).tobytes() == array.tobytes()
        for scalar in array:
            assert self.there_and_back(scalar).tobytes() == scalar.tobytes()

    @pytest.mark.parametrize("value", [np.uint64(2**64 - 1), np.int64(-(2**63)), np.float64(5e-324)])
    def test_extremes_come_back(self, value: Any) -> None:
        assert self.there_and_back(value) == value

    @pytest.mark.parametrize("text", ["", "a", 'déjà, "vu"\n\0 数字 🙂', "[1]", "null", np.str_("é")])
    def test_texts_come_back(self, text: str) -> None:
        assert self.there_and_back(text) == text

    @pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 2), (4, 0), (2, 1, 2)], ids=str)
    def test_arrays_of_texts_come_back(self, shape: tuple[int, ...]) -> None:
        array = np.empty(shape, object)
        array.fill("é\n")
        back = self.there_and_back(array)
        assert (back.dtype, back.shape) == (object, shape)
        assert back.tolist() == array.tolist()

    def test_views_come_back(self) -> None:
        view = np.arange(24).reshape(4, 6)[::2, ::-1].T
        assert np.array_equal(self.there_and_back(view), view)

    def test_what_is_no_output_is_refused(self) -> None:
        with pytest.raises(TypeError):
            self.there_and_back(object())


def test_beam_uses_these_coders() -> None:
    assert isinstance(registry.get_coder(FileRef), FileRefCoder)
    assert isinstance(registry.get_coder(DeadLetter), DeadLetterCoder)
    assert isinstance(registry.get_coder(Prediction), PredictionCoder)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in DeadLetter.__dataclass_fields__}
