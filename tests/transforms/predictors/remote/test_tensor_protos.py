"""Tensors as protocol buffers, against TensorFlow's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emulators.tf_serving_messages import tensor_proto
from transforms.predictors.arrays import numpy_dtype
from transforms.predictors.messages import message_classes
from transforms.predictors.remote.tensor_protos import (
    TENSOR_MESSAGES,
    Array,
    encode_value,
    read_tensor,
    tensor_chunks,
)
from transforms.predictors.tensorflow_runtime import import_tensorflow

tf = import_tensorflow()
TensorProto = type(tf.make_tensor_proto(0))
Ours = message_classes(TENSOR_MESSAGES)["TensorProto"]

NUMBERS = (
    *("bool", "bfloat16", "float16", "float32", "float64"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
SHAPES = [(), (0,), (3,), (2, 3), (1, 1, 1, 1), (0, 1 << 40)]
LIMIT = 1 << 20


def numbers(dtype: str, shape: tuple[int, ...]) -> Array:
    """Make numbers of a dtype, among them its extremes."""
    kind, extremes = numpy_dtype(dtype).kind, [-np.inf, np.nan, 1 / 3]
    if kind in "iu":
        extremes = [np.iinfo(dtype).min, np.iinfo(dtype).max]
    values = np.array([0, 1, *([] if kind == "b" else extremes)], numpy_dtype(dtype))
    return np.resize(values, int(np.prod(shape))).reshape(shape)


def read(proto: Any, limit: int = LIMIT) -> Array:
    return read_tensor(Ours.FromString(proto.SerializeToString()), limit)


def written(value: Any) -> Any:
    header, payload, _ = encode_value(value)
    return TensorProto.FromString(b"".join(tensor_chunks(header, [payload])))


def assert_same(found: Array, expected: Array) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
class TestNumbers:
    def test_tensorflow_reads_what_is_written(self, dtype: str, shape: tuple[int, ...]) -> None:
        array = numbers(dtype, shape)
        proto = written(array)
        assert tf.as_dtype(proto.dtype) == tf.as_dtype(array.dtype)
        if array.size:
            assert_same(tf.make_ndarray(proto), array)
        assert tf.TensorShape(proto.tensor_shape) == shape

    def test_what_tensorflow_writes_is_read(self, dtype: str, shape: tuple[int, ...]) -> None:
        array = numbers(dtype, shape)
        assert_same(read(tensor_proto(array, as_content=True)), array)
        assert_same(read(tensor_proto(array)), array)

    def test_the_same_bytes_come_from_another_byte_order(self, dtype: str, shape: tuple[int, ...]) -> None:
        array = numbers(dtype, shape)
        if dtype != "bfloat16":  # which NumPy has in one order only
            assert encode_value(array.astype(array.dtype.newbyteorder(">"))) == encode_value(array)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_arrays_that_are_read_can_be_changed(dtype: str) -> None:
    array = numbers(dtype, (4,))
    for as_content in (False, True):
        read(tensor_proto(array, as_content))[0] = 1


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_values_that_are_not_written_are_those_of_tensorflow(dtype: str, count: int) -> None:
    proto = tensor_proto(numbers(dtype, (count,)))
    proto.tensor_shape.CopyFrom(tf.TensorShape([2, 3]).as_proto())
    assert_same(read(proto), tf.make_ndarray(proto))


@pytest.mark.parametrize(
    ("written", "meant"), [([], [b"", b"", b""]), ([b"a", b"b\0"], [b"a", b"b\0", b"b\0"])]
)
def test_strings_that_are_not_written_are_those_of_tensorflow(
    written: list[bytes], meant: list[bytes]
) -> None:
    proto = TensorProto(dtype=tf.string.as_datatype_enum, string_val=written)
    proto.tensor_shape.CopyFrom(tf.TensorShape([3]).as_proto())
    assert read(proto).tolist() == meant
    assert tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy().tolist() == meant


class TestStrings:
    CONTENTS = (b"", b"a\0", b"\xff" * 300, "ä".encode())

    @pytest.mark.parametrize("shape", [(), (4,), (2, 2), (0,)], ids=str)
    def test_they_go_to_tensorflow_and_come_back(self, shape: tuple[int, ...]) -> None:
        array = np.empty(shape, object)
        array[...] = np.resize(np.array(self.CONTENTS, object), shape)
        proto = written(array)
        assert_same(np.array(tf.make_ndarray(proto), object), array)
        assert_same(read(proto), array)

    @pytest.mark.parametrize(
        "value", [b"\x89PNG\0", "Zürich", "/data/\udcff.png", np.str_("text"), np.bytes_(b"b")]
    )
    def test_one_value_is_a_scalar(self, value: Any) -> None:
        expected = value if isinstance(value, bytes) else value.encode(errors="surrogateescape")
        proto = written(value)
        assert (list(proto.string_val), proto.tensor_shape.dim[:]) == ([expected], [])
        assert not proto.tensor_shape.unknown_rank

    @pytest.mark.parametrize("kind", ["U", "S"])
    def test_arrays_of_numpys_own_strings_are_sent(self, kind: str) -> None:
        assert list(written(np.array(["a", "bc"]).astype(kind)).string_val) == [b"a", b"bc"]

    @pytest.mark.parametrize("value", ["\ud800", np.array(["fine", 5], object), np.array([None], object)])
    def test_what_is_no_string_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"cannot be encoded|which is no string"):
            encode_value(value)


def string_content(strings: list[bytes]) -> bytes:
    """Encode strings as TensorFlow does with `EncodeStringList`; all of them are short."""
    return bytes(map(len, strings)) + b"".join(strings)


class TestStringsAsContent:
    def test_they_are_read_as_tensorflow_reads_them(self) -> None:
        strings = [b"", b"a\0", b"x" * 127]
        proto = TensorProto(dtype=tf.string.as_datatype_enum, tensor_content=string_content(strings))
        proto.tensor_shape.CopyFrom(tf.TensorShape([3]).as_proto())
        assert tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy().tolist() == strings
        assert read(proto).tolist() == strings

    def test_long_ones_too(self) -> None:
        proto = TensorProto(dtype=tf.string.as_datatype_enum, tensor_content=b"\xac\x02" + b"y" * 300)
        assert tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy() == b"y" * 300
        assert read(proto).item() == b"y" * 300

    @pytest.mark.parametrize("content", [b"\x01", b"\x05ab", b"\x01ab", b"\xff" * 9, b"\x80"])
    def test_damage_is_told(self, content: bytes) -> None:
        proto = TensorProto(dtype=tf.string.as_datatype_enum, tensor_content=content)
        with pytest.raises(ValueError, match="a tensor of string"):
            read(proto)


def shaped(proto: Any, *sizes: int) -> Any:
    proto.ClearField("tensor_shape")
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: tf.make_tensor_proto(1j), "a tensor of complex128, which is not read"),
            (lambda: tensor_proto(np.complex64(1)), "a tensor of complex64, which is not read"),
            (lambda: TensorProto(dtype=21), "a tensor of the type 21, which is not read"),
            (TensorProto, "a tensor of the type 0, which is not read"),
            (lambda: shaped(tensor_proto(np.ones(3)), -1), r"a tensor of the shape \[-1\], which is none"),
            (
                lambda: shaped(tensor_proto(np.ones(3)), 2),
                r"a tensor of float64 \[2\] with other values: .* 3",
            ),
            (lambda: shaped(tensor_proto(np.ones(3), True), 2), "with other values: its content is of 3"),
            (lambda: shaped(tensor_proto(np.ones(1), True), 2), "with other values: its content is of 1"),
            (lambda: TensorProto(dtype=1, tensor_content=b"123"), "with other values: buffer size"),
            (
                lambda: shaped(tensor_proto(np.ones(1)), *[1] * 100),
                "with other values: maximum supported dim",
            ),
        ],
    )
    def test_what_cannot_be_read_is_told(self, make: Callable[[], Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read(make())

    def test_a_rank_that_is_not_known_is_told(self) -> None:
        proto = tensor_proto(np.ones(3))
        proto.tensor_shape.unknown_rank = True
        with pytest.raises(ValueError, match="which is none"):
            read(proto)

    @pytest.mark.parametrize("sizes", [(1 << 20,), (1 << 62, 1 << 62), (1 << 10, 1 << 10)])
    @pytest.mark.parametrize("dtype", ["float32", "string", "bool"])
    def test_a_few_bytes_cannot_claim_much_memory(self, dtype: str, sizes: tuple[int, ...]) -> None:
        value = np.array([b"x"], object) if dtype == "string" else np.ones(1, dtype)
        with pytest.raises(ValueError, match=r"more than 1,000,000 bytes"):
            read(shaped(tensor_proto(value), *sizes), limit=1_000_000)

    @pytest.mark.parametrize("value", [np.array([1j]), np.array(["2024-01-01"], "M8[D]"), np.zeros(2, "V4")])
    def test_arrays_that_tensors_cannot_hold_are_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"an array of [\w\[\]]+, which is not sent"):
            encode_value(value)


def test_values_beside_those_of_the_dtype_do_not_matter() -> None:
    proto = TensorProto(dtype=1, float_val=[1, 2], double_val=[5], string_val=[b"x"], scomplex_val=[7, 7])
    shaped(proto, 2)
    assert read(proto).tolist() == [1, 2]


def test_a_batch_is_written_of_single_values() -> None:
    rows = [numbers("float32", (2, 3)) + position for position in range(300)]
    encoded = [encode_value(row) for row in rows]
    chunks = tensor_chunks(encoded[0][0], [payload for _, payload, _ in encoded], len(rows))
    assert_same(tf.make_ndarray(TensorProto.FromString(b"".join(chunks))), np.stack(rows))
