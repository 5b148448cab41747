"""An endpoint's predictions are those of the model in the pipeline, whatever the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from emulators.model_server import ModelServer, model_server
from emulators.rest_apis import MultipartApi, TfServingApi, VertexApi
from emulators.served import Served
from emulators.tf_serving_grpc import tf_serving
from emulators.tf_serving_messages import of_saved_model
from pipeline.exit_codes import WRONG_USAGE
from tests.conftest import IMAGES, MODEL, Run, run
from tests.pipeline.serving.served import serving

FILES = IMAGES[:70]  # three batches
RESOURCE = "projects/me/locations/europe-west4/endpoints/123"
TOLERANCE = 1e-6
IMAGES_ARE_PREPARED = ("--signature", "from_images", "--preprocess", "scale=0..1")  # as by digits/make.py
COLUMNS = ("--request_format", "inputs")


@pytest.fixture(scope="module")
def digits() -> Mapping[str, Served]:
    """The signatures of the digits, as servers serve them."""
    served = of_saved_model(str(MODEL), "from_bytes", "from_images", "serving_default")
    return {name: Served(found.signature, found.compute) for name, found in served.items()}


@pytest.fixture(scope="module")
def servers(digits: Mapping[str, Served]) -> Iterator[Mapping[str, str]]:
    """The addresses of servers of the digits, by their protocols."""
    rest = TfServingApi({"digits": {7: digits}})
    vertex = VertexApi(RESOURCE, digits["from_bytes"])
    multipart = MultipartApi("/predict", digits["from_bytes"], "image_bytes")
    with (
        model_server(rest) as rest_server,
        model_server(vertex) as vertex_server,
        model_server(multipart) as multipart_server,
        tf_serving({"digits": {7: of_saved_model(str(MODEL))}}) as grpc_server,
        serving(MODEL, "--signature", "from_bytes", "--model_name", "digits") as kserve_server,
    ):
        checked: Sequence[ModelServer] = (rest_server, vertex_server, multipart_server)
        yield {
            "tf_serving": f"{rest_server.address}/v1/models/digits",
            "vertex": f"{vertex_server.address}/v1/{RESOURCE}",
            "multipart": f"{multipart_server.address}/predict",
            "grpc": f"grpc://{grpc_server.address}/digits",
            "kserve": f"{kserve_server.host}/v1/models/digits",
        }
        assert [server.violations for server in checked] == [[], [], []]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("list") / "names.txt"
    path.write_text("".join(f"{name}\n" for name in FILES))
    return path


@pytest.fixture(scope="module")
def in_memory(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    flags = ("--input", f"@{names}", "--model", MODEL, "--signature", "from_bytes")
    return run(*flags, output=tmp_path_factory.mktemp("memory"))


BYTES = ("--signature", "from_bytes")
NAMED = ("--input_kind", "bytes", "--item_input", "image_bytes")


@pytest.mark.parametrize(
    ("protocol", "flags", "version"),
    [
        ("tf_serving", BYTES, "7"),
        ("tf_serving", (*BYTES, *COLUMNS), "7"),
        ("tf_serving", IMAGES_ARE_PREPARED, "7"),
        ("tf_serving", (*IMAGES_ARE_PREPARED, *COLUMNS), "7"),
        ("tf_serving", ("--signature", "serving_default"), "7"),
        ("grpc", BYTES, "7"),
        ("grpc", IMAGES_ARE_PREPARED, "7"),
        ("grpc", (), "7"),
        ("kserve", BYTES, None),
        ("vertex", (*NAMED, "--endpoint_auth", "none"), "8124"),
        ("multipart", NAMED, "unknown"),
    ],
)
def test_the_digits_have_the_predictions_of_the_model_in_memory(
    servers: Mapping[str, str],
    in_memory: Run,
    names: Path,
    tmp_path: Path,
    *,
    protocol: str,
    flags: Sequence[str],
    version: str | None,
) -> None:
    called = run(
        *("--input", f"@{names}", "--endpoint", servers[protocol], "--endpoint_protocol", protocol, *flags),
        output=tmp_path,
    )

    assert called.code == 0, called.complaints
    expected = {row["uri"]: row for row in in_memory.predictions}
    found = {row["uri"]: row for row in called.predictions}
    assert len(called.predictions) == len(FILES)
    assert found.keys() == expected.keys()
    for uri, row in found.items():
        assert row["model"] == servers[protocol]
        assert row["outputs"]["label"] == expected[uri]["outputs"]["label"]
        for name in ("probability", "scores"):
            given, wanted = row["outputs"][name], expected[uri]["outputs"][name]
            assert np.allclose(given, wanted, rtol=0, atol=TOLERANCE)
    in_memory_version = in_memory.predictions[0]["model_version"]
    assert {row["model_version"] for row in called.predictions} == {version or in_memory_version}
    assert (called.summary["unaccounted"], called.summary["retries"]) == (0, 0)


@pytest.mark.parametrize("signature", [BYTES, ()])
def test_a_server_that_tells_the_models_version_and_signature_gives_the_same_ids(
    servers: Mapping[str, str], in_memory: Run, names: Path, tmp_path: Path, *, signature: Sequence[str]
) -> None:
    flags = ("--endpoint", servers["kserve"], "--endpoint_protocol", "kserve", *signature)
    called = run("--input", f"@{names}", *flags, output=tmp_path)
    assert {row["prediction_id"] for row in called.predictions} == {
        row["prediction_id"] for row in in_memory.predictions
    }
    assert {row["signature"] for row in called.predictions} == {"from_bytes"}


def test_a_signature_that_such_a_server_has_not_is_refused(
    servers: Mapping[str, str], names: Path, tmp_path: Path
) -> None:
    flags = ("--endpoint", servers["kserve"], "--endpoint_protocol", "kserve", "--signature", "nope")
    called = run("--input", f"@{names}", *flags, output=tmp_path)
    assert called.code == WRONG_USAGE
    assert f"--signature nope: the model at {servers['kserve']} has from_bytes" in called.complaints
