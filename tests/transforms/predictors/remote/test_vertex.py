"""Vertex AI's online prediction, compared with its documentation."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from transforms.predictors.base import TensorSpec
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.vertex import VertexFormat
from transforms.predictors.remote.wire import Action, CallFailed, Reply, WireFormat

_ADDRESS = "projects/p/locations/us-central1/endpoints/123"
_ENDPOINT = parse_endpoint(_ADDRESS)
_SCORES = TensorSpec("scores", "float32", (None, 2))


@pytest.mark.parametrize(
    "parameters", [None, {}, {"threshold": 0.5, "names": ["é", "\n"], "deep": {"a": None}}]
)
def test_requests(parameters: Any) -> None:
    wire = VertexFormat(_ENDPOINT, parameters)
    items = [wire.encode({"image": b"\xff", "k": 1}), wire.encode({"": np.ones((2, 2))})]
    request = wire.request(items, {}, "7")

    expected: dict[str, Any] = {"instances": [{"image": {"b64": "/w=="}, "k": 1}, [[1, 1], [1, 1]]]}
    if parameters is not None:
        expected["parameters"] = parameters
    assert json.loads(request.body) == expected
    assert request.target == f"https://us-central1-aiplatform.googleapis.com/v1/{_ADDRESS}:predict"
    assert (request.method, request.content_type) == ("POST", "application/json")
    assert len(request.body) <= wire.overhead({}) + sum(item.size for item in items)


def test_the_documented_answer() -> None:
    answer = {
        "predictions": [[0.25, 0.75], {"scores": [1, 0]}],
        "deployedModelId": "8649",
        "model": "projects/1/locations/us-central1/models/2",
        "modelDisplayName": "digits",
        "modelVersionId": "1",
    }

    parsed = VertexFormat(_ENDPOINT).parse(Reply(json.dumps(answer).encode()), 2, (_SCORES,))

    assert parsed.model_version == "8649"
    assert [row["scores"].tolist() for row in parsed.rows if isinstance(row, dict)] == [[0.25, 0.75], [1, 0]]


def test_an_answer_need_not_tell_who_has_made_it() -> None:
    assert VertexFormat(_ENDPOINT).parse(Reply(b'{"predictions": []}'), 0, (_SCORES,)).model_version is None


def test_the_documented_error() -> None:
    body = (
        b'{"error": {"code": 400, "message": "Prediction failed: bad image", "status": "INVALID_ARGUMENT"}}'
    )

    with pytest.raises(CallFailed, match="bad image") as raised:
        VertexFormat(_ENDPOINT).parse(Reply(body), 1, (_SCORES,))
    assert (raised.value.action, raised.value.status) == (Action.BISECT, "answer")


def test_an_answer_tells_its_outputs() -> None:
    body = b'{"predictions": [{"ids": ["1"], "confidences": [0.5], "displayNames": ["cat"]}]}'

    assert VertexFormat(_ENDPOINT).describe(Reply(body)) == (
        TensorSpec("confidences", "float64", (None, 1)),
        TensorSpec("displayNames", "string", (None, 1)),
        TensorSpec("ids", "string", (None, 1)),
    )


def test_there_is_no_metadata() -> None:
    wire = VertexFormat(_ENDPOINT)

    assert wire.metadata_request(None) is None
    with pytest.raises(CallFailed, match="metadata") as raised:
        wire.read_metadata(Reply(b"{}"))
    assert raised.value.action is Action.GIVE_UP


def test_instances_have_no_place_for_what_is_shared() -> None:
    with pytest.raises(ValueError, match="'k' has no batch dimension"):
        VertexFormat(_ENDPOINT).overhead({"k": np.array(1)})


def test_formats_travel_to_workers() -> None:
    wire: WireFormat = VertexFormat(_ENDPOINT, {"a": 1})

    assert pickle.loads(pickle.dumps(wire)) == wire  # noqa: S301
    assert wire.max_items is None
