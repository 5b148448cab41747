"""docs/endpoints.md: what it says is sent and done about failures is what is sent and done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import main
from transforms.errors import RemoteError
from transforms.predictors.base import TensorSpec
from transforms.predictors.remote.endpoint import PROTOCOLS, parse_endpoint
from transforms.predictors.remote.failures import table_rows
from transforms.predictors.remote.kserve import KServeFormat
from transforms.predictors.remote.multipart import MultipartFormat
from transforms.predictors.remote.tf_serving import TfServingFormat
from transforms.predictors.remote.vertex import VertexFormat
from transforms.predictors.remote.wire import Reply, WireFormat

PAGE = (Path(__file__).parents[1] / "docs/endpoints.md").read_text()
OUTPUTS = (TensorSpec("label", "int64", (None,)), TensorSpec("score", "float64", (None,)))
ROWS = [{"label": 7, "score": 0.9}, {"label": 2, "score": 0.5}]
FILES = (b"first", b"second")

_URL = "http://localhost:8501/v1/models/digits"
_VERTEX = parse_endpoint("projects/my-project/locations/europe-west4/endpoints/1234567890")
_TF_SERVING = parse_endpoint(f"{_URL}/versions/1")
FORMATS: dict[str, list[WireFormat]] = {
    "TensorFlow Serving": [
        TfServingFormat(_TF_SERVING, "from_bytes"),
        TfServingFormat(_TF_SERVING, "from_bytes", "inputs"),
    ],
    "KServe, and `beam-predict serve`": [KServeFormat(parse_endpoint(_URL, "kserve"))],
    "Vertex AI": [VertexFormat(_VERTEX, {"threshold": 0.5})],
}


def _section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def _examples() -> Iterator[Any]:
    for title, formats in FORMATS.items():
        blocks = re.findall(r"^```json\n(.*?)^```$", _section(title), re.MULTILINE | re.DOTALL)
        assert len(blocks) == 2 * len(formats)
        for wire, sent, answered in zip(formats, blocks[::2], blocks[1::2], strict=True):
            yield pytest.param(wire, sent, answered, id=f"{title}: {sent[:40]}")


@pytest.mark.parametrize(("wire", "sent", "answered"), _examples())
def test_the_examples_are_what_is_sent_and_understood(wire: WireFormat, sent: str, answered: str) -> None:
    items = [wire.encode({"image_bytes": content}) for content in FILES]

    request = wire.request(items, {}, None)

    assert json.loads(request.body) == json.loads(sent)
    assert _plain(wire.parse(Reply(answered.encode()), len(items), OUTPUTS).rows) == ROWS
    path = re.search(r"`POST (\S+?)`", PAGE.split(sent)[0].rpartition("\n### ")[2])
    if path is not None and "..." not in path[1]:
        assert request.target.endswith(path[1])


def test_an_output_that_is_alone_has_no_name_as_the_page_says() -> None:
    (answer,) = re.findall(r'`(\{"predictions": \[7, 2\]\})`', PAGE)
    parsed = FORMATS["TensorFlow Serving"][0].parse(Reply(answer.encode()), 2, OUTPUTS[:1])
    assert _plain(parsed.rows) == [{"label": 7}, {"label": 2}]


def test_the_answer_to_an_upload_is_understood() -> None:
    (answer,) = re.findall(r"^```json\n(.*?)^```$", _section("A container that takes uploads"), re.M | re.S)
    wire = MultipartFormat(parse_endpoint("https://tflite.example.org/predict", "multipart"))
    assert _plain(wire.parse(Reply(answer.encode()), 1, OUTPUTS).rows) == ROWS[:1]


def test_the_table_of_failures_is_the_one_that_is_worked_by() -> None:
    rows = [line for line in _section("What goes wrong").splitlines() if line.startswith("|")]
    assert rows[: len(table_rows())] == table_rows()


def test_each_dead_letter_of_an_endpoint_is_explained() -> None:
    for error in RemoteError.__subclasses__():
        assert f"`{error.__name__}`" in _section("What goes wrong")


def test_each_protocol_is_in_the_first_table() -> None:
    for protocol in PROTOCOLS:
        assert f"`{protocol}`" in _section("Which server")


def test_the_flags_are_ones_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"--\w+", capsys.readouterr().out))
    assert set(re.findall(r"--\w+", PAGE)) <= known


def _plain(rows: Any) -> list[dict[str, Any]]:
    return [
        {
            name: value.item() if isinstance(value, np.ndarray | np.generic) else value
            for name, value in row.items()
        }
        for row in rows
    ]
