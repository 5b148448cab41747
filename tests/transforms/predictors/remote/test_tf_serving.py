"""TensorFlow Serving's REST API, compared with its documentation and with TensorFlow's own messages."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from transforms.errors import AnswerInvalid, InstanceRefused
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.tf_serving import TfServingFormat
from transforms.predictors.remote.wire import Action, CallFailed, Metadata, Reply, WireFormat

_ENDPOINT = parse_endpoint("http://host:8501/v1/models/digits", "tf_serving")
_SCORES = TensorSpec("scores", "float32", (None, 2))
_LABEL = TensorSpec("label", "string", (None,))

_JPEG = {"image_bytes": b"\xff\xd8\xff", "name": "a"}


def _wire(request_format: str = "instances", signature_name: str = "serving_default") -> TfServingFormat:
    return TfServingFormat(_ENDPOINT, signature_name, request_format)


def _body(wire: WireFormat, items: list[Values], shared: Tensors | None = None) -> Any:
    encoded = [wire.encode(values) for values in items]
    request = wire.request(encoded, shared or {}, None)
    assert len(request.body) <= wire.overhead(shared or {}) + sum(item.size for item in encoded)
    assert (request.method, request.content_type) == ("POST", "application/json")
    return json.loads(request.body)


def _reply(answer: Any) -> Reply:
    return Reply(json.dumps(answer).encode())


def test_rows() -> None:
    body = _body(
        _wire(), [{**_JPEG, "size": np.arange(2)}, {"image_bytes": b"", "name": "é", "size": np.ones(2)}]
    )

    assert body == {
        "instances": [
            {"image_bytes": {"b64": "/9j/"}, "name": "a", "size": [0, 1]},
            {"image_bytes": {"b64": ""}, "name": "é", "size": [1, 1]},
        ]
    }


def test_columns() -> None:
    shared = {"k": np.array(5, np.int32), "word": np.array("x", object)}
    body = _body(_wire("inputs"), [{**_JPEG, "size": np.arange(2)}, {**_JPEG, "size": np.ones(2)}], shared)

    assert body == {
        "inputs": {
            "image_bytes": [{"b64": "/9j/"}, {"b64": "/9j/"}],
            "name": ["a", "a"],
            "size": [[0, 1], [1, 1]],
            "k": 5,
            "word": "x",
        }
    }


@pytest.mark.parametrize("request_format", ["instances", "inputs"])
def test_an_input_without_a_name_is_the_whole_instance(request_format: str) -> None:
    body = _body(_wire(request_format), [{"": np.array([1, 2])}, {"": np.array([3, 4])}])

    assert body == {request_format: [[1, 2], [3, 4]]}


def test_an_only_input_is_named_where_it_has_a_name() -> None:
    assert _body(_wire(), [{"x": 1.5}]) == {"instances": [{"x": 1.5}]}
    assert _body(_wire("inputs"), [{"x": 1.5}]) == {"inputs": {"x": [1.5]}}


@pytest.mark.parametrize("request_format", ["instances", "inputs"])
def test_a_signature_is_named_where_it_is_not_the_default(request_format: str) -> None:
    assert list(_body(_wire(request_format, "bytes"), [_JPEG])) == ["signature_name", request_format]
    assert list(_body(_wire(request_format), [_JPEG])) == [request_format]


def test_rows_have_no_place_for_what_is_shared() -> None:
    for use in (
        lambda wire, shared: wire.overhead(shared),
        lambda wire, shared: _body(wire, [_JPEG], shared),
    ):
        with pytest.raises(ValueError, match=r"'k' has no batch dimension.*--request_format inputs"):
            use(_wire(), {"k": np.array(1)})
    with pytest.raises(ValueError, match="--item_input"):
        _body(_wire("inputs"), [{"": "x"}], {"k": np.array(1)})


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="'rows' must be one of"):
        _wire("rows")


@pytest.mark.parametrize("request_format", ["instances", "inputs"])
def test_what_json_cannot_carry_costs_one_item(request_format: str) -> None:
    with pytest.raises(InstanceRefused, match="not UTF-8"):
        _wire(request_format).encode({"name": "file-\udcff"})


@pytest.mark.parametrize("request_format", ["instances", "inputs"])
def test_items_of_different_shapes_are_told_apart(request_format: str) -> None:
    encoded = [
        _wire(request_format).encode({"x": np.ones(shape), "n": "a"}) for shape in ((2, 3), (3, 2), ())
    ]

    assert [item.shapes for item in encoded] == [((2, 3),), ((3, 2),), ((),)]


@pytest.mark.parametrize(
    ("suffix", "version", "path"),
    [
        ("", None, ""),
        ("", "7", "/versions/7"),
        ("/versions/3", None, "/versions/3"),
        ("/labels/canary", None, "/labels/canary"),
        ("/labels/canary", "7", "/versions/7"),
    ],
)
def test_which_version_is_asked(suffix: str, version: str | None, path: str) -> None:
    wire = TfServingFormat(parse_endpoint(f"http://host:8501/v1/models/digits{suffix}", "tf_serving"))
    metadata = wire.metadata_request(version)

    assert wire.request([wire.encode(_JPEG)], {}, version).target == (
        f"http://host:8501/v1/models/digits{path}:predict"
    )
    assert metadata is not None
    assert (metadata.method, metadata.body) == ("GET", b"")
    assert metadata.target == f"http://host:8501/v1/models/digits{path}/metadata"


@pytest.mark.parametrize(
    "answer",
    [
        {"predictions": [{"scores": [0.5, 0.5], "label": "é"}, {"scores": [1, 0], "label": {"b64": "/w=="}}]},
        {"outputs": {"scores": [[0.5, 0.5], [1, 0]], "label": ["é", {"b64": "/w=="}], "whole": 3}},
    ],
)
def test_answers_with_several_outputs(answer: Any) -> None:
    parsed = _wire().parse(_reply(answer), 2, (_LABEL, _SCORES))

    assert parsed.model_version is None
    labels = [row["label"] for row in parsed.rows if isinstance(row, dict)]
    scores = [row["scores"].tolist() for row in parsed.rows if isinstance(row, dict)]
    assert (labels, scores) == (["é", "/w=="], [[0.5, 0.5], [1, 0]])


@pytest.mark.parametrize("key", ["predictions", "outputs"])
def test_answers_with_a_single_output_do_not_name_it(key: str) -> None:
    (row,) = _wire().parse(_reply({key: [[0.25, 0.75]]}), 1, (_SCORES,)).rows
    (text,) = _wire().parse(_reply({key: [{"b64": "YQ=="}]}), 1, (_LABEL,)).rows

    assert isinstance(row, dict)
    assert (row["scores"].tolist(), row["scores"].dtype, text) == ([0.25, 0.75], np.float32, {"label": "a"})


def test_numbers_that_are_none_and_bytes_that_are_no_text_come_through() -> None:
    body = b'{"predictions": [{"scores": [NaN, -Infinity], "label": "\xff\xfe"}]}'
    (row,) = _wire().parse(Reply(body), 1, (_LABEL, _SCORES)).rows

    assert isinstance(row, dict)
    np.testing.assert_array_equal(row["scores"], [np.nan, -np.inf])
    assert row["label"] == "//4="


def test_one_bad_row_costs_one_item() -> None:
    predictions = [[0.5, 0.5], [0.5], [None, 0.5], ["a", "b"], {"other": 1}, [1, 0]]

    rows = _wire().parse(_reply({"predictions": predictions}), 6, (_SCORES,)).rows

    assert [isinstance(row, AnswerInvalid) for row in rows] == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    ("body", "action"),
    [
        (b'{"predictions": [[0.5, 0.5]]}', Action.BISECT),
        (b'{"outputs": {"scores": [[0.5, 0.5]]}}', Action.BISECT),
        (b'{"outputs": [[0.5, 0.5]]}', Action.BISECT),
        (b'{"predictions": []}', Action.BISECT),
        (b'{"error": "Expected image"}', Action.BISECT),
        (b'{"predictions": {"scores": [[0.5, 0.5]]}}', Action.GIVE_UP),
        (b'{"outputs": {"scores": 0.5}}', Action.GIVE_UP),
        (b'{"result": 1}', Action.GIVE_UP),
        (b"<html>", Action.GIVE_UP),
        (b"", Action.GIVE_UP),
    ],
)
def test_what_is_no_answer_for_these_items(body: bytes, action: Action) -> None:
    with pytest.raises(CallFailed) as raised:
        _wire().parse(Reply(body), 2, (_SCORES,))

    assert (raised.value.action, raised.value.status) == (action, "answer")


@pytest.mark.parametrize(
    "answer",
    [{"predictions": [{"scores": [0.5, 0.5], "n": 3}]}, {"outputs": {"scores": [[0.5, 0.5]], "n": [3]}}],
)
def test_an_answer_tells_its_outputs(answer: Any) -> None:
    assert _wire().describe(_reply(answer)) == (
        TensorSpec("n", "int64", (None,)),
        TensorSpec("scores", "float64", (None, 2)),
    )


def test_the_documented_metadata() -> None:
    tensor = {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "784", "name": ""}],
            "unknown_rank": False,
        },
        "name": "Placeholder:0",
    }
    signature = {"inputs": {"images": tensor}, "outputs": {"scores": tensor}, "method_name": "predict"}
    answer = {
        "model_spec": {"name": "mnist", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {"predict_images": signature}}},
    }

    images, scores = (TensorSpec(name, "float32", (None, 784)) for name in ("images", "scores"))
    assert _wire().read_metadata(_reply(answer)) == Metadata(
        {"predict_images": Signature("predict_images", (images,), (scores,))}, "1"
    )


def test_metadata_as_tensorflows_messages_are_written_in_json() -> None:
    from google.protobuf import json_format
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2

    from transforms.predictors.saved_model_files import DTYPES

    found = get_model_metadata_pb2.SignatureDefMap()
    inputs, outputs = found.signature_def["all"].inputs, found.signature_def["all"].outputs
    for number, name in DTYPES.items():
        inputs[name].dtype = number
        inputs[name].tensor_shape.dim.add(size=-1)
        inputs[name].tensor_shape.dim.add(size=number)
        assert types_pb2.DataType.Name(number)
    outputs["any"].dtype = types_pb2.DT_FLOAT
    outputs["any"].tensor_shape.unknown_rank = True
    outputs["one"].dtype = types_pb2.DT_FLOAT
    outputs["ragged"].composite_tensor.type_spec.type_spec_class = 4
    outputs["resource"].dtype = types_pb2.DT_RESOURCE
    outputs["sparse"].coo_sparse.values_tensor_name = "x"
    found.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "NoOp"
    found.signature_def["nothing"].method_name = "predict"
    written = json_format.MessageToDict(
        found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )

    read = _wire().read_metadata(
        _reply({"model_spec": {"version": 3}, "metadata": {"signature_def": written}})
    )

    assert read.model_version == "3"
    assert list(read.signatures) == ["all", "nothing"]
    assert read.signatures["nothing"] == Signature("nothing", (), ())
    signature = read.signatures["all"]
    assert signature.inputs == tuple(
        sorted((TensorSpec(n, n, (None, k)) for k, n in DTYPES.items()), key=lambda spec: spec.name)
    )
    assert [(spec.name, spec.dtype, spec.shape) for spec in signature.outputs] == [
        ("any", "float32", None),
        ("one", "float32", ()),
        ("ragged", "ragged", ()),
        ("resource", "DT_RESOURCE", ()),
        ("sparse", "sparse", ()),
    ]


_METADATA: dict[str, Any] = {
    "model_spec": {"name": "m", "version": "1"},
    "metadata": {"signature_def": {"signature_def": {"s": {"inputs": {}, "outputs": {}}}}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": None},
        {"metadata": {"signature_def": []}},
        {"metadata": {"signature_def": {"signature_def": None}}},
        {"metadata": {"signature_def": {"signature_def": {"s": 1}}}},
        {"metadata": {"signature_def": {"signature_def": {"s": {"inputs": {"x": 1}}}}}},
        {"metadata": {"signature_def": {"signature_def": {"s": {"inputs": {"x": {}}}}}}},
        {"metadata": {"signature_def": {"signature_def": {"s": {"inputs": [1]}}}}},
        *(
            {
                "metadata": {
                    "signature_def": {
                        "signature_def": {"s": {"inputs": {"x": {"dtype": "DT_INT8", "tensor_shape": shape}}}}
                    }
                }
            }
            for shape in ([1], {"dim": 1}, {"dim": [1]}, {"dim": [{"size": "a"}]}, {"dim": [{"size": 1e400}]})
        ),
        {"model_spec": None},
        {"model_spec": []},
        {"error": "no such model"},
    ],
)
def test_what_is_no_metadata_is_told_at_once(change: Any) -> None:
    assert "s" in _wire().read_metadata(_reply(_METADATA)).signatures
    with pytest.raises(CallFailed) as raised:
        _wire().read_metadata(_reply({**_METADATA, **change}))
    assert (raised.value.action, raised.value.status) == (Action.GIVE_UP, "answer")


def test_formats_travel_to_workers() -> None:
    wire: WireFormat = _wire("inputs", "bytes")

    assert pickle.loads(pickle.dumps(wire)) == wire  # noqa: S301
    assert wire.max_items is None
