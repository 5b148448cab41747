"""The first batches of a model, among them those that come with it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.transforms.versioned_models import publish
from transforms.errors import ItemError, PredictionError
from transforms.predictors import recorded_requests as recorded_requests_module
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.functions import Tensors
from transforms.predictors.open_model import open_model
from transforms.predictors.recorded_requests import MAX_REQUESTS, REQUESTS, recorded_requests, resized
from transforms.predictors.saved_model import SavedModelFunction
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.predictors.warm_up import warm_up

NUMBERS = Signature("serving_default", (TensorSpec("x", "float32", (None, 2)),), ())


def field(number: int, content: bytes) -> bytes:
    """Encode a field of a protocol buffer that has a length."""
    assert len(content) < 1 << 14
    return bytes([number << 3 | 2, len(content) & 0x7F | 0x80, len(content) >> 7]) + content


def request(signature: str = "", **inputs: Any) -> bytes:
    """Encode a `PredictionLog`; TensorFlow encodes the tensors."""
    make = import_tensorflow().make_tensor_proto
    tensors = {
        name: value.SerializeToString()
        if hasattr(value, "SerializeToString")
        else make(value).SerializeToString()
        for name, value in inputs.items()
    }
    entries = [field(2, field(1, name.encode()) + field(2, tensor)) for name, tensor in tensors.items()]
    return field(6, field(1, field(1, field(3, signature.encode())) + b"".join(entries)))


def tensor(shape: tuple[int, ...], value: bytes) -> Any:
    """Make a tensor of floats, of which the first value is written down and stands for all."""
    proto = import_tensorflow().make_tensor_proto([1.0])
    proto.ClearField("tensor_shape")
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    proto.float_val[:] = np.frombuffer(value, np.float32).tolist()
    return proto


def record(model: Path, *requests: bytes) -> Path:
    """Write requests into a model, with TensorFlow's own writer."""
    file = model / REQUESTS
    file.parent.mkdir(parents=True, exist_ok=True)
    with import_tensorflow().io.TFRecordWriter(str(file)) as writer:
        for content in requests:
            writer.write(content)
    return file


def read(model: Path, signature: Signature = NUMBERS) -> list[Tensors]:
    return recorded_requests(str(model), signature)


class TestReading:
    def test_a_model_without_requests_has_none(self, tmp_path: Path) -> None:
        assert read(tmp_path) == []

    @pytest.mark.parametrize(
        "dtype",
        [
            *("bool", "float16", "float32", "float64"),
            *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
        ],
    )
    @pytest.mark.parametrize("values", [[[0, 1], [1, 3]], [[7, 7], [7, 7]], [[1, 0]]], ids=str)
    def test_numbers_of_each_type_come_out_as_they_went_in(
        self, tmp_path: Path, dtype: str, values: list[list[int]]
    ) -> None:
        array = np.array(values, dtype)
        written = np.ravel(array).tolist()
        tf = import_tensorflow()
        as_values = tf.make_tensor_proto(written, dtype, array.shape)
        as_bytes = tf.make_tensor_proto(array)
        record(tmp_path, request(x=as_values), request(x=as_bytes))
        signature = Signature("serving_default", (TensorSpec("x", dtype, (None, 2)),), ())
        for found in read(tmp_path, signature):
            assert found["x"].dtype == array.dtype
            np.testing.assert_array_equal(found["x"], array)

    def test_strings_come_out_as_bytes(self, tmp_path: Path) -> None:
        contents = [b"a\0", b"", b"\xff"]
        record(tmp_path, request(x=contents), request(x=[b"the same"] * 3))
        signature = Signature("serving_default", (TensorSpec("x", "string", (None,)),), ())
        assert [found["x"].tolist() for found in read(tmp_path, signature)] == [contents, [b"the same"] * 3]

    def test_requests_of_other_kinds_and_for_other_signatures_are_left_out(self, tmp_path: Path) -> None:
        row = np.ones((1, 2), np.float32)
        record(
            tmp_path,
            request("serving_default", x=row),
            request("other", y=[b"text"]),
            field(2, b""),  # a request to classify
            request(x=2 * row),
        )
        assert [float(found["x"][0, 0]) for found in read(tmp_path)] == [1, 2]

    def test_no_more_are_read_than_tensorflow_serving_reads(self, tmp_path: Path) -> None:
        record(tmp_path, *[request(x=np.ones((1, 2), np.float32))] * (MAX_REQUESTS + 1))
        assert len(read(tmp_path)) == MAX_REQUESTS

    @pytest.mark.parametrize("damage", ["cut", "length", "content", "no request"])
    def test_a_damaged_file_is_told(self, tmp_path: Path, damage: str) -> None:
        file = record(tmp_path, request(x=np.ones((1, 2), np.float32)))
        content = bytearray(file.read_bytes())
        if damage == "cut":
            del content[-1]
        elif damage == "no request":
            file = record(tmp_path, b"\xff\xff\xff")
            content = bytearray(file.read_bytes())
        else:
            content[0 if damage == "length" else 20] ^= 1
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"cut off or damaged|something else"):
            read(tmp_path)

    @pytest.mark.parametrize(
        ("shape", "value"), [((1 << 40, 2), b"\0\0\0\0"), ((1 << 27, 2), b"\0\0\0\0"), ((-1, 2), b"")]
    )
    def test_a_tensor_larger_than_any_is_told(
        self, tmp_path: Path, shape: tuple[int, int], value: bytes
    ) -> None:
        record(tmp_path, request(x=tensor(shape, value)))
        with pytest.raises(ValueError, match=f"has a tensor of the shape .{shape[0]}, 2"):
            read(tmp_path)

    def test_requests_that_are_large_together_are_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorded_requests_module, "MAX_BYTES", 1_000)
        record(tmp_path, *[request(x=tensor((100, 2), b"\0\0\0\0"))] * 2)
        with pytest.raises(ValueError, match="take more than 1,000 bytes"):
            read(tmp_path)

    @pytest.mark.parametrize(
        "inputs",
        [
            {},
            {"y": np.ones((1, 2), np.float32)},
            {"x": np.ones((1, 2), np.float32), "y": np.ones((1, 2), np.float32)},
            {"x": np.ones((1, 2), np.float64)},
            {"x": np.ones((1, 3), np.float32)},
            {"x": [b"text"]},
        ],
    )
    def test_a_request_that_the_signature_cannot_take_is_told(
        self, tmp_path: Path, inputs: dict[str, Any]
    ) -> None:
        record(tmp_path, request(**inputs))
        with pytest.raises(ValueError, match=r"a request in assets.extra/tf_serving_warmup_requests has"):
            read(tmp_path)


@pytest.mark.parametrize(("size", "expected"), [(1, [1]), (3, [1, 2, 3]), (7, [1, 2, 3, 1, 2, 3, 1])])
def test_a_request_becomes_a_batch_of_any_size(size: int, expected: list[int]) -> None:
    inputs = {"rows": np.array([[1, 1], [2, 2], [3, 3]]), "constant": np.array(5)}
    batch = resized(inputs, size)
    assert batch["rows"].tolist() == [[number, number] for number in expected]
    assert batch["constant"] == 5


class Noted(SavedModelFunction):
    """A function that notes what it is called with, and refuses what is not expected."""

    calls: list[Sequence[bytes]]
    refuses = b"\x89PNG"

    def call(self, inputs: Tensors) -> Tensors:
        self.calls.append(inputs["content"].tolist())
        if any(content.startswith(self.refuses) for content in inputs["content"]):
            raise RuntimeError("no images")
        return {}

    def item_error(self, error: Exception) -> ItemError:
        return PredictionError(str(error))

    def suspects(self, inputs: Tensors) -> Collection[int]:
        return ()


class TestWarmUp:
    def warmed_up(self, model: Path, batch_size: int = 4) -> list[Sequence[bytes]]:
        function = Noted(str(model))
        function.calls = []
        warm_up(function, open_model(str(model)).feed, batch_size)
        return function.calls

    def test_recorded_requests_are_used_as_they_are_and_as_a_batch_of_the_real_size(
        self, tmp_path: Path
    ) -> None:
        model = publish(tmp_path, 1)
        record(model, request(content=[b"a", b"b"]), request(content=[b"c"]))
        assert self.warmed_up(model) == [[b"a", b"b"], [b"c"], [b"a", b"b", b"a", b"b"]]

    def test_made_up_items_are_used_without_them(self, tmp_path: Path) -> None:
        (call,) = self.warmed_up(publish(tmp_path, 1), batch_size=3)
        assert len(call) == 3
        assert call[0].startswith(b"\x89PNG")

    def test_made_up_items_are_used_where_they_are_damaged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = publish(tmp_path, 1)
        (record(model, request(content=[b"a"]))).write_bytes(b"damage")
        assert len(self.warmed_up(model)[0]) == 4
        (message,) = (entry.message for entry in caplog.records if entry.levelno == logging.WARNING)
        assert message.startswith(f"--model {model} is warmed up with made-up items: the record at byte 0")

    @pytest.mark.parametrize("error", [OverflowError, TypeError, MemoryError])
    def test_made_up_items_are_used_whatever_is_wrong_with_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def fail(*_: object) -> Any:
            raise error("no request")

        monkeypatch.setattr("transforms.predictors.warm_up.recorded_requests", fail)
        assert len(self.warmed_up(publish(tmp_path, 1))[0]) == 4

    def test_what_the_model_refuses_costs_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Noted, "refuses", b"")
        assert len(self.warmed_up(publish(tmp_path, 1))) == 1

    def test_a_real_model_takes_them(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        model = publish(tmp_path, 1)
        record(model, request("serving_default", content=[b"a"]))
        predictor = open_model(str(model))
        predictor.load()
        warm_up(predictor.function, predictor.feed, 4)
        assert not caplog.records
