"""The messages of TensorFlow Serving's gRPC, against its own and against a server made of them."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from emulators.tf_serving_grpc import TfServing, tf_serving
from emulators.tf_serving_messages import of_saved_model, tensor_proto
from tests.transforms import digits
from tests.transforms.predictors.remote.grpc_clients import DOUBLES, client, doubling, format_of
from tests.transforms.predictors.test_no_beam import run
from tests.transforms.toy_models import DTYPES
from transforms.errors import AnswerInvalid, InstanceRefused
from transforms.predictors.arrays import Array, numpy_dtype
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.feed import Values
from transforms.predictors.open_model import open_model
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.grpc_predict import GrpcFormat
from transforms.predictors.remote.wire import Action, CallFailed, Reply
from transforms.predictors.saved_model_files import read_signatures
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes

tf = import_tensorflow()

from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2  # noqa: E402

FORMAT = format_of("M")


def sent(
    wire: GrpcFormat, *rows: Values, shared: Mapping[str, Array] | None = None, version: str | None = None
) -> Any:
    """Return the request as TensorFlow Serving reads it."""
    request = wire.request([wire.encode(row) for row in rows], shared or {}, version)
    return predict_pb2.PredictRequest.FromString(request.body)


def answered(as_content: bool = False, version: int | None = None, **outputs: Any) -> Reply:
    """Make an answer as TensorFlow Serving writes it."""
    response = predict_pb2.PredictResponse()
    for name, value in outputs.items():
        is_proto = hasattr(value, "SerializeToString")
        response.outputs[name].CopyFrom(value if is_proto else tensor_proto(value, as_content))
    if version is not None:
        response.model_spec.version.value = version
    return Reply(response.SerializeToString())


def spec(name: str, dtype: str, *item_shape: int | None) -> TensorSpec:
    return TensorSpec(name, dtype, (None, *item_shape))


def claim(array: Array, *sizes: int) -> Any:
    """Make a tensor that claims another shape."""
    proto = tensor_proto(array)
    proto.tensor_shape.CopyFrom(tf.TensorShape(sizes).as_proto())
    return proto


class TestRequests:
    def test_strings_are_put_together_as_they_are(self) -> None:
        request = sent(FORMAT, {"image": b"a\0"}, {"image": b""}, {"image": "ä"})
        assert tf.make_ndarray(request.inputs["image"]).tolist() == [b"a\0", b"", "ä".encode()]
        assert request.inputs["image"].tensor_shape.dim[0].size == 3

    @pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "string"])
    @pytest.mark.parametrize("shape", [(), (0,), (2, 3)], ids=str)
    def test_numbers_are_stacked(self, dtype: str, shape: tuple[int, ...]) -> None:
        rows = [np.full(shape, number).astype(numpy_dtype(dtype)) for number in (1, 0, 2)]
        proto = sent(FORMAT, *({"x": row} for row in rows)).inputs["x"]
        np.testing.assert_array_equal(tf.make_ndarray(proto), np.stack(rows))
        assert tf.as_dtype(proto.dtype) == tf.as_dtype(rows[0].dtype)

    def test_vectors_of_strings_are_stacked(self) -> None:
        rows = [{"words": np.array(words, object)} for words in (["a", b"b"], ["", "cd"])]
        proto = sent(FORMAT, *rows).inputs["words"]
        assert tf.make_ndarray(proto).tolist() == [[b"a", b"b"], [b"", b"cd"]]

    def test_several_inputs_are_kept_apart(self) -> None:
        request = sent(FORMAT, {"b": b"1", "a": np.float32(1)}, {"a": np.float32(2), "b": b"2"})
        assert tf.make_ndarray(request.inputs["a"]).tolist() == [1, 2]
        assert tf.make_ndarray(request.inputs["b"]).tolist() == [b"1", b"2"]

    def test_shared_values_have_no_batch_dimension(self) -> None:
        shared = {"threshold": np.array(0.5, np.float32), "names": np.array([b"x", b"y"], object)}
        request = sent(FORMAT, {"x": b"1"}, {"x": b"2"}, shared=shared)
        assert tf.make_ndarray(request.inputs["threshold"]) == np.float32(0.5)
        assert request.inputs["threshold"].tensor_shape == tf.TensorShape([]).as_proto()
        assert tf.make_ndarray(request.inputs["names"]).tolist() == [b"x", b"y"]

    @pytest.mark.parametrize(
        ("place", "version", "choice"),
        [
            ("M", None, None),
            ("M", "12", 12),
            ("M", "0", 0),
            ("M/versions/3", None, 3),
            ("M/versions/3", "12", 12),
            ("M/labels/canary", None, "canary"),
            ("M/labels/canary", "12", 12),
        ],
    )
    def test_the_model_is_named(self, place: str, version: str | None, choice: int | str | None) -> None:
        wire = format_of(place, "from_bytes")
        metadata = wire.metadata_request(version)
        assert metadata is not None
        told = get_model_metadata_pb2.GetModelMetadataRequest.FromString(metadata.body)
        for model in (sent(wire, {"x": b""}, version=version).model_spec, told.model_spec):
            chosen = model.WhichOneof("version_choice")
            found = model.version.value if chosen == "version" else model.version_label if chosen else None
            assert (model.name, found) == ("M", choice)
        assert sent(wire, {"x": b""}).model_spec.signature_name == "from_bytes"
        assert list(told.metadata_field) == ["signature_def"]

    @pytest.mark.parametrize("place", ["M", "M/versions/1", f"M/labels/{'l' * 300}"])
    def test_no_request_is_larger_than_it_was_told(self, place: str) -> None:
        chance = random.Random(place)
        for count in (1, 2, 127, 128, 300, 20_000):
            wire = format_of(place, "s" * chance.randrange(200))
            rank = chance.randrange(6)
            shape = tuple(chance.choice((0, 1, 2, 3)) for _ in range(rank))
            length = chance.choice((0, 1, 127, 128, 16_384)) if count < 1_000 else 1
            values = {
                "n" * chance.randrange(1, 300): np.zeros(shape, chance.choice(("bool", "float64"))),
                "ä": b"x" * length,
                "words": np.full(shape, b"y" * chance.randrange(3), object),
            }
            shared = {"shared": np.zeros(chance.randrange(1000)), "text": np.array("z" * 200, object)}
            items = [wire.encode(values)] * count
            for version in (None, "1", str((1 << 63) - 1)):
                size = len(wire.request(items, shared, version).body)
                told = wire.overhead(shared) + sum(item.size for item in items)
                assert size <= told

    def test_files_have_almost_all_the_room_of_a_request(self) -> None:
        items = [FORMAT.encode({"image_bytes": b"x" * 33_000})] * 32
        size = len(FORMAT.request(items, {}, None).body)
        assert FORMAT.overhead({}) + sum(item.size for item in items) < 1.01 * size

    @pytest.mark.parametrize("value", [np.array([1j]), "\ud800", None, np.array([1, "a"], object)])
    def test_a_value_that_cannot_be_sent_costs_its_item(self, value: Any) -> None:
        with pytest.raises(InstanceRefused, match=r"the input 'x' is (an array|text)"):
            FORMAT.encode({"x": value})

    def test_values_of_several_types_are_no_batch(self) -> None:
        items = [FORMAT.encode({"x": value}) for value in (np.float32(1), np.float64(1))]
        with pytest.raises(ValueError, match="the values of the input 'x' are of several types"):
            FORMAT.request(items, {}, None)

    def test_items_tell_their_shapes(self) -> None:
        assert FORMAT.encode({"x": np.zeros((2, 3)), "a": b""}).shapes == ((), (2, 3))
        assert FORMAT.max_items is None


class TestAnswers:
    @pytest.mark.parametrize("as_content", [False, True])
    @pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "string"])
    def test_numbers_of_each_type_are_read(self, dtype: str, as_content: bool) -> None:
        column = np.array([[0, 1], [1, 3]]).astype(numpy_dtype(dtype))
        rows = FORMAT.parse(answered(as_content, y=column), 2, [spec("y", dtype, 2)]).rows
        for row, expected in zip(rows, column, strict=True):
            assert isinstance(row, Mapping)
            assert row["y"].dtype == ("float32" if dtype == "bfloat16" else dtype)
            np.testing.assert_array_equal(row["y"], expected.astype(row["y"].dtype))

    def test_strings_are_read_as_text(self) -> None:
        outputs: dict[str, Any] = {
            "word": np.array([b"a", "ä".encode(), b"\xff"], object),
            "pair": np.full((3, 2), b"b", object),
        }
        wanted = [spec("pair", "string", 2), spec("word", "string")]
        rows = FORMAT.parse(answered(**outputs), 3, wanted).rows
        assert [row["word"] for row in rows if isinstance(row, Mapping)] == ["a", "ä", "/w=="]
        assert [row["pair"].tolist() for row in rows if isinstance(row, Mapping)] == [["b", "b"]] * 3

    def test_others_are_left_out_even_unreadable_ones(self) -> None:
        reply = answered(y=np.ones(1, np.float32), waves=np.ones(3, np.complex64))
        assert FORMAT.parse(reply, 1, [spec("y", "float32")]).rows == [{"y": np.float32(1)}]

    @pytest.mark.parametrize(("version", "told"), [(None, None), (0, "0"), (12, "12")])
    def test_the_version_is_told(self, version: int | None, told: str | None) -> None:
        reply = answered(version=version, y=np.ones(1, np.float32))
        assert FORMAT.parse(reply, 1, [spec("y", "float32")]).model_version == told

    @pytest.mark.parametrize(
        ("outputs", "message"),
        [
            ({"z": np.ones(2)}, r"there are the outputs \[\]; there must be \['y'\]"),
            ({"y": np.array([b"a", b"b"], object)}, "cannot take"),
            ({"y": np.ones((2, 3), np.float32)}, r"cannot take an item of the shape \[3\]"),
            ({"y": np.ones(2, np.complex64)}, "the output 'y' is a tensor of complex64, which is not read"),
            ({"y": claim(np.ones(2, np.float32), 2, 1 << 40)}, "the output 'y' is a tensor .* more than"),
            (
                {"y": claim(np.ones(3, np.float32), 2)},
                "the output 'y' is a tensor of float32 .* other values",
            ),
        ],
    )
    def test_what_does_not_fit_costs_the_items(self, outputs: dict[str, Any], message: str) -> None:
        parsed = FORMAT.parse(answered(version=3, **outputs), 2, [spec("y", "float32")])
        assert parsed.model_version == "3"
        assert len({id(row) for row in parsed.rows}) == 2
        for row in parsed.rows:
            with pytest.raises(AnswerInvalid, match=message):
                raise row if isinstance(row, AnswerInvalid) else AssertionError(row)

    def test_outputs_that_are_large_together_are_not_read(self) -> None:
        endpoint = parse_endpoint("grpc://127.0.0.1:1/M")
        reply = answered(y=claim(np.ones(1), 1, 100), z=claim(np.ones(1), 1, 100))
        wanted = [spec("y", "float64", 100), spec("z", "float64", 100)]
        assert isinstance(GrpcFormat(endpoint, "s", 1_600).parse(reply, 1, wanted).rows[0], Mapping)
        assert isinstance(GrpcFormat(endpoint, "s", 1_599).parse(reply, 1, wanted).rows[0], AnswerInvalid)

    @pytest.mark.parametrize("column", [np.ones(1), np.ones(3), np.ones(()), np.ones((0, 2))], ids=str)
    def test_another_number_of_answers_than_items_is_told(self, column: Array) -> None:
        with pytest.raises(
            CallFailed, match=r"'y' of the endpoint's answer to 2 items is of the shape"
        ) as caught:
            FORMAT.parse(answered(y=column), 2, [spec("y", "float64")])
        assert (caught.value.action, caught.value.status) == (Action.BISECT, "answer")

    @pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"\xff" * 300, answered().body])
    @pytest.mark.parametrize(
        "read",
        [lambda reply: FORMAT.parse(reply, 1, []), FORMAT.describe, FORMAT.read_metadata],
        ids=["parse", "describe", "metadata"],
    )
    def test_what_is_no_answer_is_told(self, body: bytes, read: Callable[[Reply], Any]) -> None:
        with pytest.raises(CallFailed, match="the endpoint") as caught:
            read(Reply(body))
        assert (caught.value.action, caught.value.status) == (Action.GIVE_UP, "answer")
        assert len(caught.value.message) < 400


class TestDescriptions:
    def test_an_answer_to_one_item_tells_the_outputs(self) -> None:
        reply = answered(y=np.ones((1, 2, 3), np.float16), a=np.array([b"x"], object), n=np.ones(1, np.int8))
        assert FORMAT.describe(reply) == (spec("a", "string"), spec("n", "int8"), spec("y", "float16", 2, 3))

    @pytest.mark.parametrize(
        ("output", "action"),
        [
            (np.ones(2), Action.BISECT),
            (np.ones(()), Action.BISECT),
            (np.ones(1, np.complex64), Action.GIVE_UP),
        ],
    )
    def test_what_cannot_be_an_output_is_told(self, output: Array, action: Action) -> None:
        with pytest.raises(CallFailed, match="the output 'y'") as caught:
            FORMAT.describe(answered(y=output))
        assert caught.value.action is action


@pytest.fixture(scope="module")
def server(toys: str) -> Iterator[TfServing]:
    names = [name for name in read_signatures(toys) if name not in ("two_inputs", "undecided")]
    models = {
        "digits": {3: of_saved_model(digits.MODEL)},
        "toys": {1: of_saved_model(toys, *names)},
        "doubling": {1: doubling(), 2: doubling()},
    }
    with tf_serving(models) as serving:
        yield serving


@pytest.mark.parametrize("as_content", [False, True])
class TestAgainstAServer:
    @pytest.mark.parametrize(
        ("signature", "wishes"),
        [
            ("serving_default", Wishes(kind="names")),
            ("from_bytes", Wishes(kind="bytes")),
            ("from_images", Wishes(preprocessing=Preprocessing.parse("scale=0..1,color=gray"))),
        ],
    )
    def test_digits_are_predicted_as_they_are_in_memory(
        self, server: TfServing, signature: str, wishes: Wishes, as_content: bool
    ) -> None:
        predictor = open_model(digits.MODEL, signature, wishes)
        predictor.load()
        batch = (digits.with_names if wishes.kind == "names" else digits.with_bytes)(*digits.IMAGES[:40])
        server.as_content = as_content
        wire = format_of("digits", signature)
        found = self.predicted(server, wire, predictor.feed.prepare(batch), predictor.signature)
        for row, expected in zip(found, predictor.predict(batch), strict=True):
            assert isinstance(expected, Mapping)
            assert row.keys() == expected.keys()
            for name, value in expected.items():
                assert row[name].dtype == value.dtype
                np.testing.assert_allclose(row[name], value, atol=1e-6)

    @pytest.mark.parametrize("signature", ["dtypes", "shapes", "texts"])
    def test_outputs_of_each_type_and_shape_are_those_in_memory(
        self, server: TfServing, toys: str, signature: str, as_content: bool
    ) -> None:
        predictor = open_model(toys, signature, Wishes(kind="bytes"))
        predictor.load()
        batch = [
            FileBytes(ref.ref, b"content" * length) for length, ref in enumerate(digits.with_names(*"abc"))
        ]
        server.as_content = as_content
        wire = format_of("toys", signature)
        found = self.predicted(server, wire, predictor.feed.prepare(batch), predictor.signature)
        for row, expected in zip(found, predictor.predict(batch), strict=True):
            assert isinstance(expected, Mapping)
            for name, value in expected.items():
                np.testing.assert_array_equal(row[name], value)
                assert type(row[name]) is type(value)

    def predicted(
        self, server: TfServing, wire: GrpcFormat, values: Any, signature: Signature
    ) -> list[Mapping[str, Any]]:
        with client(server.address) as transport:
            reply = transport.call(wire.request([wire.encode(value) for value in values], {}, None), 30)
        rows = wire.parse(reply, len(values), signature.outputs).rows
        assert all(isinstance(row, Mapping) for row in rows), rows
        return rows  # type: ignore[return-value]


class TestMetadata:
    @pytest.mark.parametrize(("model", "place"), [("digits", digits.MODEL), ("toys", None)])
    def test_the_server_tells_the_signatures_of_the_model(
        self, server: TfServing, toys: str, model: str, place: str | None
    ) -> None:
        wire = format_of(model)
        with client(server.address) as transport:
            request = wire.metadata_request(None)
            assert request is not None
            metadata = wire.read_metadata(transport.call(request, 10))
        (served,) = server.models[model].values()
        written = read_signatures(place or toys)
        assert metadata.signatures == {name: written[name] for name in served}

    @pytest.mark.parametrize(("version", "told"), [(None, "2"), ("1", "1")])
    def test_it_is_asked_for_a_version(self, server: TfServing, version: str | None, told: str) -> None:
        wire = format_of("doubling")
        request = wire.metadata_request(version)
        assert request is not None
        with client(server.address) as transport:
            metadata = wire.read_metadata(transport.call(request, 10))
        assert metadata.model_version == told
        assert metadata.signatures == {"serving_default": DOUBLES}


def test_the_format_can_be_pickled() -> None:
    wire = format_of("M/labels/L", "from_bytes")
    wire.encode({"x": b""})
    assert pickle.loads(pickle.dumps(wire)) == wire  # noqa: S301


def test_neither_tensorflow_nor_its_stubs_are_imported() -> None:
    code = """
import sys
import numpy as np
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.grpc_predict import GrpcFormat
from transforms.predictors.remote.grpc_transport import GrpcTransport
wire = GrpcFormat(parse_endpoint("grpc://127.0.0.1:1/M"), "s")
wire.request([wire.encode({"x": b"", "y": np.ones(3)})], {}, "1"), wire.metadata_request(None)
print([name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "tensorflow_serving")])
"""
    assert run(code) == "[]"
