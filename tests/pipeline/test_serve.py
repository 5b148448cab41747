"""`beam-predict serve`, by the command as a user would start, ask and stop it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from emulators.processes import free_port
from pipeline.cli import main
from pipeline.serving import kserve_package
from tests.conftest import IMAGES, MODEL
from tests.pipeline.serving.served import SECONDS, Served, b64, serving, wait_until
from transforms.predictors.open_model import open_model
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

BATCH = 4
MAX_BYTES = 100_000
FILES = [path.read_bytes() for path in IMAGES[:10]]
NAME = "model"
PREDICT = f"/v1/models/{NAME}:predict"


@pytest.fixture(scope="module")
def digits() -> Iterator[Served]:
    """The digits, on the port that the environment says; in the end it stops as a user stops it."""
    flags = ("--signature", "from_bytes", "--max_batch_size", BATCH, "--max_request_bytes", MAX_BYTES)
    with serving(MODEL, *flags, environment={"PORT": str(free_port())}) as served:
        yield served
        assert served.stop(signal.SIGINT) == (0, "")


def test_one_line_tells_where_it_is_and_which_version(digits: Served) -> None:
    version = open_model(str(MODEL), "from_bytes").model_version
    assert (
        digits.line
        == f"serving {NAME} at {digits.host}/v1/models/{NAME}, version {version}; Ctrl-C ends it\n"
    )


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", {"status": "alive"}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v1/models", {"models": [NAME]}),
        (f"/v1/models/{NAME}", {"name": NAME, "ready": True}),
        (f"/v2/models/{NAME}/ready", {"name": NAME, "ready": True}),
    ],
)
def test_it_tells_that_it_is_ready(digits: Served, path: str, told: object) -> None:
    answer = digits.ask(path)
    assert (answer.status, answer.json()) == (200, told)


def test_it_tells_what_it_takes_and_gives(digits: Served) -> None:
    assert digits.ask(f"/v2/models/{NAME}").json() == {
        "name": NAME,
        "platform": "beam-predict",
        "versions": [open_model(str(MODEL), "from_bytes").model_version],
        "parameters": {"signature": "from_bytes"},
        "inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, 10]},
        ],
    }


def test_clients_of_the_v2_protocol_read_what_it_tells(digits: Served) -> None:
    from kserve.protocol.rest.v2_datamodels import ModelMetadataResponse

    answer = digits.ask(f"/v2/models/{NAME}")
    assert answer.headers["content-type"] == "application/json"
    read = ModelMetadataResponse.model_validate(answer.json())
    assert (read.name, [tensor.name for tensor in read.inputs]) == (NAME, ["image_bytes"])


def test_predictions_are_those_in_memory(digits: Served) -> None:
    answer = digits.predict(*map(b64, FILES))

    predictor = open_model(str(MODEL), "from_bytes")
    predictor.load()
    batches = [FILES[first : first + BATCH] for first in range(0, len(FILES), BATCH)]
    rows: Any = [row for files in batches for row in predictor.predict([_item(file) for file in files])]
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "predictions": [
            {
                "label": int(row["label"]),
                "probability": float(row["probability"]),
                "scores": [float(score) for score in row["scores"]],
            }
            for row in rows
        ],
        "model_version": predictor.model_version,
    }


def _item(content: bytes) -> FileBytes:
    return FileBytes(FileRef("a digit"), content)


def test_an_instance_may_name_its_input(digits: Served) -> None:
    assert digits.predict({"image_bytes": b64(FILES[0])}).data == digits.predict(b64(FILES[0])).data


def test_the_answer_names_all_instances_that_are_bad(digits: Served) -> None:
    instances: list[Any] = [b64(file) for file in FILES]
    instances[3] = instances[7] = b64(b"no image")
    instances[4] = {"image": b64(FILES[0])}
    answer = digits.predict(*instances)
    assert answer.status == 400
    error = answer.json()["error"]
    assert error.startswith("instances 3-4, 7: DecodeError: ")
    assert "there is no input 'image'; an instance has the inputs image_bytes" in error


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/x-www-form-urlencoded", "text/plain"]
)
def test_the_type_that_a_client_tells_does_not_matter(digits: Served, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    assert digits.ask(PREDICT, {"instances": [b64(FILES[0])]}, **headers).status == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"instances": [', "Unrecognized request format: "),
        (b"", "Unrecognized request format: "),
        (b'{"instances": [NaN]}', "Unrecognized request format: "),
        (b"[" * 10_000, "Unrecognized request format: "),
        (
            b'{"instance": []}',
            "a request is an object {\"instances\": [...]}; this one has the keys ['instance']",
        ),
        (b"[]", 'a request is an object {"instances": [...]}; this one has no object'),
        (b'{"instances": {}}', "'instances' must be a list; it is {}"),
        (b'{"instances": [], "inputs": []}', "unknown key 'inputs'"),
        (b'{"instances": [], "parameters": {"a": 1}}', "unknown key 'parameters'"),
        (
            b'{"instances": [], "signature_name": "a"}',
            "signature_name is 'a'; only 'from_bytes' is served here",
        ),
    ],
)
def test_what_is_no_request_is_refused(digits: Served, body: bytes, error: str) -> None:
    answer = digits.ask(PREDICT, body)
    assert answer.status == 400
    assert answer.json()["error"].startswith(error)


def test_no_instances_have_no_predictions(digits: Served) -> None:
    answer = digits.ask(PREDICT, {"instances": [], "signature_name": "from_bytes", "parameters": None})
    assert (answer.status, answer.json()["predictions"]) == (200, [])


def test_a_request_that_is_too_large_is_refused_and_the_connection_goes_on(digits: Served) -> None:
    with urllib3.HTTPConnectionPool(digits.host.removeprefix("http://"), maxsize=1, retries=False) as pool:
        answer = pool.request("POST", PREDICT, body=b" " * 20 * MAX_BYTES)
        assert answer.status == 413
        assert answer.json()["error"].startswith("the request has 2,000,000 bytes; at most 100,000 bytes: ")
        in_parts = pool.request("POST", PREDICT, body=iter([b" " * MAX_BYTES, b" "] * 10), chunked=True)
        assert in_parts.status == 413
        assert pool.request("GET", "/").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/another:predict", 404),
        ("GET", "/v1/models/another", 404),
        ("GET", "/v2/models/another", 404),
        ("GET", PREDICT, 405),
        ("POST", f"/v1/models/{NAME}", 405),
        ("POST", f"/v2/models/{NAME}/infer", 501),
        ("POST", f"/v1/models/{NAME}:explain", 404),
        ("POST", f"/v1/models/{NAME}/versions/1:predict", 404),
        ("POST", f"/v2/repository/models/{NAME}/unload", 404),
        ("POST", f"/v2/repository/models/{NAME}/load", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_there_is_nothing_but_predictions(digits: Served, method: str, path: str, status: int) -> None:
    answer = digits.ask(path, b"{}" if method == "POST" else None)
    assert answer.status == status
    assert set(answer.json()) == {"error"}


def test_metrics_count_predictions(digits: Served) -> None:
    assert digits.predict(b64(FILES[0])).status == 200
    metrics = digits.ask("/metrics").data.decode()
    assert f'request_predict_seconds_count{{model_name="{NAME}"}}' in metrics


def test_many_clients_are_answered_at_once(digits: Served) -> None:
    expected = [digits.predict(b64(file)).json() for file in FILES]
    answers: list[Any] = [None] * len(FILES)

    def ask(number: int) -> None:
        answers[number] = digits.predict(b64(FILES[number])).json()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(FILES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected


class TestStop:
    @pytest.fixture(scope="class")
    def waiting(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        """A model that is given a path, makes the file `PATH.asked`, and waits for the file `PATH`."""
        tf = import_tensorflow()

        def wait(path: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(tf.strings.join([path, ".asked"]), "")]):
                return tf.while_loop(
                    lambda found: tf.equal(tf.size(tf.io.matching_files(path)), 0),
                    lambda found: [found],
                    [True],
                )[0]

        def answer(path_bytes: Any) -> Any:
            is_path = tf.strings.regex_full_match(path_bytes[0], "/.*")
            waited = tf.cond(is_path, lambda: wait(path_bytes[0]), lambda: True)
            return {"waited": tf.fill(tf.shape(path_bytes), waited)}

        specs = [tf.TensorSpec((None,), tf.string, "path_bytes")]
        signature = tf.function(answer, input_signature=specs, autograph=False)
        folder = str(tmp_path_factory.mktemp("waiting") / "model")
        tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": signature})
        return folder

    def test_what_is_running_is_answered(self, waiting: str, tmp_path: Path) -> None:
        path = tmp_path / "go on"
        with serving(waiting, "--model_name", "waiting") as served, asked(served, path) as answers:
            served.process.send_signal(signal.SIGTERM)
            wait_until(lambda: served.ask("/v2/health/ready").status == 503)
            refused = served.predict("new")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert refused.json() == {"error": "the server is stopping"}
            assert served.ask("/").status == 200
            assert not answers

            path.touch()
            _, complaints = served.process.communicate(timeout=SECONDS)

        assert (served.process.returncode, complaints) == (0, "")
        ((status, answer),) = answers
        assert (status, answer["predictions"]) == (200, [{"waited": True}])

    def test_what_never_ends_is_not_waited_for(self, waiting: str, tmp_path: Path) -> None:
        with serving(waiting, "--drain_seconds", 0) as served, asked(served, tmp_path / "no") as answers:
            code, complaints = served.stop()
        assert (code, complaints) == (1, "beam-predict serve: 1 request was left without an answer\n")
        assert answers == [(503, {"error": "the server is stopping"})]


class asked:  # noqa: N801
    """A request that the model is working on, by a thread that puts down its answer."""

    def __init__(self, served: Served, path: Path) -> None:
        self._served, self._path = served, path
        self._answers: list[tuple[int, Any]] = []
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        answer = self._served.predict(str(self._path))
        self._answers.append((answer.status, answer.json()))

    def __enter__(self) -> list[tuple[int, Any]]:
        self._thread.start()
        wait_until(self._path.with_name(f"{self._path.name}.asked").exists)
        return self._answers

    def __exit__(self, *_: object) -> None:
        self._thread.join()


class TestStart:
    @staticmethod
    def problems(capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
        assert main(["serve", *flags]) == 2
        _, err = capsys.readouterr()
        return [line.removeprefix("  - ") for line in err.splitlines() if line.startswith("  - ")]

    def test_all_wrong_flags_are_told_at_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        wrong = ("--port", "70000", "--workers", "0", "--model_name", "a/b", "--top_k", "0")
        found = self.problems(capsys, *wrong, "--allowed_prefix", "data", "--max_requests_bytes", "3")
        assert found == [
            "unknown flag --max_requests_bytes; did you mean --max_request_bytes?",
            "--model is missing: give the folder of a SavedModel",
            "--top_k must be a whole number of at least 1; got '0'",
            "--model_name must be made of letters, digits, -, _ and .; got 'a/b'",
            "--allowed_prefix the allowed prefix 'data' is no absolute place; write gs://BUCKET/FOLDER or "
            "/FOLDER; got 'data'",
            "--workers must be a whole number of at least 1; got '0'",
            "--port must be at most 65535; got 70000",
        ]

    def test_all_that_is_wrong_with_the_model_and_the_address_is_told_at_once(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kserve_package, "is_installed", lambda: False)
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            package, model, address = self.problems(capsys, "--model", "nothing", "--port", port)
        assert "pip install '.[serving]'" in package
        assert model.startswith("--model nothing: there is no file or folder of that name")
        assert address.startswith(
            f"cannot listen at --host 127.0.0.1 --port {port}: Address already in use; "
        )

    def test_a_model_that_reads_files_by_name_is_not_open_to_strangers(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (problem,) = self.problems(capsys, "--model", str(MODEL), "--port", "0")
        assert problem.startswith(
            "signature serving_default takes the names of files, so that any client could "
        )
        assert "pass --signature from_bytes; or pass --allowed_prefix PLACE" in problem

    def test_places_have_no_meaning_for_a_model_of_bytes(self, capsys: pytest.CaptureFixture[str]) -> None:
        flags = (
            "--model",
            str(MODEL),
            "--signature",
            "from_bytes",
            "--allowed_prefix",
            "/data",
            "--port",
            "0",
        )
        (problem,) = self.problems(capsys, *flags)
        assert problem.startswith("--allowed_prefix has no effect: ")

    def test_the_port_of_the_environment_must_be_one(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORT", "http")
        (problem,) = self.problems(capsys, "--model", str(MODEL))
        expected = "the environment variable PORT must be a whole number of at least 0; got 'http'"
        assert problem == expected
