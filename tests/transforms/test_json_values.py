"""Records as JSON."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

from transforms.errors import FileMissing
from transforms.json_values import record_to_json, to_json
from transforms.records import DeadLetter, FileRef, Prediction

NAN, INFINITY = float("nan"), float("inf")


def prediction(**outputs: Any) -> Prediction:
    return Prediction(
        prediction_id="id",
        uri="a.png",
        generation=1,
        model="model",
        model_version="1",
        signature="serving_default",
        outputs=outputs,
        attributes={"label": 3},
        predicted_at=datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone.utc),
    )


def outputs_of(record: Prediction) -> Any:
    return json.loads(record_to_json(record))["outputs"]


class TestValues:
    @pytest.mark.parametrize("value", [None, True, 3, 0.5, "déjà\n\0", [1, [2]], {"a": {"b": []}}])
    def test_json_values_are_themselves(self, value: Any) -> None:
        assert json.loads(to_json(value)) == value

    @pytest.mark.parametrize("dtype", [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)])
    def test_integers_are_exact(self, dtype: str) -> None:
        limits = np.iinfo(dtype)
        for number in (limits.min, limits.max):
            assert json.loads(to_json(np.dtype(dtype).type(number))) == number
            assert json.loads(to_json(np.array([number], dtype))) == [number]

    def test_booleans_are_booleans(self) -> None:
        assert to_json(np.True_) == b"true"
        assert to_json(np.array([True, False])) == b"[true,false]"

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_floats_come_back_as_they_were(self, dtype: str) -> None:
        kind = np.dtype(dtype).type
        for number in (kind(0.1), kind(1) / kind(3), np.finfo(dtype).max, np.finfo(dtype).tiny, kind(-0.0)):
            assert kind(json.loads(to_json(number))) == number
            assert kind(json.loads(to_json(np.array([number])))[0]) == number

    def test_a_float32_has_no_more_digits_than_tell_it_apart(self) -> None:
        assert to_json(np.float32(0.1)) == b"0.1"
        assert to_json(np.array([0.1, 0.7], np.float32)) == b"[0.1,0.7]"

    def test_it_has_none_either_beside_a_nan(self) -> None:
        assert to_json(np.array([0.1, NAN], np.float32)) == b'[0.1,"NaN"]'

    def test_it_has_none_either_in_a_view(self) -> None:
        assert to_json(np.array([0.1, 0.2, 0.7], np.float32)[::2]) == b"[0.1,0.7]"

    @pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64])
    def test_what_json_has_no_literal_for_is_told_by_name(self, kind: Any) -> None:
        assert to_json(kind(NAN)) == b'"NaN"'
        assert to_json(kind(INFINITY)) == b'"Infinity"'
        assert to_json(kind(-INFINITY)) == b'"-Infinity"'

    def test_in_vectors_and_matrices_too(self) -> None:
        assert json.loads(to_json(np.array([1, NAN, INFINITY, -INFINITY]))) == [
            1.0,
            "NaN",
            "Infinity",
            "-Infinity",
        ]
        assert json.loads(to_json(np.array([[1, NAN], [INFINITY, 2]]))) == [[1.0, "NaN"], ["Infinity", 2.0]]

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(24).reshape(2, 3, 4),
            np.arange(24).reshape(4, 6)[::2, 1::3],
            np.arange(6).reshape(2, 3).T,
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.array(5),
            np.zeros((0,)),
            np.zeros((2, 0)),
        ],
        ids=["cube", "view", "transposed", "fortran", "no dimension", "empty", "empty rows"],
    )
    def test_arrays_are_lists_however_they_lie_in_memory(self, array: Any) -> None:
        assert json.loads(to_json(array)) == array.tolist()

    def test_arrays_of_text_are_lists(self) -> None:
        assert json.loads(to_json(np.array([["a", "déjà"], ["", "\n"]], object))) == [
            ["a", "déjà"],
            ["", "\n"],
        ]

    def test_a_time_is_in_utc_with_a_z(self) -> None:
        assert to_json(datetime(2026, 1, 2, tzinfo=timezone.utc)) == b'"2026-01-02T00:00:00Z"'

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(TypeError, match="object"):
            to_json(object())


class TestRecords:
    def test_a_prediction_is_an_object_of_its_fields(self) -> None:
        record = prediction(label=np.int64(3), scores=np.array([0.5, 0.25], np.float32))
        assert json.loads(record_to_json(record)) == {
            "prediction_id": "id",
            "uri": "a.png",
            "generation": 1,
            "model": "model",
            "model_version": "1",
            "signature": "serving_default",
            "outputs": {"label": 3, "scores": [0.5, 0.25]},
            "attributes": {"label": 3},
            "predicted_at": "2026-01-02T03:04:05.678901Z",
        }

    def test_the_fields_are_in_the_records_order(self) -> None:
        assert list(json.loads(record_to_json(prediction()))) == list(Prediction.__dataclass_fields__)

    def test_nan_and_infinities_are_told_by_name_and_the_others_stay_numbers(self) -> None:
        record = prediction(a=np.float32(NAN), b=np.array([-INFINITY, 1]), c=np.float64(0.5), d="NaN")
        assert outputs_of(record) == {"a": "NaN", "b": ["-Infinity", 1.0], "c": 0.5, "d": "NaN"}

    def test_a_float32_is_written_alike_beside_a_nan_and_without(self) -> None:
        plain, special = prediction(a=np.float32(0.1)), prediction(a=np.float32(0.1), b=np.float32(NAN))
        assert outputs_of(plain)["a"] == outputs_of(special)["a"] == 0.1

    def test_views_text_and_numbers_without_a_dimension(self) -> None:
        record = prediction(
            view=np.arange(6)[::2], text="déjà", texts=np.array(["a"], object), no=np.array(7)
        )
        assert outputs_of(record) == {"view": [0, 2, 4], "text": "déjà", "texts": ["a"], "no": 7}

    def test_a_record_is_one_line(self) -> None:
        assert b"\n" not in record_to_json(prediction(text="line\nbreak\r\n\u2028"))

    def test_a_dead_letter_is_an_object_of_its_fields(self) -> None:
        letter = DeadLetter.of(FileMissing("there is no file"), FileRef("a.png", attributes={"x": [1]}))
        row = json.loads(record_to_json(letter))
        assert list(row) == list(DeadLetter.__dataclass_fields__)
        assert row["attributes"] == {"x": [1]}
        assert row["prediction_id"] is None
        assert datetime.fromisoformat(row["failed_at"].replace("Z", "+00:00")) == letter.failed_at
