"""The endpoints of the tests: what they answer, and that nothing wrong passes them."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import urllib3

from emulators import rest_faults
from emulators.model_server import ModelServer, model_server
from emulators.rest_apis import MultipartApi, TfServingApi, VertexApi
from emulators.served import Row, Served, of_rows
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.multipart import MultipartFormat
from transforms.predictors.remote.tf_serving import TfServingFormat
from transforms.predictors.remote.vertex import VertexFormat
from transforms.predictors.remote.wire import Reply, Request, WireFormat
from transforms.records import Outputs

INPUTS = (TensorSpec("image", "string", (None,)), TensorSpec("scale", "float32", (None, 2)))
SIZES = Signature(
    "serving_default",
    INPUTS,
    (TensorSpec("name_bytes", "string", (None,)), TensorSpec("size", "float32", (None,))),
)
ONE_INPUT = Signature("one", INPUTS[:1], (TensorSpec("size", "int64", (None,)),))
RESOURCE = "projects/p/locations/l/endpoints/1"
PREDICT = "/v1/models/m:predict"
JSON = {"Content-Type": "application/json"}


def sizes(rows: Sequence[Row]) -> list[Outputs]:
    if any(row["image"] == b"bad" for row in rows):
        raise ValueError("an image is bad")
    return [
        {"size": np.float32(len(row["image"]) * row["scale"].sum()), "name_bytes": row["image"][:2]}
        for row in rows
    ]


def lengths(rows: Sequence[Row]) -> list[Outputs]:
    return [{"size": len(row["image"])} for row in rows]


def served() -> Served:
    return of_rows(SIZES, sizes)


def tf_serving_api() -> TfServingApi:
    signatures = {"serving_default": served(), "one": of_rows(ONE_INPUT, lengths)}
    return TfServingApi({"m": {1: signatures, 3: signatures}}, {"m": {"stable": 1}})


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server(tf_serving_api()) as running:
        yield running


def send(
    server: ModelServer, path: str, body: bytes, method: str = "POST", **headers: str
) -> tuple[int, bytes]:
    with urllib3.PoolManager(retries=False) as pool:
        answer = pool.request(method, server.address + path, body=body, headers={**JSON, **headers})
        return answer.status, answer.data


def predict(server: ModelServer, sent: Any, path: str = PREDICT) -> tuple[int, Any]:
    status, body = send(server, path, json.dumps(sent).encode())
    return status, json.loads(body)


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def instance(content: bytes = b"abc", scale: Any = (1, 0.5)) -> dict[str, Any]:
    return {"image": b64(content), "scale": list(scale)}


def round_trip(server: ModelServer, wire: WireFormat, items: Sequence[dict[str, Any]]) -> list[Any]:
    """Send items as the pipeline does."""
    request: Request = wire.request([wire.encode(item) for item in items], {}, None)
    path = request.target.removeprefix(server.address)
    status, body = send(server, path, bytes(request.body), **{"Content-Type": request.content_type})
    assert status == 200, body
    return list(wire.parse(Reply(body), len(items), SIZES.outputs).rows)


def test_rows_and_columns_are_answered_as_they_came(server: ModelServer) -> None:
    row = {"name_bytes": b64(b"ab"), "size": 4.5}
    assert predict(server, {"instances": [instance()]}) == (200, {"predictions": [row]})
    columns = {"image": [b64(b"abc")], "scale": [[1, 0.5]]}
    answer = {"outputs": {"name_bytes": [b64(b"ab")], "size": [4.5]}}
    assert predict(server, {"signature_name": "serving_default", "inputs": columns}) == (200, answer)
    assert server.violations == []


def test_one_input_and_one_output_need_no_name(server: ModelServer) -> None:
    for instances in ([b64(b"abc"), "text"], [{"image": b64(b"abc")}, {"image": "text"}]):
        sent = {"signature_name": "one", "instances": instances}
        assert predict(server, sent) == (200, {"predictions": [3, 4]})
    assert predict(server, {"signature_name": "one", "inputs": [b64(b"abc")]}) == (200, {"outputs": [3]})
    assert server.violations == []


def test_numbers_that_are_none_come_without_quotes(server: ModelServer) -> None:
    status, body = send(server, PREDICT, json.dumps({"instances": [instance(scale=(np.nan, 1))]}).encode())
    assert status == 200
    assert b'"size":NaN' in body
    assert server.violations == []


@pytest.mark.parametrize("place", ["", "/versions/1", "/versions/3", "/labels/stable"])
def test_versions_and_labels_are_found(server: ModelServer, place: str) -> None:
    assert predict(server, {"instances": [instance()]}, f"/v1/models/m{place}:predict")[0] == 200
    assert predict(server, {"instances": [instance()]}, "/v1/models/m/versions/2:predict")[0] == 404
    assert server.violations == []


def test_metadata_and_status_tell_the_version(server: ModelServer) -> None:
    _, body = send(server, "/v1/models/m/labels/stable/metadata", b"", "GET")
    told = json.loads(body)
    assert told["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}
    definition = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["scale"]["dtype"] == "DT_FLOAT"
    assert [one["size"] for one in definition["inputs"]["scale"]["tensor_shape"]["dim"]] == ["-1", "2"]
    _, body = send(server, "/v1/models/m", b"", "GET")
    assert json.loads(body)["model_version_status"][0]["version"] == "3"


@pytest.mark.parametrize(
    ("path", "sent", "status", "words"),
    [
        (
            "/v1/models/other:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Latest(other)",
        ),
        ("/v1/models/m/versions/9:predict", {}, 404, "Servable not found for request: Specific(m, 9)"),
        ("/v1/models/m/labels/new:predict", {}, 400, "Unrecognized servable version label: new"),
        (PREDICT, {"signature_name": "no", "instances": [1]}, 400, 'Serving signature name: "no" not found'),
        (PREDICT, {"instances": [instance(b"bad")]}, 400, "an image is bad"),
    ],
)
def test_what_a_correct_client_may_ask_for_is_no_violation(
    server: ModelServer, path: str, sent: Any, status: int, words: str
) -> None:
    answered, answer = predict(server, sent, path)
    assert answered == status
    assert words in answer["error"]
    assert server.violations == []


BAD_BODIES = [
    b"",
    b"{",
    b"[]",
    b"\xff",
    b'{"instances":[1],"instances":[1]}',
    *(
        json.dumps(sent).encode()
        for sent in (
            {},
            {"instances": []},
            {"instances": {}},
            {"instances": [instance()], "inputs": {}},
            {"instances": [instance()], "unknown": 1},
            {"instances": [instance()], "signature_name": 1},
            {"instances": [b64(b"x")]},
            {"instances": [instance(), [1]]},
            {"instances": [{"image": b64(b"x")}]},
            {"instances": [{**instance(), "more": 1}]},
            {"instances": [{**instance(), "image": {"b64": "abc"}}]},
            {"instances": [{**instance(), "image": {"b64": "YWJj\n"}}]},
            {"instances": [{**instance(), "image": {"b64": "YWJj", "x": 1}}]},
            {"instances": [{**instance(), "image": 1}]},
            {"instances": [{**instance(), "image": ["a"]}]},
            {"instances": [instance(scale=(1, 2, 3))]},
            {"instances": [instance(scale=("1", 2))]},
            {"instances": [instance(scale=(True, 2))]},
            {"instances": [instance(scale=(1, [2]))]},
            {"instances": [instance(scale=(None, 2))]},
            {"inputs": {"image": [b64(b"x")]}},
            {"inputs": {"image": [b64(b"x")], "scale": [[1, 2], [1, 2]]}},
            {"inputs": [1]},
        )
    ),
]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_what_no_correct_client_sends_is_kept_as_a_violation(server: ModelServer, body: bytes) -> None:
    status, answer = send(server, PREDICT, body)
    assert status == 400
    assert json.loads(answer).keys() == {"error"}
    assert len(server.violations) == 1


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("PUT", PREDICT, {}),
        ("POST", "/v1/models/m", {}),
        ("POST", f"{PREDICT}?a=b", {}),
        ("POST", "/v1/models/m/versions/x:predict", {}),
        ("POST", PREDICT, {"Content-Type": "text/plain"}),
        ("POST", PREDICT, {"Content-Type": "application/json; charset=latin-1"}),
    ],
)
def test_a_wrong_head_is_a_violation(
    server: ModelServer, method: str, path: str, headers: dict[str, str]
) -> None:
    status, _ = send(server, path, json.dumps({"instances": [instance()]}).encode(), method, **headers)
    assert status == 400
    assert len(server.violations) == 1


def test_a_body_without_its_length_is_a_violation(server: ModelServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert "without Content-Length" in server.violations[0]


@pytest.mark.parametrize("request_format", ["instances", "inputs"])
def test_the_pipelines_requests_are_taken_by_tf_serving(server: ModelServer, request_format: Any) -> None:
    endpoint = parse_endpoint(f"{server.address}/v1/models/m", "tf_serving")
    wire = TfServingFormat(endpoint, "serving_default", request_format)
    items = [{"image": content, "scale": np.float32([0.1, 2])} for content in (b"\x00\xff", b"", b"text")]
    rows = round_trip(server, wire, items)
    assert [float(row["size"]) for row in rows] == pytest.approx([4.2, 0.0, 8.4])
    assert server.violations == []
    assert all(server.appearances(**item) == 1 for item in items)


def test_the_pipelines_requests_are_taken_by_vertex() -> None:
    with model_server(VertexApi(RESOURCE, served(), parameters={"top": 1})) as server:
        wire = VertexFormat(parse_endpoint(f"{server.address}/v1/{RESOURCE}"), {"top": 1})
        (row,) = round_trip(server, wire, [{"image": b"\x00\xff", "scale": np.float32([0.1, 2])}])
        assert float(row["size"]) == pytest.approx(4.2)
        assert server.violations == []


def test_vertex_tells_its_model_and_has_its_own_errors() -> None:
    with model_server(VertexApi(RESOURCE, served(), deployed_model_id="77")) as server:
        path = f"/v1/{RESOURCE}:predict"
        _, answer = predict(server, {"instances": [instance()]}, path)
        assert answer["deployedModelId"] == "77"
        status, answer = predict(server, {"instances": [instance(b"bad")]}, path)
        assert (status, answer["error"]) == (
            400,
            {"code": 400, "message": "an image is bad", "status": "INVALID_ARGUMENT"},
        )
        assert server.violations == []
        for sent in ({"instances": [instance()], "signature_name": "x"}, {"inputs": {}}, {"parameters": {}}):
            assert predict(server, sent, path)[0] == 400
        assert send(server, path, b'{"instances":[NaN]}')[0] == 400
        assert len(server.violations) == 4


def test_the_pipelines_requests_are_taken_as_a_form() -> None:
    inputs = (INPUTS[0], TensorSpec("scale", "float32", (None,)), TensorSpec("unit", "string", (None,)))
    with model_server(
        MultipartApi("/predict", of_rows(replace(SIZES, inputs=inputs), sizes), "image")
    ) as server:
        wire = MultipartFormat(parse_endpoint(f"{server.address}/predict", "multipart"))
        item = {"image": b"\x00--\r\n\xff", "scale": np.float32(0.5), "unit": "\N{MICRO SIGN}m"}
        (row,) = round_trip(server, wire, [item])
        assert float(row["size"]) == 3.0
        assert server.violations == []
        assert server.appearances(**item) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"--x\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\na\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="y"; filename="a"\r\n\r\na\r\n--x',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_a_form_that_is_none_is_a_violation(body: bytes, content_type: str) -> None:
    with model_server(MultipartApi("/predict", of_rows(ONE_INPUT, lengths), "image")) as server:
        assert send(server, "/predict", body, **{"Content-Type": content_type})[0] in {400, 422}
        assert len(server.violations) == 1


def test_a_share_of_requests_fails_the_same_way_in_each_run(server: ModelServer) -> None:
    runs = []
    for _ in range(2):
        server.fault = rest_faults.at_random(0.3, (503, 429), seed=1, retry_after="0")
        runs.append([predict(server, {"instances": [instance()]})[0] for _ in range(200)])
    assert runs[0] == runs[1]
    assert 0.2 < sum(status != 200 for status in runs[0]) / 200 < 0.4
    assert set(runs[0]) == {200, 503, 429}


def test_items_and_requests_at_the_same_time_are_counted(server: ModelServer) -> None:
    gate = threading.Event()
    server.fault = rest_faults.wait_for(gate)
    with ThreadPoolExecutor(3) as pool:
        answers = [
            pool.submit(predict, server, {"instances": [instance(), instance(b"x")]}) for _ in range(3)
        ]
        while server.in_flight < 3:
            assert not all(one.done() for one in answers)
        gate.set()
        assert [one.result()[0] for one in answers] == [200] * 3
    assert (server.requests, server.most_in_flight, server.in_flight) == (3, 3, 0)
    assert server.appearances(image=b"x", scale=np.float32([1, 0.5])) == 3
    assert server.appearances(image=b"y", scale=np.float32([1, 0.5])) == 0


def test_answers_can_be_spoilt(server: ModelServer) -> None:
    sent = {"instances": [instance(), instance()]}
    server.faults = [rest_faults.other_count(-1), rest_faults.other_count(1), rest_faults.truncated_json()]
    assert len(predict(server, sent)[1]["predictions"]) == 1
    assert len(predict(server, sent)[1]["predictions"]) == 3
    with pytest.raises(json.JSONDecodeError):
        predict(server, sent)


def test_one_item_of_many_can_be_refused(server: ModelServer) -> None:
    server.fault = rest_faults.refuse_items(base64.b64encode(b"evil"))
    assert predict(server, {"instances": [instance(), instance()]})[0] == 200
    assert predict(server, {"instances": [instance(), instance(b"evil")]})[0] == 400
    assert server.violations == []


def test_a_request_that_is_too_large_is_answered_413(server: ModelServer) -> None:
    server.max_request_bytes = 100
    assert send(server, PREDICT, b"x" * 101)[0] == 413
    server.max_request_bytes = None
    assert send(server, PREDICT, b"x" * 101)[0] == 400


def test_headers_can_be_required(server: ModelServer) -> None:
    server.required = {"authorization": "Bearer a"}
    body = json.dumps({"instances": [instance()]}).encode()
    assert send(server, PREDICT, body)[0] == 401
    assert send(server, PREDICT, body, Authorization="Bearer b")[0] == 401
    assert send(server, PREDICT, body, Authorization="Bearer a")[0] == 200


def test_a_server_that_is_down_comes_back_on_its_port(server: ModelServer) -> None:
    for _ in range(2):
        assert predict(server, {"instances": [instance()]})[0] == 200
        port = server.port
        server.down()
        with pytest.raises(urllib3.exceptions.NewConnectionError):
            predict(server, {"instances": [instance()]})
        server.up()
        assert server.port == port


def test_a_benchmarks_answers_are_made_of_raw_bytes(server: ModelServer) -> None:
    counts = itertools.count()
    server.quick = lambda body: b"%d of %d bytes" % (next(counts), len(body))
    server.keeps = False
    assert send(server, "/anything", b"abc") == (200, b"0 of 3 bytes")
    assert server.received[0].body == b""
    assert server.received[0].size == 3
