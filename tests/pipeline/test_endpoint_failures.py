"""Runs of the command against endpoints that fail, as they really do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emulators.model_server import Exchange, Fault, ModelServer
from emulators.rest_apis import Answer, TfServingApi
from emulators.rest_faults import at_random, close, close_in_answer, large, status, trickle
from pipeline.exit_codes import DONE, FAILED, WRONG_USAGE
from tests.conftest import Run, run
from tests.transforms.predictors.remote.remote_models import PATH, lengths_server, model, until
from tests.transforms.predictors.remote.test_credentials import key_pair, write_key_file
from tests.transforms.predictors.remote.token_server import number_of, token_server
from transforms.predictors.remote.connection import DEFAULT_MAX_CONCURRENT_REQUESTS

BATCH = 32
MANY = 10_000
MEBIBYTE = 1 << 20


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with lengths_server() as running:
        yield running


def flags(server: ModelServer, names: Path, *more: object) -> tuple[object, ...]:
    """Return the flags of a run that sends the names of files."""
    address = ("--endpoint", f"{server.address}{PATH}", "--endpoint_protocol", "tf_serving")
    return ("--input", f"@{names}", *address, "--signature", "names", *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with many files, of which only the names are sent."""
    made = tmp_path_factory.mktemp("files")
    for number in range(MANY):
        (made / f"{number:05}.png").write_bytes(b"x")
    return made


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A list of the names of 10 batches of files."""
    return listed(tmp_path, 10 * BATCH)


def listed(folder: Path, count: int) -> Path:
    path = folder / "names.txt"
    path.write_text("".join(f"{number:05}.png\n" for number in range(count)))
    return path


def after_launch(fault: Fault) -> Fault:
    """Let only the run's predictions fail, and not what is asked at launch: the metadata, and one file."""
    tried = threading.Event()

    def later(exchange: Exchange) -> Answer | None:
        if exchange.call.method == "GET":
            return None
        if not tried.is_set():  # the launch asks one at a time
            tried.set()
            return None
        return fault(exchange)

    return later


def sent(server: ModelServer) -> int:
    """Return the number of requests for predictions, at launch and in the run."""
    return sum(received.method == "POST" for received in server.received)


def assert_all_are_predicted(done: Run, count: int) -> None:
    """See that each item is there once, and no dead letter."""
    assert done.code == DONE, done.complaints
    assert Counter(row["uri"] for row in done.predictions) == Counter(
        f"{number:05}.png" for number in range(count)
    )
    assert {row["outputs"]["length"] % 1_000 for row in done.predictions} == {9}
    assert done.dead_letters == []
    assert done.summary["unaccounted"] == 0


@dataclass
class Watched:
    """A fault that keeps in mind what has come, and when."""

    fault: Fault
    came: list[tuple[float, bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, exchange: Exchange) -> Answer | None:
        with self.lock:
            self.came.append((time.monotonic(), exchange.call.body))
        return self.fault(exchange)

    @property
    def tries(self) -> Counter[bytes]:
        """How often each request has come."""
        return Counter(body for _, body in self.came)


class TestNearlyAThirdRefused:
    def test_nothing_is_lost_or_doubled_and_there_is_no_storm(
        self, server: ModelServer, tmp_path: Path
    ) -> None:
        watched = Watched(at_random(0.3, (429, 503), seed=5))
        server.fault = after_launch(watched)
        done = run(*flags(server, listed(tmp_path, MANY)), output=tmp_path / "out")

        assert_all_are_predicted(done, MANY)
        answered = [server.appearances(filename=f"{number:05}.png".encode()) for number in range(MANY)]
        assert answered[0] == 1 + 1  # at launch
        assert set(answered[1:]) == {1}
        batches = done.summary["batches"]
        assert batches == len(watched.tries) == -(-MANY // BATCH)
        assert len(watched.came) / batches <= 1.6
        assert done.summary["requests"] == len(watched.came)
        assert done.summary["retries"] == len(watched.came) - batches
        assert sum(done.summary["request_failures"].values()) == len(watched.came) - batches
        assert done.summary["request_failures"].keys() == {"429", "503"}
        self.assert_no_storm(watched, server)

    def assert_no_storm(self, watched: Watched, server: ModelServer) -> None:
        """See that what is sent again is never more than half of what is new, and 10, and 1 a second."""
        assert server.most_in_flight <= DEFAULT_MAX_CONCURRENT_REQUESTS
        assert max(watched.tries.values()) <= 10
        seen: set[bytes] = set()
        again = 0
        begin, _ = watched.came[0]
        for moment, body in watched.came:
            again += body in seen
            seen.add(body)
            under_way = DEFAULT_MAX_CONCURRENT_REQUESTS  # counted when they are sent, and here when they come
            assert again <= 10 + 0.5 * (len(seen) + under_way) + 1.0 * (moment - begin + 1)


class TestServerThatIsDown:
    SECONDS = 20
    COUNT = 60 * BATCH
    ANSWERED = 10

    def test_20_seconds_in_mid_run_cost_nothing_but_time(self, server: ModelServer, tmp_path: Path) -> None:
        """This test takes these 20 seconds."""
        gate = threading.Event()

        def cut_off(exchange: Exchange) -> None:
            exchange.wait(gate)
            exchange.close(reset=True)

        server.faults = [None] * (2 + self.ANSWERED)
        server.fault = cut_off
        with ThreadPoolExecutor(1) as pool:
            running: Future[Run] = pool.submit(
                run, *flags(server, listed(tmp_path, self.COUNT)), output=tmp_path / "out"
            )
            until(lambda: running.done() or server.in_flight == DEFAULT_MAX_CONCURRENT_REQUESTS)
            assert not running.done(), running.result().complaints
            gate.set()
            server.down()
            threading.Event().wait(self.SECONDS)
            server.fault = None
            server.up()
            done = running.result()

        assert_all_are_predicted(done, self.COUNT)
        failures = done.summary["request_failures"]
        assert failures.keys() == {"connection"}
        assert failures["connection"] <= 10 + self.SECONDS + 20  # the budget: 10 at once, and one a second
        batches = done.summary["batches"]
        lost = 2 * DEFAULT_MAX_CONCURRENT_REQUESTS
        assert sent(server) <= 1 + batches + lost  # one at launch, and no more than were cut off


class TestTokens:
    def test_those_that_expire_in_mid_run_are_renewed(
        self, server: ModelServer, names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with token_server(key_pair()[1]) as tokens:
            write_key_file(tmp_path / "key.json", tokens.token_uri)
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
            monkeypatch.delenv("GOOGLE_CLOUD_QUOTA_PROJECT", raising=False)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            oldest = [1]
            came: list[int] = []

            def look(exchange: Exchange) -> Answer | None:
                number = number_of(exchange.headers["authorization"].removeprefix("Bearer "))
                came.append(number)
                if len(came) == 5:
                    oldest[0] = max(came) + 1
                return None if number >= oldest[0] else status(401)(exchange)

            server.fault = look
            done = run(*flags(server, names, "--endpoint_auth", "adc"), output=tmp_path / "out")
            assert_all_are_predicted(done, 10 * BATCH)
            assert max(came) == oldest[0] == len(tokens.asked)
        for place in (done.printed, done.complaints, (tmp_path / "out" / "summary.json").read_text()):
            assert "access-" not in place

    def test_a_key_that_is_no_longer_good_costs_the_items_that_are_left(
        self, server: ModelServer, names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEY", "s3cr3t-value")
        server.required = {"x-key": "s3cr3t-value"}
        batches = []

        def change(exchange: Exchange) -> None:
            batches.append(exchange.call.body)
            if len(batches) == 4:
                server.required = {"x-key": "another"}

        server.fault = after_launch(change)
        done = run(
            *flags(server, names, "--endpoint_auth", "header:X-Key=KEY", "--max_concurrent_requests", 1),
            output=tmp_path / "out",
        )
        assert done.code == DONE
        assert len(done.predictions) == 3 * BATCH
        assert {(row["error"], row["retryable"]) for row in done.dead_letters} == {("EndpointClosed", True)}
        assert len(done.dead_letters) == 7 * BATCH
        assert all("check --endpoint_auth" in row["message"] for row in done.dead_letters)
        everything = done.printed + done.complaints + str(done.dead_letters) + str(done.summary)
        assert "s3cr3t-value" not in everything


class TestAnswersThatDoNotArrive:
    """Once, they are asked for again; always, they are dead letters."""

    @pytest.mark.parametrize(
        ("fault", "more", "failures"),
        [
            (close_in_answer(reset=True), (), {"connection": 1}),
            (close_in_answer(), (), {"connection": 1}),
            (large(200 * MEBIBYTE), ("--max_answer_bytes", "1MiB"), {"answer size": 1}),
            (large(200 * MEBIBYTE, told=False), (), {"answer size": 1}),
            (trickle(1.0), ("--request_timeout", 1), {"timeout": 1}),
        ],
        ids=["reset", "closed", "200 MB", "200 MB in chunks", "a byte a second"],
    )
    def test_one_costs_nothing(
        self,
        server: ModelServer,
        tmp_path: Path,
        fault: Fault,
        more: Sequence[object],
        failures: dict[str, int],
    ) -> None:
        names = listed(tmp_path, 10 * BATCH)
        server.faults = [None, None, None, fault]
        done = run(*flags(server, names, *more), output=tmp_path / "out")
        assert_all_are_predicted(done, 10 * BATCH)
        assert done.summary["request_failures"] == failures

    @pytest.mark.parametrize(
        ("fault", "more", "told"),
        [
            (
                close(reset=True),
                ("--request_deadline", 1),
                ("EndpointUnavailable", "has closed the connection"),
            ),
            (
                large(200 * MEBIBYTE),
                ("--max_answer_bytes", "1MiB"),
                ("AnswerTooLarge", "is larger than the 1,048,576 bytes that are read of one"),
            ),
            (
                trickle(1.0),
                ("--request_deadline", 2, "--request_timeout", 1),
                ("EndpointUnavailable", "no answer of 127.0.0.1"),
            ),
        ],
        ids=["reset", "200 MB", "a byte a second"],
    )
    def test_always_they_are_dead_letters(
        self,
        server: ModelServer,
        tmp_path: Path,
        fault: Fault,
        more: Sequence[object],
        told: tuple[str, str],
    ) -> None:
        error, message = told
        server.fault = after_launch(fault)
        done = run(*flags(server, listed(tmp_path, 4), *more), output=tmp_path / "out")
        assert done.code == DONE
        assert done.predictions == []
        assert [row["error"] for row in done.dead_letters] == [error] * 4
        assert all(message in row["message"] for row in done.dead_letters)
        assert done.summary["dead_letters"] == {f"predict/{error}": 4}
        assert done.summary["unaccounted"] == 0


class TestVersions:
    def test_a_version_that_is_replaced_in_mid_run_costs_nothing(
        self, server: ModelServer, names: Path, tmp_path: Path
    ) -> None:
        api = server.api
        assert isinstance(api, TfServingApi)
        batches = []

        def replace(exchange: Exchange) -> None:
            batches.append(exchange.call.body)
            if len(batches) == 5:
                api.models["lengths"] = {8: model(added=1_000)}

        server.fault = after_launch(replace)
        done = run(*flags(server, names, "--max_concurrent_requests", 1), output=tmp_path / "out")
        assert_all_are_predicted(done, 10 * BATCH)
        made = Counter((row["model_version"], row["outputs"]["length"]) for row in done.predictions)
        assert made == {("7", 9): 4 * BATCH, ("8", 1_009): 6 * BATCH}
        assert len({row["prediction_id"] for row in done.predictions}) == 10 * BATCH
        assert done.summary["model_version"] == "7"


class TestRefusalsAtTheStart:
    def test_an_endpoint_that_refuses_the_very_first_requests_ends_the_run(
        self, server: ModelServer, tmp_path: Path
    ) -> None:
        server.fault = after_launch(status(403, "the quota of this project is over"))
        done = run(*flags(server, listed(tmp_path, MANY)), output=tmp_path / "out")
        assert done.code == FAILED
        told = f"--endpoint {server.address}{PATH}: HTTP 403 Forbidden: the quota of this project is over"
        assert told in done.complaints
        assert done.complaints.rstrip().endswith("; the output is not complete")
        assert sent(server) <= 3 * DEFAULT_MAX_CONCURRENT_REQUESTS  # of more than 300
        assert done.predictions == []

    def test_all_that_is_wrong_before_the_start_is_told_at_once(
        self, server: ModelServer, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        done = run(
            *("--input", tmp_path / "nothing.png", "--endpoint", f"{server.address}/v1/models/wrong"),
            *("--endpoint_protocol", "tf_serving", "--dead_letters", tmp_path / "file" / "below"),
            output=tmp_path / "out",
        )
        assert done.code == WRONG_USAGE
        for part in (
            "nothing was started, because of:",
            f"  - --endpoint {server.address}/v1/models/wrong: HTTP 404 Not Found: Servable not found",
            f"  - --input {tmp_path / 'nothing.png'}: ",
            "  - --dead_letters: ",
        ):
            assert part in done.complaints
        assert not list(tmp_path.glob("out/*"))

    @pytest.mark.parametrize("content", ["", "no certificate\n", "\N{SNOWMAN}"])
    def test_a_file_without_certificates_is_told(
        self, server: ModelServer, names: Path, tmp_path: Path, content: str
    ) -> None:
        (tmp_path / "ca.pem").write_text(content)
        done = run(*flags(server, names, "--endpoint_ca", tmp_path / "ca.pem"), output=tmp_path / "out")
        assert done.code == WRONG_USAGE
        assert "--endpoint_ca" in done.complaints

    def test_a_missing_file_of_certificates_is_told(
        self, server: ModelServer, names: Path, tmp_path: Path
    ) -> None:
        done = run(*flags(server, names, "--endpoint_ca", tmp_path / "none.pem"), output=tmp_path / "out")
        assert done.code == WRONG_USAGE
        assert f"  - --endpoint_ca {tmp_path / 'none.pem'} " in done.complaints
        assert "there is no file" in done.complaints

    @pytest.mark.parametrize(
        ("more", "part"),
        [
            (("--signature", "name"), "--signature name: the model at"),
            (("--output_schema", "size:int64"), "--output_schema: signature names("),
            (("--input_kind", "images"), "--input_kind images: signature names("),
            (("--item_input", "image"), "--item_input image: signature names("),
            (("--model_inputs", "threshold=1"), "--model_inputs threshold: signature names("),
            (
                ("--endpoint_auth", "header:X-Key=NO_SUCH_KEY"),
                "the environment variable NO_SUCH_KEY is not set",
            ),
        ],
    )
    def test_flags_that_do_not_fit_the_model_are_told(
        self, server: ModelServer, names: Path, tmp_path: Path, more: Sequence[str], part: str
    ) -> None:
        done = run(*flags(server, names, *more), output=tmp_path / "out")
        assert done.code == WRONG_USAGE
        assert part in done.complaints
        assert sent(server) == 0
