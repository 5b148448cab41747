"""What is found out about an endpoint at launch, and what is said where that fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from emulators.certificates import self_signed
from emulators.model_server import ModelServer, model_server
from emulators.processes import free_port
from emulators.rest_apis import MultipartApi, TfServingApi, VertexApi
from emulators.rest_faults import body, close, html, refuse_items, status
from emulators.served import Row, Served, of_rows
from tests.transforms.predictors.remote.remote_models import (
    CONTENT,
    LENGTHS,
    PATH,
    POISON,
    SHARES,
    connection_to,
    counting,
    files,
    lengths_server,
    model,
    poisoned,
    sized,
    values,
)
from transforms.errors import AnswerInvalid, ItemError, ModelError, OutputsUnknown, StorageUnavailable
from transforms.predictors.base import Signature, TensorSpec, VersionedOutputs
from transforms.predictors.choose_feed import Wishes
from transforms.predictors.preprocessing import Preprocessing
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.connection import Connection
from transforms.predictors.remote.credentials import Auth
from transforms.predictors.remote.open_endpoint import UNKNOWN_VERSION, Told, open_endpoint
from transforms.predictors.remote.remote_predictor import RemotePredictor
from transforms.predictors.remote.schema_text import parse_schema
from transforms.records import FileBytes, FileRef

RESOURCE = "projects/me/locations/europe-west4/endpoints/123"
SECONDS = 20
"""By far more than a message may take."""

BYTES = Wishes(item_input="content", kind="bytes")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with lengths_server() as running:
        yield running


def vertex_server(served: Served, **settings: Any) -> Any:
    return model_server(VertexApi(RESOURCE, served, **settings))


def vertex(server: ModelServer, **settings: Any) -> Connection:
    return connection_to(f"{server.address}/v1/{RESOURCE}", None, **settings)


def tf_serving(server: ModelServer, path: str = PATH, **settings: Any) -> Connection:
    return connection_to(f"{server.address}{path}", **settings)


def schema(text: str | None) -> tuple[TensorSpec, ...] | None:
    return None if text is None else parse_schema(text)


def told(inputs: str | None = None, outputs: str | None = None) -> Told:
    return Told(schema(inputs), schema(outputs))


def problem(connection: Connection, *arguments: Any, **settings: Any) -> str:
    """Return what is said of an endpoint that cannot be used, within seconds."""
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        open_endpoint(connection, *arguments, **settings)
    assert time.monotonic() - began < SECONDS
    return str(caught.value)


def outputs_of(predictor: RemotePredictor, batch: Sequence[FileBytes], name: str = "length") -> list[Any]:
    predictor.load()
    return values(predictor.predict(batch), name)


class TestMetadata:
    def test_it_tells_the_signature_and_the_version(self, server: ModelServer) -> None:
        predictor = open_endpoint(tf_serving(server))
        assert predictor.signature == LENGTHS
        assert predictor.model == f"{server.address}{PATH}"
        assert (predictor.model_version, predictor.input_kind) == ("7", "bytes")
        assert predictor.asks_for_version
        assert [received.path for received in server.received] == [f"{PATH}/metadata"]

    def test_a_file_is_asked_about_all_the_same_as_workers_ask(self, server: ModelServer) -> None:
        predictor = open_endpoint(tf_serving(server), samples=lambda kind: sized(5))
        assert predictor.signature == LENGTHS
        assert [received.path for received in server.received] == [
            f"{PATH}/metadata",
            f"{PATH}/versions/7:predict",
        ]

    def test_an_answer_that_does_not_fit_is_told(self, server: ModelServer) -> None:
        server.faults = [None, body(b'{"predictions": ["five"]}')]
        said = problem(tf_serving(server), samples=lambda kind: sized(5))
        assert said.startswith(
            f"--endpoint {server.address}{PATH}: the answer for 0.bin is not what is expected"
        )
        assert "length: int64 [?] cannot take 'five'" in said

    def test_predictions_that_nobody_may_ask_for_are_told(self, server: ModelServer) -> None:
        server.faults = [None, status(403, "metadata only")]
        assert "metadata only" in problem(tf_serving(server), samples=lambda kind: sized(5))

    def test_another_signature_is_chosen(self, server: ModelServer) -> None:
        predictor = open_endpoint(tf_serving(server), "shares")
        assert predictor.signature == SHARES
        assert outputs_of(predictor, sized(50), "share") == [np.float32(0.5)]

    def test_one_that_there_is_not_is_told_with_those_that_there_are(self, server: ModelServer) -> None:
        assert problem(tf_serving(server), "lengths") == (
            f"--signature lengths: the model at {server.address}{PATH} "
            "has echo, names, serving_default, shares"
        )

    def test_the_newest_version_is_taken_unless_the_address_names_one(self) -> None:
        with lengths_server(7, 8) as server:
            newest = open_endpoint(tf_serving(server))
            older = open_endpoint(tf_serving(server, f"{PATH}/versions/7"))
            assert (newest.model_version, newest.asks_for_version) == ("8", True)
            assert (older.model_version, older.asks_for_version) == ("7", False)
            assert (outputs_of(newest, sized(5)), outputs_of(older, sized(5))) == ([1_005], [5])

    def test_a_label_stands_for_a_version(self) -> None:
        with lengths_server(7, 8) as server:
            assert isinstance(server.api, TfServingApi)
            server.api.labels["lengths"] = {"canary": 8}
            predictor = open_endpoint(tf_serving(server, f"{PATH}/labels/canary"))
            assert (predictor.model_version, predictor.asks_for_version) == ("8", True)

    @pytest.mark.parametrize("answer", [b"{}", b"[]", b'{"metadata": {}}', b'{"model_spec": {}}', b"<html>"])
    def test_what_is_none_is_told(self, server: ModelServer, answer: bytes) -> None:
        server.fault = body(answer)
        assert problem(tf_serving(server)).startswith(
            f"--endpoint {server.address}{PATH}: the endpoint's answer"
        )

    def test_a_model_that_cannot_be_fed_is_told_as_one_in_the_pipeline_is(self, server: ModelServer) -> None:
        assert "--input_kind images: signature serving_default" in problem(
            tf_serving(server), "serving_default", Wishes(kind="images")
        )


class TestInputsWithoutBatchDimension:
    """Of a signature that adds a number, which all files share."""

    ADDING = Signature("serving_default", (*CONTENT, TensorSpec("number", "int64", ())), LENGTHS.outputs)

    @pytest.fixture
    def adding(self) -> Iterator[ModelServer]:
        def add(tensors: Any) -> Any:
            lengths = np.array([len(content) for content in tensors["content"]], np.int64)
            return {"length": lengths + tensors["number"]}

        api = TfServingApi({"lengths": {7: {"serving_default": Served(self.ADDING, add)}}})
        with model_server(api) as running:
            yield running
        assert running.violations == []

    def test_columns_have_a_place_for_them(self, adding: ModelServer) -> None:
        wishes = Wishes(constants={"number": "100"})
        predictor = open_endpoint(tf_serving(adding, request_format="inputs"), "serving_default", wishes)
        assert outputs_of(predictor, sized(1, 2)) == [101, 102]

    def test_rows_have_none(self, adding: ModelServer) -> None:
        said = problem(tf_serving(adding), "serving_default", Wishes(constants={"number": "100"}))
        assert said.startswith(f"--endpoint {adding.address}{PATH}: input 'number' has no batch dimension")
        assert "--request_format inputs" in said

    def test_they_need_a_value(self, adding: ModelServer) -> None:
        assert "pass --model_inputs number=VALUE" in problem(tf_serving(adding, request_format="inputs"))


class TestAskingAboutAFile:
    """Vertex AI tells nothing of its models."""

    @pytest.fixture
    def silent(self) -> Iterator[ModelServer]:
        with vertex_server(counting()) as running:
            yield running
        assert running.violations == []

    def test_the_answer_tells_the_outputs_and_the_version(self, silent: ModelServer) -> None:
        predictor = open_endpoint(vertex(silent), wishes=BYTES, samples=lambda kind: sized(5))
        assert predictor.signature.outputs == (TensorSpec("prediction", "float64", (None,)),)
        assert predictor.signature.inputs == CONTENT
        assert predictor.model_version == "8124"
        assert silent.requests == 1
        assert outputs_of(predictor, sized(1, 2), "prediction") == [1, 2]

    def test_the_kind_of_input_tells_how_files_are_read(self, silent: ModelServer) -> None:
        kinds: list[str] = []

        def samples(kind: str) -> list[FileBytes]:
            kinds.append(kind)
            return sized(5)

        open_endpoint(vertex(silent), wishes=BYTES, samples=samples)
        assert kinds == ["bytes"]

    @pytest.mark.parametrize("code", [400, 413, 422, 500])
    def test_a_file_that_is_refused_is_followed_by_the_next(self, silent: ModelServer, code: int) -> None:
        silent.fault = refuse_items(poisoned(), code=code)
        predictor = open_endpoint(vertex(silent), wishes=BYTES, samples=lambda kind: files(POISON, b"12"))
        assert predictor.model_version == "8124"

    def test_so_is_one_that_cannot_be_read(self, silent: ModelServer) -> None:
        samples: list[FileBytes | ItemError] = [StorageUnavailable("gone"), *sized(5)]
        open_endpoint(vertex(silent), wishes=BYTES, samples=lambda kind: samples)
        assert silent.requests == 1

    def test_so_is_one_that_is_larger_than_a_request(self, silent: ModelServer) -> None:
        open_endpoint(
            vertex(silent, max_request_bytes=200), wishes=BYTES, samples=lambda kind: sized(1_000, 5)
        )
        assert max(received.size for received in silent.received) <= 200

    def test_where_all_are_refused_the_first_refusal_is_told(self, silent: ModelServer) -> None:
        silent.fault = refuse_items(poisoned())
        said = problem(vertex(silent), wishes=BYTES, samples=lambda kind: files(POISON, POISON))
        assert said.startswith(
            f"--endpoint {silent.address}/v1/{RESOURCE} has no answer for any of the first 2"
        )
        assert "HTTP 400 Bad Request: INVALID_ARGUMENT: an item is refused on purpose" in said

    def test_no_more_than_ten_are_asked_about_one_after_the_other(self, silent: ModelServer) -> None:
        silent.fault = refuse_items(poisoned())
        read = []

        def samples(kind: str) -> Iterator[FileBytes | ItemError]:
            for sample in (StorageUnavailable("gone"), *files(*[POISON] * 100)):
                read.append(sample)
                yield sample

        assert "for any of the first 10 files" in problem(vertex(silent), wishes=BYTES, samples=samples)
        assert len(read) == 1 + 10
        assert silent.requests == 10

    def test_where_none_can_be_read_that_is_no_refusal(self, silent: ModelServer) -> None:
        settings: dict[str, Any] = {"wishes": BYTES, "samples": lambda kind: [StorageUnavailable("gone")]}
        open_endpoint(vertex(silent), told=told(outputs="length:int64"), **settings)
        with pytest.raises(
            OutputsUnknown, match=r"cannot be read to ask it about one \(gone\): pass --output"
        ):
            open_endpoint(vertex(silent), **settings)
        assert silent.requests == 0

    def test_so_it_is_where_none_can_be_decoded(self, silent: ModelServer) -> None:
        wishes = Wishes("content", "arrays")
        with pytest.raises(OutputsUnknown, match="cannot be read"):
            open_endpoint(vertex(silent), wishes=wishes, samples=lambda kind: files(b"no array"))

    def test_without_a_file_the_outputs_must_be_told(self, silent: ModelServer) -> None:
        assert "pass --output_schema, such as" in problem(vertex(silent), wishes=BYTES)
        predictor = open_endpoint(vertex(silent), wishes=BYTES, told=told(outputs="length:int64"))
        assert predictor.model_version == UNKNOWN_VERSION
        assert silent.requests == 0
        predictor.load()
        assert predictor.predict(sized(5)) == [VersionedOutputs({"length": 5}, "8124")]

    def test_without_the_kind_of_the_input_it_is_told_what_to_pass(self, silent: ModelServer) -> None:
        said = problem(vertex(silent), samples=lambda kind: sized(5))
        for part in ("does not tell what it takes", "--input_kind", "--item_input", "--input_schema"):
            assert part in said

    def test_outputs_that_are_told_must_fit_the_answer(self, silent: ModelServer) -> None:
        settings = {"wishes": BYTES, "samples": lambda kind: sized(5)}
        predictor = open_endpoint(vertex(silent), told=told(outputs="length:int64"), **settings)
        assert outputs_of(predictor, sized(1)) == [np.int64(1)]
        said = problem(vertex(silent), told=told(outputs="scores:float32[10]"), **settings)
        assert said.startswith(
            f"--endpoint {silent.address}/v1/{RESOURCE}: the answer for 0.bin is not what is expected"
        )
        assert "scores: float32 [?, 10]" in said

    def test_an_answer_that_is_none_is_told(self, silent: ModelServer) -> None:
        silent.fault = html()
        said = problem(vertex(silent), wishes=BYTES, samples=lambda kind: sized(5))
        assert "is not JSON; it begins with" in said

    def test_sizes_of_other_answers_may_be_others(self) -> None:
        repeated = Signature("f", CONTENT, (TensorSpec("ones", "float32", (None, None)),))

        def ones(rows: Sequence[Row]) -> list[dict[str, Any]]:
            return [{"ones": np.ones(len(row["content"]), np.float32)} for row in rows]

        with vertex_server(of_rows(repeated, ones)) as server:
            predictor = open_endpoint(vertex(server), wishes=BYTES, samples=lambda kind: sized(5))
            assert predictor.signature.outputs[0].shape == (None, None)
            (found,) = outputs_of(predictor, sized(3), "prediction")
            assert len(found) == 3


class TestWhatNobodyTells:
    """How instances are written for models of which nothing is known but what the user says."""

    def ask(self, spec: TensorSpec, batch: Sequence[FileBytes], wishes: Wishes, **settings: Any) -> list[Any]:
        def measure(rows: Sequence[Row]) -> list[dict[str, Any]]:
            found = [row[spec.name] for row in rows]
            return [{"length": np.int64(len(one) if isinstance(one, bytes) else one.sum())} for one in found]

        api = VertexApi(RESOURCE, of_rows(Signature("f", (spec,), LENGTHS.outputs), measure))
        with model_server(api) as server:
            predictor = open_endpoint(vertex(server), wishes=wishes, samples=lambda kind: batch, **settings)
            found = outputs_of(predictor, batch, "prediction")
        assert server.violations == []
        return found

    @pytest.mark.parametrize("name", [None, "content"])
    def test_names(self, name: str | None) -> None:
        batch = [FileBytes(FileRef("a/b.png"), None)]
        spec = TensorSpec("content", "string", (None,))
        assert self.ask(spec, batch, Wishes(item_input=name, kind="names")) == [7]

    @pytest.mark.parametrize("name", [None, "content"])
    def test_bytes(self, name: str | None) -> None:
        spec = TensorSpec("content", "string", (None,))
        assert self.ask(spec, sized(9), Wishes(item_input=name, kind="bytes")) == [9]

    @pytest.mark.parametrize("name", [None, "pixels"])
    def test_images(self, name: str | None) -> None:
        encoded = BytesIO()
        Image.new("RGB", (4, 4), (255, 255, 255)).save(encoded, "PNG")
        spec = TensorSpec("pixels", "float32", (None, 2, 2, 3))
        wishes = Wishes(name, "images", Preprocessing.parse("size=2x2,scale=0..1,color=rgb"))
        assert self.ask(spec, files(encoded.getvalue()), wishes) == [12]

    @pytest.mark.parametrize("name", [None, "numbers"])
    def test_arrays(self, name: str | None) -> None:
        saved = BytesIO()
        np.save(saved, np.array([[1, 2], [3, 4]], np.float32))
        spec = TensorSpec("numbers", "float32", (None, 2, 2))
        assert self.ask(spec, files(saved.getvalue()), Wishes(name, "arrays")) == [10]

    def test_inputs_that_are_told(self) -> None:
        spec = TensorSpec("numbers", "int64", (None, None))
        saved = BytesIO()
        np.save(saved, np.array([1, 2, 3]))
        assert self.ask(spec, files(saved.getvalue()), Wishes(), told=told(inputs="numbers:int64[?]")) == [6]

    def test_an_attribute_beside_the_file(self) -> None:
        inputs = (*CONTENT, TensorSpec("factor", "int64", (None,)))
        signature = Signature("f", inputs, LENGTHS.outputs)

        def multiply(rows: Sequence[Row]) -> list[dict[str, Any]]:
            return [{"length": np.int64(len(row["content"]) * row["factor"])} for row in rows]

        batch = [FileBytes(FileRef("a", attributes={"factor": factor}), b"12345") for factor in (1, 3)]
        with vertex_server(of_rows(signature, multiply)) as server:
            predictor = open_endpoint(
                vertex(server),
                wishes=BYTES,
                told=told(inputs="content:string,factor:int64"),
                samples=lambda kind: batch,
            )
            assert outputs_of(predictor, batch, "prediction") == [5, 15]


class TestProtocols:
    def test_vertex_hands_parameters_on(self) -> None:
        parameters = {"threshold": 0.5}
        with vertex_server(counting(), parameters=parameters) as server:
            predictor = open_endpoint(
                vertex(server, parameters=parameters), wishes=BYTES, samples=lambda kind: sized(5)
            )
            assert outputs_of(predictor, sized(1, 2), "prediction") == [1, 2]
        assert server.violations == []

    @pytest.mark.parametrize("name", ["content", None])
    def test_multipart_has_a_file_a_request(self, name: str | None) -> None:
        spec = TensorSpec(name or "file", "string", (None,))
        served = counting(Signature("f", (spec,), LENGTHS.outputs))
        with model_server(MultipartApi("/predict", served, spec.name)) as server:
            predictor = open_endpoint(
                connection_to(f"{server.address}/predict", "multipart"),
                wishes=Wishes(name, "bytes"),
                samples=lambda kind: sized(5),
            )
            server.received.clear()
            assert outputs_of(predictor, sized(1, 2, 3), "prediction") == [1, 2, 3]
            assert predictor.model_version == UNKNOWN_VERSION
            assert server.requests == 3
        assert server.violations == []

    def test_kserve_without_metadata_is_asked_about_a_file(self) -> None:
        """As KServe's servers in other languages may be."""
        with lengths_server() as server:
            connection = connection_to(f"{server.address}{PATH}", "kserve")
            server.faults = [status(404)]
            predictor = open_endpoint(connection, wishes=BYTES, samples=lambda kind: sized(5))
            assert predictor.signature.outputs == (TensorSpec("prediction", "int64", (None,)),)
            assert outputs_of(predictor, sized(3), "prediction") == [3]

    def test_a_whole_number_is_one_for_ever_and_the_remedy_is_told(self) -> None:
        with lengths_server() as server:
            connection = connection_to(f"{server.address}{PATH}", "kserve")
            server.faults = [status(404), body(b'{"predictions": [1]}'), body(b'{"predictions": [0.5]}')]
            predictor = open_endpoint(connection, wishes=BYTES, samples=lambda kind: sized(5))
            predictor.load()
            (refused,) = predictor.predict(sized(5))
        assert isinstance(refused, AnswerInvalid)
        assert "int64 [?] cannot take 0.5: it holds fractions" in str(refused)
        assert "pass --output_schema" in str(refused)


class TestSignatureOfKServe:
    """Its servers have one, which a request does not name."""

    def address_of(self, server: ModelServer, name: str | None) -> Connection:
        tensors = {
            "inputs": [{"name": "content", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "length", "datatype": "INT64", "shape": [-1]}],
        }
        told = {} if name is None else {"parameters": {"signature": name}}
        server.faults = [body(orjson.dumps({"name": "lengths", "platform": "", **tensors, **told}))]
        return connection_to(f"{server.address}{PATH}", "kserve")

    @pytest.mark.parametrize("wanted", [None, "from_bytes"])
    def test_its_name_is_the_one_that_is_told(self, server: ModelServer, wanted: str | None) -> None:
        predictor = open_endpoint(self.address_of(server, "from_bytes"), wanted)
        assert predictor.signature.name == "from_bytes"
        assert outputs_of(predictor, sized(5)) == [5]

    def test_another_is_refused_with_the_one_that_there_is(self, server: ModelServer) -> None:
        assert problem(self.address_of(server, "from_bytes"), "nope") == (
            f"--signature nope: the model at {server.address}{PATH} has from_bytes"
        )

    @pytest.mark.parametrize(("wanted", "name"), [(None, "serving_default"), ("mine", "mine")])
    def test_of_one_that_is_not_told_only_the_records_have_a_name(
        self, server: ModelServer, wanted: str | None, name: str
    ) -> None:
        assert open_endpoint(self.address_of(server, None), wanted).signature.name == name


class TestWhatTheUserSaysOfAServerThatTells:
    def test_outputs_that_it_does_not_have_are_told(self, server: ModelServer) -> None:
        said = problem(tf_serving(server), told=told(outputs="lenght:int64"))
        assert "--output_schema" in said
        assert "'lenght'" in said
        assert "length: int64" in said

    def test_inputs_that_it_does_not_have_are_told(self, server: ModelServer) -> None:
        said = problem(tf_serving(server), told=told(inputs="image_bytes:string"))
        assert "--input_schema" in said
        assert "content: string" in said

    def test_an_output_may_be_read_as_another_type(self, server: ModelServer) -> None:
        predictor = open_endpoint(tf_serving(server), told=told(outputs="length:float64"))
        (found,) = outputs_of(predictor, sized(5))
        assert (type(found), found) == (np.float64, 5)

    def test_the_next_version_is_compared_with_what_the_server_told(self, server: ModelServer) -> None:
        predictor = open_endpoint(tf_serving(server), told=told(outputs="length:float64"))
        assert isinstance(server.api, TfServingApi)
        server.api.models["lengths"] = {8: model()}
        assert outputs_of(predictor, sized(5)) == [5]


class TestWhatIsWrong:
    def test_a_wrong_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_PROXY", "no-such-host.invalid")
        said = problem(connection_to("http://no-such-host.invalid/v1/models/m"))
        assert said.startswith("--endpoint http://no-such-host.invalid/v1/models/m: ")
        assert "no-such-host.invalid:80 is not known; check the address" in said

    def test_a_port_where_nobody_listens(self) -> None:
        address = f"http://127.0.0.1:{free_port()}/v1/models/m"
        assert "cannot be reached" in problem(connection_to(address))

    def test_a_wrong_model(self, server: ModelServer) -> None:
        said = problem(tf_serving(server, "/v1/models/length"))
        assert "HTTP 404 Not Found: Servable not found for request: Latest(length)" in said
        assert "check the address, the name of the model, its version and --endpoint_protocol" in said

    def test_a_wrong_version(self, server: ModelServer) -> None:
        assert "Servable not found for request: Specific(lengths, 6)" in problem(
            tf_serving(server, f"{PATH}/versions/6")
        )

    def test_a_wrong_label(self, server: ModelServer) -> None:
        said = problem(tf_serving(server, f"{PATH}/labels/stable"))
        assert "Unrecognized servable version label: stable (check the label stable in the address" in said

    @pytest.mark.parametrize("code", [401, 403])
    def test_wrong_credentials(self, server: ModelServer, code: int) -> None:
        server.fault = status(code, "who are you?")
        said = problem(tf_serving(server))
        assert f"HTTP {code} " in said
        assert "who are you? (check --endpoint_auth)" in said
        assert server.requests == 1

    def test_credentials_that_this_machine_has_not(
        self, server: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("NO_SUCH_KEY", raising=False)
        connection = tf_serving(server, auth=Auth.parse("header:X-Key=NO_SUCH_KEY"))
        assert "the environment variable NO_SUCH_KEY is not set" in problem(connection)

    @pytest.mark.parametrize("code", [301, 302, 307, 308])
    def test_a_redirect(self, server: ModelServer, code: int) -> None:
        server.fault = status(code, Location="https://elsewhere.example/login?token=secret")
        said = problem(tf_serving(server))
        assert f"HTTP {code} " in said
        assert "to https://elsewhere.example/login" in said
        assert "secret" not in said
        assert server.requests == 1

    @pytest.mark.parametrize("code", [400, 404])
    def test_another_protocol(self, server: ModelServer, code: int) -> None:
        server.fault = status(code, "Malformed request: GET /v2/models/lengths")
        said = problem(connection_to(f"{server.address}{PATH}", "kserve"))
        assert "Malformed request: GET /v2/models/lengths" in said
        assert "--endpoint_protocol" in said
        assert "tf_serving" in said

    def test_a_server_that_does_not_speak_http(self, server: ModelServer) -> None:
        server.fault = close()
        assert "has closed the connection" in problem(tf_serving(server))


class TestCertificates:
    def test_one_that_nobody_knows_is_refused(self) -> None:
        with lengths_server(certificate=self_signed()) as server:
            said = problem(tf_serving(server))
        assert said.startswith(f"--endpoint {server.address}{PATH}: ")
        assert "--endpoint_ca" in said

    def test_one_that_is_given_is_taken(self) -> None:
        certificate = self_signed()
        with lengths_server(certificate=certificate) as server:
            predictor = open_endpoint(tf_serving(server, ca=certificate.certificate.decode()))
            assert outputs_of(predictor, sized(5)) == [5]

    @pytest.mark.parametrize("ca", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nrubbish"])
    def test_what_is_none_is_told(self, server: ModelServer, ca: str) -> None:
        assert "--endpoint_ca" in problem(tf_serving(server, ca=ca))


class TestColdStart:
    def test_a_server_that_is_not_yet_ready_is_asked_again(self, server: ModelServer) -> None:
        server.faults = [status(503), status(503)]
        assert open_endpoint(tf_serving(server)).model_version == "7"
        assert server.requests == 3

    def test_one_that_is_never_ready_is_told(self, server: ModelServer) -> None:
        server.fault = status(503, "starting")
        assert "HTTP 503 Service Unavailable: starting" in problem(tf_serving(server))
        assert server.requests == 3

    def test_the_launch_does_not_depend_on_the_policy_of_the_workers(self, server: ModelServer) -> None:
        server.faults = [status(429)]
        connection = tf_serving(server, policy=RetryPolicy(first_delay=1_000), request_deadline=0.001)
        assert open_endpoint(connection).model_version == "7"
