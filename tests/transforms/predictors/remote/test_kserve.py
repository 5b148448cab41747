"""KServe's V1 protocol, and V2's metadata, against KServe's own server code."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import numpy as np
import pytest

from transforms.errors import AnswerInvalid
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.kserve import DATATYPES, KServeFormat
from transforms.predictors.remote.wire import Action, CallFailed, Metadata, Reply, WireFormat

_WIRE = KServeFormat(parse_endpoint("http://host:8080/v1/models/my%20model", "kserve"))
_SCORE = TensorSpec("score", "float32", (None,))


def _reply(answer: Any) -> Reply:
    return Reply(json.dumps(answer).encode())


def _kserve_model(inputs: Any, outputs: Any) -> Any:
    from kserve import Model, ModelRepository
    from kserve.protocol.dataplane import DataPlane

    class _Model(Model):  # type: ignore[misc]
        def get_input_types(self) -> Any:
            return inputs

        def get_output_types(self) -> Any:
            return outputs

    model = _Model("m")
    model.load()
    registry = ModelRepository()
    registry.update(model)
    return DataPlane(registry)


def _kserve_metadata(inputs: Any, outputs: Any) -> Reply:
    """Return what KServe's server answers for a model's metadata."""
    from kserve.protocol.rest.v2_datamodels import ModelMetadataResponse

    metadata = asyncio.run(_kserve_model(inputs, outputs).model_metadata("m"))
    return Reply(ModelMetadataResponse.model_validate(metadata).model_dump_json().encode())


def test_requests_are_what_kserve_reads() -> None:
    items = [_WIRE.encode({"image": b"\xff\xd8", "size": np.arange(2)}), _WIRE.encode({"": "bare"})]
    request = _WIRE.request(items, {}, "7")

    read, _ = _kserve_model([], []).decode(request.body, {"content-type": request.content_type})

    assert read == {"instances": [{"image": {"b64": "/9g="}, "size": [0, 1]}, "bare"]}
    assert request.target == "http://host:8080/v1/models/my%20model:predict"
    assert len(request.body) <= _WIRE.overhead({}) + sum(item.size for item in items)


@pytest.mark.filterwarnings("ignore:ORJSONResponse is deprecated")
def test_answers_as_kserve_writes_them() -> None:
    from fastapi.responses import ORJSONResponse

    predictions = [{"score": np.float32(0.1).item()}, 0.5, float("nan")]
    body = bytes(ORJSONResponse({"predictions": predictions}).body)

    first, second, none = _WIRE.parse(Reply(body), 3, (_SCORE,)).rows

    assert first == {"score": np.float32(0.1)}
    assert second == {"score": np.float32(0.5)}
    assert isinstance(none, AnswerInvalid)
    assert "null" in str(none)


@pytest.mark.parametrize(
    ("extra", "version"), [({}, None), ({"model_version": "5"}, "5"), ({"model_version": {}}, None)]
)
def test_the_version_is_taken_where_it_is_told(extra: Any, version: str | None) -> None:
    assert _WIRE.parse(_reply({"predictions": [1], **extra}), 1, (_SCORE,)).model_version == version


@pytest.mark.parametrize(
    ("body", "action"),
    [
        (b'{"predictions": [1]}', Action.BISECT),
        (b'{"error": "no"}', Action.BISECT),
        (b'{"outputs": [1, 2]}', Action.GIVE_UP),
        (b'{"predictions": "b64"}', Action.GIVE_UP),
        (b"not found", Action.GIVE_UP),
    ],
)
def test_what_is_no_answer_for_these_items(body: bytes, action: Action) -> None:
    with pytest.raises(CallFailed) as raised:
        _WIRE.parse(Reply(body), 2, (_SCORE,))
    assert (raised.value.action, raised.value.status) == (action, "answer")


def test_an_answer_tells_its_outputs() -> None:
    assert _WIRE.describe(_reply({"predictions": [[1, 2]]})) == (
        TensorSpec("prediction", "int64", (None, 2)),
    )


def test_metadata_as_kserve_tells_it() -> None:
    inputs = [
        {"name": name, "datatype": datatype, "shape": [-1, number]}
        for number, (name, datatype) in enumerate(DATATYPES.items())
    ]
    outputs = [
        {"name": "any", "datatype": "BYTES", "shape": []},
        {"name": "", "datatype": "BOOL", "shape": [-1]},
    ]

    read = _WIRE.read_metadata(_kserve_metadata(inputs, outputs))

    expected = sorted(
        (TensorSpec(name, name, (None, number)) for number, name in enumerate(DATATYPES)),
        key=lambda spec: spec.name,
    )
    assert read == Metadata(
        {
            "": Signature(
                "", tuple(expected), (TensorSpec("", "bool", (None,)), TensorSpec("any", "string", None))
            )
        }
    )


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"signature": "from_bytes"}, "from_bytes"), ({}, ""), ({"signature": 5}, ""), ("x", ""), (None, "")],
)
def test_the_name_of_the_signature_is_taken_where_it_is_told(parameters: Any, name: str) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}
    answer = {"name": "m", "platform": "", "inputs": [tensor], "outputs": [tensor], "parameters": parameters}
    spec = TensorSpec("x", "float32", (None,))
    assert _WIRE.read_metadata(_reply(answer)) == Metadata({name: Signature(name, (spec,), (spec,))})


def test_a_model_that_tells_nothing_of_itself_is_unknown() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}

    for inputs, outputs in (([], []), ([tensor], []), ([], [tensor])):
        assert _WIRE.read_metadata(_kserve_metadata(inputs, outputs)) == Metadata({})


@pytest.mark.parametrize(
    ("versions", "version"), [(["3"], "3"), (["3", "4"], None), ([], None), (None, None)]
)
def test_the_version_of_metadata_is_told_where_there_is_one(versions: Any, version: str | None) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}
    answer = {"name": "m", "versions": versions, "platform": "", "inputs": [tensor], "outputs": [tensor]}

    assert _WIRE.read_metadata(_reply(answer)).model_version == version


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"error": "no V2 here"}',
        b'{"inputs": 1, "outputs": 2}',
        b'{"inputs": [1], "outputs": [2]}',
        b'{"inputs": [{"name": "x", "datatype": "FP99", "shape": [-1]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": [], "shape": [-1]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": ["a"]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1e999]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": null}], "outputs": []}',
    ],
)
def test_a_server_that_knows_no_v2_tells_nothing(body: bytes) -> None:
    assert _WIRE.read_metadata(Reply(body)) == Metadata({})


def test_where_metadata_is_asked_for() -> None:
    request = _WIRE.metadata_request("7")

    assert request is not None
    assert (request.method, request.target) == ("GET", "http://host:8080/v2/models/my%20model")


def test_instances_have_no_place_for_what_is_shared() -> None:
    with pytest.raises(ValueError, match="'k' has no batch dimension"):
        _WIRE.request([_WIRE.encode({"x": 1})], {"k": np.array(1)}, None)


def test_formats_travel_to_workers() -> None:
    wire: WireFormat = _WIRE

    assert pickle.loads(pickle.dumps(wire)) == wire  # noqa: S301
    assert wire.max_items is None
