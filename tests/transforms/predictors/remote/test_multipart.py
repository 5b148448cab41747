"""Uploads, as the form parser of web services reads them."""

from __future__ import annotations

import asyncio
import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from transforms.errors import AnswerInvalid, InstanceRefused
from transforms.predictors.base import TensorSpec
from transforms.predictors.feed import Values
from transforms.predictors.functions import Tensors
from transforms.predictors.remote import multipart
from transforms.predictors.remote.endpoint import parse_endpoint
from transforms.predictors.remote.multipart import MultipartFormat
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request, WireFormat

_ENDPOINT = parse_endpoint("https://service.example.com/predict", "multipart")
_WIRE = MultipartFormat(_ENDPOINT)
_LABEL = TensorSpec("label", "string", (None,))
_SCORES = TensorSpec("scores", "float32", (None, 2))

_Field = tuple[str, str | None, str | None, bytes]


def _request(values: Values, shared: Tensors | None = None, wire: MultipartFormat = _WIRE) -> Request:
    item = wire.encode(values)
    request = wire.request([item], shared or {}, "7")
    assert len(request.body) <= wire.overhead(shared or {}) + item.size
    return request


def _fields(request: Request) -> list[_Field]:
    """Read a form as Starlette does: the name, file name, type and content of each field."""
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartParser

    async def body() -> Any:
        for start in range(0, len(request.body), 1000):
            yield request.body[start : start + 1000]

    async def read() -> list[_Field]:
        headers = Headers({"content-type": request.content_type})
        form = await MultiPartParser(headers, body()).parse()
        return [
            (name, value.filename, value.content_type, await value.read())
            if isinstance(value, UploadFile)
            else (name, None, None, value.encode())
            for name, value in form.multi_items()
        ]

    return asyncio.run(read())


def _image(kind: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "filename"),
    [
        ("JPEG", "file.jpg"),
        ("PNG", "file.png"),
        ("WebP", "file.webp"),
        ("GIF", "file.gif"),
        ("BMP", "file.bmp"),
    ],
)
def test_a_file_is_called_what_it_is(kind: str, filename: str) -> None:
    content = _image(kind)

    assert _fields(_request({"": content})) == [("file", filename, f"image/{kind.lower()}", content)]


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\r\n", b"--\r\n--", b"\r\n--\r\n\r\n", bytes(range(256)) * 99]
)
def test_any_content_comes_through(content: bytes) -> None:
    request = _request({"": content})

    assert _fields(request) == [("file", "file", "application/octet-stream", content)]
    assert (request.method, request.target) == ("POST", "https://service.example.com/predict")


def test_other_inputs_are_fields_of_text() -> None:
    values = {
        "image": b"x",
        "name": "é\n漢",
        "empty": "",
        "size": np.float32(0.1),
        "count": np.array(3),
        "yes": True,
        "word": np.array("w", object),
    }

    fields = {
        name: (kind, content) for name, _, kind, content in _fields(_request(values, {"k": np.array(5)}))
    }

    assert fields == {
        "image": ("application/octet-stream", b"x"),
        "name": (None, "é\n漢".encode()),
        "empty": (None, b""),
        "size": (None, b"0.1"),
        "count": (None, b"3"),
        "yes": (None, b"true"),
        "word": (None, b"w"),
        "k": (None, b"5"),
    }


def test_a_name_alone_is_a_field_of_text() -> None:
    assert _fields(_request({"": "gs://bucket/a.jpg"})) == [("file", None, None, b"gs://bucket/a.jpg")]


@pytest.mark.parametrize(
    ("item_input", "name", "field"),
    [(None, "", "file"), ("photo", "", "photo"), ("photo", "photo", "photo"), (None, "photo", "photo")],
)
def test_which_field_the_file_is_in(item_input: str | None, name: str, field: str) -> None:
    request = _request({name: b"x"}, wire=MultipartFormat(_ENDPOINT, item_input))

    assert [found for found, *_ in _fields(request)] == [field]


def test_names_cannot_add_headers() -> None:
    body = _request({'a"; filename="evil\r\nX-Evil: 1\r\n\r\n': "x"}).body

    assert b'name="a%22; filename=%22evil%0D%0AX-Evil: 1%0D%0A%0D%0A"' in body


@pytest.mark.parametrize("values", [{"": "file-\udcff"}, {"x\udcff": b""}, {"": np.ones(2)}, {"": 1j}])
def test_what_a_form_has_no_place_for_costs_one_item(values: Values) -> None:
    with pytest.raises(InstanceRefused):
        _WIRE.encode(values)


def test_the_boundary_is_the_same_for_the_same_content() -> None:
    assert _request({"": b"a"}) == _request({"": b"a"})
    assert _request({"": b"a"}).content_type != _request({"": b"b"}).content_type


def test_the_boundary_is_nowhere_in_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    def proposed(parts: Sequence[bytes]) -> list[str]:
        return [letter * 32 for letter in "abc"]

    monkeypatch.setattr(multipart, "_boundaries", proposed)
    content = b"\r\n--" + b"a" * 32 + b"--\r\n" + b"b" * 40

    request = _request({"": content})

    assert request.content_type == f"multipart/form-data; boundary={'c' * 32}"
    assert _fields(request)[0][-1] == content


def test_boundaries_are_all_different() -> None:
    proposed = multipart._boundaries([b"x"])

    assert len({next(proposed) for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("body", "outputs", "expected"),
    [
        (b'{"result": "cat"}', (_LABEL,), {"label": "cat"}),
        (b'{"result": {"label": "cat", "more": [1]}}', (_LABEL,), {"label": "cat"}),
        (b'{"result": {"b64": "Y2F0"}}', (_LABEL,), {"label": "cat"}),
    ],
)
def test_answers(body: bytes, outputs: tuple[TensorSpec, ...], expected: Any) -> None:
    parsed = _WIRE.parse(Reply(body), 1, outputs)

    assert list(parsed.rows) == [expected]
    assert parsed.model_version is None


def test_a_list_is_the_only_output() -> None:
    (row,) = _WIRE.parse(Reply(b'{"result": [0.25, 0.75]}'), 1, (_SCORES,)).rows
    (bad,) = _WIRE.parse(Reply(b'{"result": [0.25]}'), 1, (_SCORES,)).rows

    assert isinstance(row, dict)
    assert row["scores"].tolist() == [0.25, 0.75]
    assert isinstance(bad, AnswerInvalid)


@pytest.mark.parametrize(
    ("body", "action"),
    [(b'{"error": "no image"}', Action.BISECT), (b'{"results": 1}', Action.GIVE_UP), (b"ok", Action.GIVE_UP)],
)
def test_what_is_no_answer(body: bytes, action: Action) -> None:
    with pytest.raises(CallFailed) as raised:
        _WIRE.parse(Reply(body), 1, (_LABEL,))
    assert (raised.value.action, raised.value.status) == (action, "answer")


def test_an_answer_tells_its_outputs() -> None:
    assert _WIRE.describe(Reply(b'{"result": "cat"}')) == (TensorSpec("prediction", "string", (None,)),)
    assert _WIRE.describe(Reply(b'{"result": {"label": 3}}')) == (TensorSpec("label", "int64", (None,)),)


def test_there_is_no_metadata() -> None:
    assert _WIRE.metadata_request(None) is None
    with pytest.raises(CallFailed, match="metadata"):
        _WIRE.read_metadata(Reply(b"{}"))


def test_formats_travel_to_workers() -> None:
    wire: WireFormat = MultipartFormat(_ENDPOINT, "photo")

    assert pickle.loads(pickle.dumps(wire)) == wire  # noqa: S301
    assert wire.max_items == 1
