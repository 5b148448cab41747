"""What becomes of the items of a batch, by predictors that ask a server which really answers so."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import numpy as np
import pytest

from emulators.model_server import Exchange, Fault, ModelServer
from emulators.rest_apis import Answer, TfServingApi
from emulators.rest_faults import body, html, other_count, refuse_items, status, wait_for
from tests.transforms.predictors.remote.remote_models import (
    PATH,
    POISON,
    counted,
    files,
    lengths_server,
    loaded,
    model,
    open_gate,
    opened,
    poisoned,
    sized,
    until,
    values,
)
from transforms.errors import (
    AnswerInvalid,
    AnswerTooLarge,
    EndpointClosed,
    EndpointRefused,
    EndpointUnavailable,
    InstanceRefused,
    RequestTooLarge,
)
from transforms.predictors.base import Outcome, VersionedOutputs
from transforms.predictors.predict_records import predict_each, records_of
from transforms.predictors.remote.caller import RetryPolicy
from transforms.predictors.remote.remote_predictor import RemotePredictor, encode
from transforms.records import FileBytes, FileRef, Prediction

BATCH = 32


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with lengths_server() as running:
        yield running


def with_poison(count: int = BATCH, at: int = 13) -> list[FileBytes]:
    """Make files of 0, 1, 2, ... bytes, but for one."""
    return files(*(POISON if number == at else b"x" * number for number in range(count)))


def around_poison(error: str, count: int = BATCH, at: int = 13) -> list[int | str]:
    """Return the values of `with_poison`, where one item has an error."""
    return [error if number == at else number for number in range(count)]


def size_of(predictor: RemotePredictor, count: int, size: int) -> int:
    """Return the bytes of a request of `count` items of a size, at most."""
    (prepared,) = predictor.feed.prepare(sized(size))
    item = encode(prepared, predictor.feed, predictor.wire)
    assert not isinstance(item, Exception)
    return predictor.wire.overhead({}) + count * item.size


def warm(predictor: RemotePredictor, server: ModelServer) -> None:
    """Let the server answer once, and forget it."""
    predictor.predict(sized(1))
    predictor.new_reports()
    server.received.clear()


def errors(outcomes: Sequence[Outcome]) -> list[Exception]:
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


class TestSizes:
    @pytest.mark.parametrize(("spared", "requests"), [(0, 1), (1, 2)])
    def test_a_request_is_filled_up_to_the_limit_and_never_exceeds_it(
        self, server: ModelServer, spared: int, requests: int
    ) -> None:
        limit = size_of(opened(server), 4, 100) - spared
        predictor = loaded(server, max_request_bytes=limit)
        assert values(predictor.predict(sized(100, 100, 100, 100))) == [100] * 4
        assert server.requests == requests
        assert max(received.size for received in server.received) <= limit

    @pytest.mark.parametrize("request_format", ["instances", "inputs"])
    @pytest.mark.parametrize("limit", [80, 333, 1_000])
    def test_whatever_the_sizes_no_request_exceeds_the_limit(
        self, server: ModelServer, request_format: str, limit: int
    ) -> None:
        sizes = [number * 37 % 700 for number in range(100)]
        predictor = loaded(server, max_request_bytes=limit, request_format=request_format)
        found = values(predictor.predict(sized(*sizes)))
        assert [value for value in found if value != "RequestTooLarge"] == [
            size for size, value in zip(sizes, found, strict=True) if value != "RequestTooLarge"
        ]
        assert all(value != "RequestTooLarge" for value, size in zip(found, sizes, strict=True) if size < 10)
        sent = [received.size for received in server.received]
        assert max(sent) <= limit
        assert sum(sent) / len(sent) > limit / 3  # no more requests than it takes

    def test_an_item_that_is_too_large_alone_is_not_sent(self, server: ModelServer) -> None:
        predictor = loaded(server, max_request_bytes=200)
        outcomes = predictor.predict(sized(10, 500, 20))
        assert values(outcomes) == [10, "RequestTooLarge", 20]
        (error,) = errors(outcomes)
        assert "--max_request_bytes 200" in str(error)
        assert server.requests == 1

    def test_where_all_are_too_large_nothing_is_sent(self, server: ModelServer) -> None:
        predictor = loaded(server, max_request_bytes=1)
        assert values(predictor.predict(sized(1, 2))) == ["RequestTooLarge"] * 2
        assert server.requests == 0

    def test_what_the_server_finds_too_large_is_split(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.max_request_bytes = size_of(predictor, 9, 100)
        outcomes = predictor.predict(sized(*[100] * 15, 2_000, *[100] * 16))
        assert values(outcomes) == [100] * 15 + ["RequestTooLarge"] + [100] * 16
        (error,) = errors(outcomes)
        assert isinstance(error, RequestTooLarge)
        assert "HTTP 413" in str(error)
        assert server.requests == 13  # 32, 16 8 8, 16 8 8 4 4 2 2 1 1

    def test_what_is_answered_with_too_much_is_split(self, server: ModelServer) -> None:
        predictor = loaded(server, "echo", max_answer_bytes=5_000)
        contents = [b"%02d" % number * 200 for number in range(32)]
        contents[20] = b"x" * 10_000
        outcomes = predictor.predict(files(*contents))
        expected: list[str] = [content.decode() for content in contents]
        expected[20] = "AnswerTooLarge"
        assert values(outcomes, "text") == expected
        (error,) = errors(outcomes)
        assert isinstance(error, AnswerTooLarge)
        assert "5,000 bytes" in str(error)


class TestOneItemOfMany:
    def test_one_that_is_refused_costs_itself_and_few_requests(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.fault = refuse_items(poisoned())
        outcomes = predictor.predict(with_poison())
        assert values(outcomes) == around_poison("InstanceRefused")
        assert server.requests == 1 + 2 * 5  # all, and both halves of 32, 16, 8, 4, 2
        (error,) = errors(outcomes)
        assert isinstance(error, InstanceRefused)
        assert (error.attempts, error.retryable) == (1, False)
        assert "HTTP 400 Bad Request: an item is refused on purpose" in str(error)
        assert counted(predictor) == (11, 0, {"400": 6})

    def test_one_that_the_server_cannot_bear_is_found_after_quick_tries_of_all(
        self, server: ModelServer
    ) -> None:
        predictor = loaded(server)
        server.fault = refuse_items(poisoned(), code=500)
        outcomes = predictor.predict(with_poison())
        assert values(outcomes) == around_poison("InstanceRefused")
        assert server.requests == 3 + 2 * 5  # three tries of all, and one of each half
        (error,) = errors(outcomes)
        assert isinstance(error, InstanceRefused)
        assert error.attempts == 1
        assert counted(predictor) == (13, 2, {"500": 8})

    def test_many_that_the_server_cannot_bear_cost_no_time_and_no_other_item(
        self, server: ModelServer
    ) -> None:
        predictor = loaded(server, request_deadline=60)
        server.fault = refuse_items(poisoned(), code=500)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(predictor.predict, [with_poison(at=at % BATCH) for at in range(40)]))
        assert [values(outcomes) for outcomes in found] == [
            around_poison("InstanceRefused", at=at % BATCH) for at in range(40)
        ]
        assert sum(report.throttled_seconds for report in predictor.new_reports()) == 0

    def test_halves_of_what_was_too_large_are_tried_as_often_as_all(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.faults = [status(413), status(500), status(500)]
        assert values(predictor.predict(sized(1, 2))) == [1, 2]
        assert server.requests == 1 + 3 + 1

    def test_a_server_that_fails_once_costs_nothing(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.faults = [status(500)]
        assert values(predictor.predict(sized(1, 2, 3))) == [1, 2, 3]
        assert server.requests == 2

    def test_one_that_cannot_be_encoded_costs_itself_only(self, server: ModelServer) -> None:
        predictor = loaded(server, "names")
        batch = [FileBytes(FileRef(name), None) for name in ("a", "\udcff", "bbb")]
        assert values(predictor.predict(batch)) == [1, "InstanceRefused", 3]
        assert server.requests == 1


class TestAnswers:
    def test_one_prediction_too_few_is_asked_for_again_in_halves(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.faults = [other_count(-1)]
        assert values(predictor.predict(sized(1, 2, 3, 4))) == [1, 2, 3, 4]
        assert server.requests == 3

    @pytest.mark.parametrize("change", [-1, 1])
    def test_a_server_that_never_counts_right_gives_no_predictions(
        self, server: ModelServer, change: int
    ) -> None:
        predictor = loaded(server)
        server.fault = other_count(change)
        outcomes = predictor.predict(sized(1, 2, 3))
        assert values(outcomes) == ["AnswerInvalid"] * 3
        for error in errors(outcomes):
            assert f"has {1 + change} predictions for 1 items; it begins with" in str(error)
            assert "predictions" in str(error)

    @pytest.mark.parametrize("row", [b"[2]", b"[[2]]", b"null", b"2.5", b'"2"', b"true", b"{}", b"NaN"])
    def test_one_row_of_another_type_or_shape_costs_one_item(self, server: ModelServer, row: bytes) -> None:
        predictor = loaded(server)
        server.faults = [body(b'{"predictions": [1, %b, 3]}' % row)]
        outcomes = predictor.predict(sized(1, 2, 3))
        assert values(outcomes) == [1, "AnswerInvalid", 3]
        assert server.requests == 1

    def test_numbers_that_are_none_are_kept_where_an_output_can_have_them(self, server: ModelServer) -> None:
        predictor = loaded(server, "shares")
        server.faults = [body(b'{"predictions": [NaN, 0.5, -Infinity, Infinity]}')]
        found = values(predictor.predict(sized(1, 2, 3, 4)), "share")
        np.testing.assert_array_equal(found, np.array([np.nan, 0.5, -np.inf, np.inf], np.float32))

    def test_one_that_cannot_be_used_is_counted_as_a_failure(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.faults = [other_count(-1)]
        predictor.predict(sized(1, 2))
        assert counted(predictor) == (3, 0, {"answer": 1})

    def test_an_error_in_an_answer_is_one(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.fault = body(b'{"error": "there is no GPU"}')
        outcomes = predictor.predict(sized(1, 2))
        assert values(outcomes) == ["AnswerInvalid"] * 2
        assert all("there is no GPU" in str(error) for error in errors(outcomes))

    def test_an_error_beside_predictions_is_one(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.faults = [body(b'{"error": "half of it", "predictions": [1]}')]
        (error,) = predictor.predict(sized(1))
        assert isinstance(error, AnswerInvalid)

    @pytest.mark.parametrize(
        "fault",
        [
            html(),
            body(b""),
            body(b"[]"),
            body(b'{"predictions": {}}'),
            body(b'{"predictions": [1'),
            body(b"\x00"),
        ],
        ids=["html", "empty", "list", "object", "cut", "binary"],
    )
    def test_what_is_no_answer_at_all_stops_the_job_at_first_and_costs_a_batch_later(
        self, server: ModelServer, fault: Fault
    ) -> None:
        predictor = loaded(server)
        server.faults = [fault]
        with pytest.raises(
            EndpointRefused, match=f"--endpoint {server.address}{PATH}: the endpoint's answer"
        ):
            predictor.predict(sized(1))
        assert values(predictor.predict(sized(2))) == [2]
        server.faults = [fault]
        outcomes = predictor.predict(sized(3, 3))
        assert values(outcomes) == ["EndpointClosed"] * 2
        assert all(isinstance(error, EndpointClosed) and error.retryable for error in errors(outcomes))
        assert values(predictor.predict(sized(4))) == [4]

    def test_the_page_that_came_is_told(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.fault = html()
        with pytest.raises(EndpointRefused, match=r"is not JSON; it begins with .*Please sign in"):
            predictor.predict(sized(1))


class TestRefusals:
    @pytest.mark.parametrize("code", [401, 403, 404])
    def test_the_very_first_one_stops_the_job(self, server: ModelServer, code: int) -> None:
        predictor = loaded(server)
        server.fault = status(code, "go away")
        with pytest.raises(
            EndpointRefused, match=f"--endpoint {server.address}{PATH}: HTTP {code} .*go away"
        ):
            predictor.predict(sized(1))

    def test_the_very_first_one_is_no_items_fault(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.fault = status(403)
        with pytest.raises(EndpointRefused):
            predict_each(predictor, sized(1, 2, 3))
        assert server.requests == 1

    @pytest.mark.parametrize("code", [401, 403, 404])
    def test_a_later_one_costs_its_batch(self, server: ModelServer, code: int) -> None:
        predictor = loaded(server)
        warm(predictor, server)
        server.faults = [status(code, "go away")]
        outcomes = predictor.predict(sized(1, 2))
        assert values(outcomes) == ["EndpointClosed"] * 2
        assert all("go away" in str(error) for error in errors(outcomes))
        assert values(predictor.predict(sized(3))) == [3]

    def test_an_answer_about_items_counts_as_none(self, server: ModelServer) -> None:
        predictor = loaded(server)
        server.faults = [status(400), status(403)]
        predictor.predict(sized(1))
        with pytest.raises(EndpointRefused):
            predictor.predict(sized(1))


class TestVersions:
    @pytest.fixture
    def api(self, server: ModelServer) -> TfServingApi:
        assert isinstance(server.api, TfServingApi)
        return server.api

    def test_records_name_the_version_that_was_asked_for(self, server: ModelServer) -> None:
        predictor = loaded(server)
        (record,) = records(predictor, sized(5))
        assert (record.model, record.model_version) == (f"{server.address}{PATH}", "7")
        assert [received.path for received in server.received] == [f"{PATH}/versions/7:predict"]

    def test_a_version_that_is_gone_is_followed_by_the_next(
        self, server: ModelServer, api: TfServingApi
    ) -> None:
        predictor = loaded(server)
        assert values(predictor.predict(sized(5))) == [5]
        api.models["lengths"] = {8: model(added=1_000)}
        found = records(predictor, sized(5, 6))
        assert [(record.model_version, record.outputs["length"]) for record in found] == [
            ("8", 1_005),
            ("8", 1_006),
        ]
        assert predictor.model_version == "7"
        assert [received.path.removeprefix(PATH) for received in server.received] == [
            "/versions/7:predict",
            "/versions/7:predict",
            "/metadata",
            "/versions/8:predict",
        ]

    def test_it_is_followed_even_where_it_never_answered(
        self, server: ModelServer, api: TfServingApi
    ) -> None:
        predictor = loaded(server)
        api.models["lengths"] = {8: model()}
        assert versions(predictor.predict(sized(5))) == ["8"]

    def test_many_threads_that_lose_it_look_for_the_next_one_once(
        self, server: ModelServer, api: TfServingApi
    ) -> None:
        predictor = loaded(server)
        warm(predictor, server)
        api.models["lengths"] = {8: model()}
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda size: predictor.predict(sized(size)), range(1, 33)))
        assert [value for outcomes in found for value in values(outcomes)] == list(range(1, 33))
        assert {version for outcomes in found for version in versions(outcomes)} == {"8"}
        assert [received.method for received in server.received].count("GET") == 1

    def test_a_server_without_the_model_is_closed(self, server: ModelServer, api: TfServingApi) -> None:
        predictor = loaded(server)
        warm(predictor, server)
        api.models.clear()
        assert values(predictor.predict(sized(1))) == ["EndpointClosed"]
        api.models["lengths"] = {9: model()}
        assert versions(predictor.predict(sized(1))) == ["9"]

    def test_one_that_gives_something_else_is_not_taken(self, server: ModelServer, api: TfServingApi) -> None:
        predictor = loaded(server)
        warm(predictor, server)
        api.models["lengths"] = {8: {**model(), "serving_default": model()["shares"]}}
        assert values(predictor.predict(sized(1))) == ["EndpointClosed"]

    def test_a_version_of_the_address_is_kept(self, server: ModelServer, api: TfServingApi) -> None:
        api.models["lengths"][8] = model(added=1_000)
        predictor = loaded(server, path=f"{PATH}/versions/7")
        assert predictor.model_version == "7"
        (record,) = records(predictor, sized(5))
        assert (record.model_version, record.outputs["length"]) == ("7", 5)
        del api.models["lengths"][7]
        assert values(predictor.predict(sized(5))) == ["EndpointClosed"]

    def test_a_label_stands_for_a_version(self, server: ModelServer, api: TfServingApi) -> None:
        api.models["lengths"][8] = model(added=1_000)
        api.labels["lengths"] = {"stable": 7}
        predictor = loaded(server, path=f"{PATH}/labels/stable")
        (record,) = records(predictor, sized(5))
        assert (record.model_version, record.outputs["length"]) == ("7", 5)

    def test_a_label_that_moves_is_followed_when_it_is_looked_at(
        self, server: ModelServer, api: TfServingApi
    ) -> None:
        api.models["lengths"][8] = model(added=1_000)
        api.labels["lengths"] = {"stable": 7}
        predictor = loaded(server, path=f"{PATH}/labels/stable", poll_seconds=1e-9)
        assert versions(predictor.predict(sized(5))) == ["7"]
        api.labels["lengths"]["stable"] = 8
        assert versions(predictor.predict(sized(5))) == ["8"]

    def test_a_newer_version_is_taken_only_where_it_is_looked_for(
        self, server: ModelServer, api: TfServingApi
    ) -> None:
        looks, stays = loaded(server, poll_seconds=1e-9), loaded(server)
        api.models["lengths"][8] = model(added=1_000)
        assert versions(looks.predict(sized(5))) == ["8"]
        assert versions(stays.predict(sized(5))) == ["7"]


def records(predictor: RemotePredictor, batch: Sequence[FileBytes]) -> list[Prediction]:
    made = list(records_of(predictor, batch, predict_each(predictor, batch)))
    assert all(isinstance(record, Prediction) for record in made)
    return [record for record in made if isinstance(record, Prediction)]


def versions(outcomes: Sequence[Outcome]) -> list[str]:
    assert all(isinstance(outcome, VersionedOutputs) for outcome in outcomes), outcomes
    return [outcome.model_version for outcome in outcomes if isinstance(outcome, VersionedOutputs)]


class TestManyRequests:
    def test_no_more_are_under_way_than_are_allowed_whoever_asks(self, server: ModelServer) -> None:
        """Six threads have four requests each."""
        predictor = loaded(
            server, max_concurrent_requests=3, max_request_bytes=size_of(opened(server), 1, 99)
        )
        gate = threading.Event()
        server.fault, server.latency = wait_for(gate), 0.01
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(predictor.predict, sized(96, 97, 98, 99)) for _ in range(6)]
            until(lambda: server.in_flight == 3)
            gate.set()
            assert [values(answer.result()) for answer in asked] == [[96, 97, 98, 99]] * 6
        assert server.most_in_flight == 3
        assert server.connections <= 3 + 2  # those of the launch
        assert server.requests == 24

    def test_outcomes_are_in_the_order_of_the_batch_whatever_is_answered_first(
        self, server: ModelServer
    ) -> None:
        predictor = loaded(server, max_request_bytes=size_of(opened(server), 1, 99))
        gate = threading.Event()
        server.faults = [wait_for(gate), None, wait_for(gate), open_gate(gate)]
        assert values(predictor.predict(sized(99, 98, 97, 96))) == [99, 98, 97, 96]
        assert server.most_in_flight > 1

    def test_a_batch_of_one_loses_nothing_to_others_that_fail(self, server: ModelServer) -> None:
        predictor = loaded(server)
        warm(predictor, server)
        server.fault = refuse_items(poisoned())
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(predictor.predict, [with_poison(8, at) for at in range(8)]))
        assert [values(outcomes) for outcomes in found] == [
            around_poison("InstanceRefused", 8, at) for at in range(8)
        ]


class TestTime:
    def test_retry_after_is_obeyed(self, server: ModelServer) -> None:
        predictor = loaded(server)
        warm(predictor, server)
        came: list[float] = []

        def once(exchange: Exchange) -> Answer | None:
            came.append(time.monotonic())
            return status(429, Retry_After="1")(exchange) if len(came) == 1 else None

        server.fault = once
        assert values(predictor.predict(sized(1))) == [1]
        first, second = came
        assert second - first >= 1
        (report,) = predictor.new_reports()
        assert report.throttled_seconds >= 0.9

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_a_server_that_wants_to_be_left_alone_for_hours_is(self, server: ModelServer, form: str) -> None:
        wait = {"seconds": "10000", "date": formatdate(time.time() + 10_000, usegmt=True)}[form]
        predictor = loaded(server)
        server.fault = status(503, Retry_After=wait)
        began = time.monotonic()
        outcomes = predictor.predict(sized(1, 2))
        assert time.monotonic() - began < 60
        assert server.requests == 1
        assert values(outcomes) == ["EndpointUnavailable"] * 2
        for error in errors(outcomes):
            assert isinstance(error, EndpointUnavailable)
            assert error.attempts == 1
            assert "the server asks to wait" in str(error)

    def test_at_the_deadline_the_items_are_given_up(self, server: ModelServer) -> None:
        policy = RetryPolicy(first_delay=0.02, max_delay=0.02)
        predictor = loaded(server, request_deadline=0.3, policy=policy)
        server.fault = status(502)
        outcomes = predictor.predict(sized(1, 2))
        assert values(outcomes) == ["EndpointUnavailable"] * 2
        for error in errors(outcomes):
            assert isinstance(error, EndpointUnavailable)
            assert error.retryable
            assert error.attempts == server.requests > 1
            assert f"HTTP 502 Bad Gateway: refused on purpose (tried {error.attempts} times" in str(error)
        assert counted(predictor) == (server.requests, server.requests - 1, {"502": server.requests})

    def test_halves_have_no_more_time_than_the_whole(self, server: ModelServer) -> None:
        predictor = loaded(server, request_deadline=0.3)
        server.faults, server.fault = [status(400)], status(502)
        assert values(predictor.predict(sized(1, 2))) == ["EndpointUnavailable"] * 2

    def test_a_try_that_takes_too_long_is_ended_and_made_again(self, server: ModelServer) -> None:
        predictor = loaded(server, policy=RetryPolicy(request_timeout=0.2, first_delay=0.001))
        gate = threading.Event()
        server.faults = [wait_for(gate), open_gate(gate)]
        assert values(predictor.predict(sized(1))) == [1]
        assert counted(predictor) == (2, 1, {"timeout": 1})


class TestLife:
    def test_when_it_is_dropped_its_connections_and_threads_end(self, server: ModelServer) -> None:
        predictor = loaded(server)
        predictor.predict(sized(1))
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("request-")]
        dropped = weakref.ref(predictor._session)
        assert threads
        del predictor
        gc.collect()
        until(lambda: dropped() is None and not threads[-1].is_alive())

    def test_where_one_request_stops_the_job_those_that_have_not_begun_are_not_sent(
        self, server: ModelServer
    ) -> None:
        limit = size_of(opened(server), 1, 99)
        predictor = loaded(server, max_concurrent_requests=1, max_request_bytes=limit)
        sent = server.requests
        server.faults, server.fault = [status(403)], body(b"{}")
        with pytest.raises(EndpointRefused):
            predictor.predict(sized(*[99] * 50))
        assert server.requests - sent < 50

    def test_it_is_pickled_without_connections(self, server: ModelServer) -> None:
        predictor = opened(server)
        twin = pickle.loads(pickle.dumps(predictor))  # noqa: S301
        assert twin == predictor
        with pytest.raises(RuntimeError, match="load"):
            twin.predict(sized(1))
        twin.load()
        assert values(twin.predict(sized(1))) == [1]

    def test_a_copy_has_no_connections_and_can_be_pickled(self, server: ModelServer) -> None:
        predictor = loaded(server)
        predictor.predict(sized(1))
        twin = copy.copy(predictor)
        assert twin == predictor
        assert pickle.loads(pickle.dumps(twin)) == predictor  # noqa: S301
        with pytest.raises(RuntimeError, match="load"):
            twin.predict(sized(1))
        assert values(predictor.predict(sized(2))) == [2]

    def test_what_was_reported_is_not_reported_again(self, server: ModelServer) -> None:
        predictor = loaded(server)
        assert predictor.new_reports() == []
        predictor.predict(sized(1))
        assert counted(predictor) == (1, 0, {})
        assert predictor.new_reports() == []

    def test_warming_up_asks_nothing(self, server: ModelServer) -> None:
        predictor = loaded(server)
        predictor.warm_up(32)
        assert server.requests == 0

    def test_nothing_is_asked_about_nothing(self, server: ModelServer) -> None:
        predictor = loaded(server)
        assert predictor.predict([]) == []
        assert server.requests == 0

    def test_requests_of_rows_and_of_columns_are_answered_alike(self, server: ModelServer) -> None:
        rows, columns = loaded(server), loaded(server, request_format="inputs")
        assert values(rows.predict(sized(1, 2))) == values(columns.predict(sized(1, 2))) == [1, 2]
        assert [sorted(json.loads(received.body)) for received in server.received[-2:]] == [
            ["instances"],
            ["inputs"],
        ]
