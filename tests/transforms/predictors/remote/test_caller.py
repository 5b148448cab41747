"""Sending requests again: what is worth it, when, and how often; in time that passes at once."""

from __future__ import annotations

import contextlib
import gc
import itertools
import random
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.transforms.predictors.remote.simulated_time import SimulatedTime
from transforms.predictors.remote.caller import Caller, RetryPolicy
from transforms.predictors.remote.request_report import RequestReport
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request

REQUEST = Request("http://127.0.0.1/v1/models/m:predict", b"{}")
LATENCY = 0.05
POLICY = RetryPolicy()

Fate = Callable[[float], CallFailed | None]
"""What becomes of a request, by the seconds since the beginning."""


@dataclass
class Server:
    """A transport, with a server behind it that takes its time.

    Attributes:
        fate: How a request ends.
        sent: When each request came, the seconds that it could take, and whether it was answered.
    """

    time: SimulatedTime
    fate: Fate
    sent: list[tuple[float, float, bool]] = field(default_factory=list)
    is_closed: bool = False

    def call(self, request: Request, timeout: float) -> Reply:
        began = self.time.now
        failed = self.fate(began - 1_000)
        self.sent.append((began - 1_000, timeout, failed is None))
        self.time.sleep(LATENCY)
        if failed:
            raise failed
        return Reply(request.body)

    def close(self) -> None:
        self.is_closed = True

    @property
    def moments(self) -> list[float]:
        return [moment for moment, _, _ in self.sent]


def as_it_is(reply: Reply) -> Reply:
    return reply


@dataclass
class World:
    """Some logical clients of one worker, which share a caller."""

    server: Server
    caller: Caller

    def call(self, seconds: float = 300) -> Reply:
        return self.caller.call(REQUEST, self.server.time.now + seconds, as_it_is)

    def failure(self, seconds: float = 300) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            self.call(seconds)
        return caught.value

    def send_all(self, batches: int, clients: int) -> list[tuple[float, int]]:
        """Send batches, as many at a time as there are clients; return when each was answered."""
        left = iter(range(batches))
        answered = []

        def client() -> None:
            for batch in left:
                reply = self.caller.call(
                    Request("", str(batch).encode()), self.server.time.now + 300, as_it_is
                )
                answered.append((self.server.time.now - 1_000, int(reply.body)))

        self.server.time.run([client] * clients)
        return answered


def world(
    fates: Fate | Sequence[CallFailed | None],
    policy: RetryPolicy = POLICY,
    numbers: Callable[[], float] = lambda: 1.0,
) -> World:
    """Make one, where requests have some fates in turn, the last for ever; jitter is the longest there is."""
    turns = [] if callable(fates) else list(fates)

    def next_of(_: float) -> CallFailed | None:
        return turns.pop(0) if len(turns) > 1 else turns[0]

    time = SimulatedTime()
    server = Server(time, fates if callable(fates) else next_of)
    return World(server, Caller(server, policy, clock=time.clock, sleep=time.sleep, random=numbers))


def busy(retry_after: float | None = None) -> CallFailed:
    return CallFailed(
        "503: too much to do", action=Action.RETRY, status="503", retry_after=retry_after, overloaded=True
    )


def unreachable() -> CallFailed:
    return CallFailed("nobody listens", action=Action.RETRY, status="connection")


def doubtful() -> CallFailed:
    return CallFailed("500: oops", action=Action.RETRY_THEN_BISECT, status="500")


def test_an_answer_is_returned_after_one_request() -> None:
    it = world([None])
    assert it.call() == Reply(b"{}")
    assert it.caller.new_reports() == [RequestReport(requests=1)]


def test_what_may_succeed_later_is_sent_again() -> None:
    it = world([unreachable(), busy(), unreachable(), None], numbers=lambda: 0.5)
    assert it.call() == Reply(b"{}")
    assert it.caller.new_reports() == [
        RequestReport(requests=4, retries=3, failures={"connection": 2, "503": 1})
    ]


def test_the_longest_waits_double_up_to_a_limit() -> None:
    it = world([unreachable()], RetryPolicy(first_delay=1, max_delay=5))
    it.failure(seconds=20)
    waits = [later - earlier - LATENCY for earlier, later in itertools.pairwise(it.server.moments)]
    assert waits[:5] == pytest.approx([1, 2, 4, 5, 5])


def test_waits_are_spread_from_nothing_to_the_longest() -> None:
    def first_wait(seed: int) -> float:
        it = world([unreachable(), None], RetryPolicy(first_delay=8), random.Random(seed).random)
        it.call()
        return it.server.moments[1] - LATENCY

    waits = sorted(first_wait(seed) for seed in range(200))
    assert waits[0] < 0.5
    assert waits[-1] > 7.5
    assert sum(waits) / len(waits) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("action", [Action.GIVE_UP, Action.BISECT, Action.SPLIT])
def test_what_cannot_succeed_is_sent_once(action: Action) -> None:
    it = world([CallFailed("no", action=action, status="4xx")])
    failed = it.failure()
    assert (failed.action, failed.message, failed.attempts) == (action, "no", 1)
    assert it.caller.new_reports() == [RequestReport(requests=1, failures={"4xx": 1})]


def test_a_refusal_after_failures_tells_how_often_it_was_tried() -> None:
    it = world([unreachable(), unreachable(), CallFailed("no", action=Action.BISECT, status="400")])
    failed = it.failure()
    assert (failed.action, failed.message, failed.attempts) == (Action.BISECT, "no", 3)


def test_a_request_that_the_server_may_not_bear_is_searched_after_a_few_tries() -> None:
    it = world([doubtful()], numbers=lambda: 0.0)
    failed = it.failure()
    assert (failed.action, failed.status, failed.attempts) == (Action.BISECT, "500", 3)
    assert failed.message == "500: oops (tried 3 times in 0.1 s)"


def test_a_server_that_recovers_within_a_few_tries_answers() -> None:
    it = world([doubtful(), unreachable(), doubtful(), unreachable(), None])
    assert it.call() == Reply(b"{}")


def test_what_is_a_part_of_what_failed_is_not_sent_again_to_see_whether_it_can_be_borne() -> None:
    it = world([doubtful()])
    with pytest.raises(CallFailed, match="tried once") as caught:
        it.caller.call(REQUEST, it.server.time.now + 300, as_it_is, is_suspect=True)
    assert (caught.value.action, caught.value.attempts) == (Action.BISECT, 1)


def test_without_a_token_what_the_server_may_not_bear_is_searched_at_once() -> None:
    it = world([doubtful()], RetryPolicy(retry_share=0), numbers=lambda: 0.0)
    attempts = [it.failure().attempts for _ in range(20)]
    assert attempts[:5] == [3] * 5  # the reserve has ten tokens
    assert attempts[5:].count(1) >= 12  # and a token comes each second
    assert it.server.time.now == pytest.approx(1_000 + len(it.server.sent) * LATENCY)
    (report,) = it.caller.new_reports()
    assert report.throttled_seconds == 0


def test_items_that_the_server_cannot_bear_delay_nothing_else() -> None:
    numbers = random.Random(4)
    it = world(lambda _: doubtful() if numbers.random() < 0.9 else None, numbers=numbers.random)

    def client() -> None:
        for _ in range(100):
            with contextlib.suppress(CallFailed):
                it.call()

    it.server.time.run([client] * 8)
    assert it.server.time.now < 1_000 + 100
    (report,) = it.caller.new_reports()
    assert report.retries <= 0.5 * 800 + 10 + (it.server.time.now - 1_000)
    assert report.throttled_seconds == 0


@pytest.mark.parametrize("action", [Action.GIVE_UP, Action.BISECT])
def test_an_answer_that_cannot_be_used_is_a_failure(action: Action) -> None:
    it = world([None])
    for _ in range(20):
        it.caller.throttle.record(accepted=False)
    before = it.caller.throttle.rejection_probability

    def unusable(_: Reply) -> Reply:
        raise CallFailed("no JSON", action=action, status="answer")

    began = it.server.time.now
    with pytest.raises(CallFailed, match="no JSON") as caught:
        it.caller.call(REQUEST, began + 300, unusable)
    assert (caught.value.action, caught.value.attempts) == (action, 1)
    (report,) = it.caller.new_reports()
    assert report.failures == {"answer": 1}
    assert it.caller.throttle.rejection_probability == pytest.approx(before, abs=0.01)
    assert not it.caller.has_success_since(began - 1)


def test_an_answer_that_cannot_be_used_may_be_asked_for_again() -> None:
    it = world([None])
    fates = [CallFailed("busy, says the page", action=Action.RETRY, status="answer")]

    def busy_at_first(reply: Reply) -> bytes:
        if fates:
            raise fates.pop()
        return reply.body

    assert it.caller.call(REQUEST, it.server.time.now + 300, busy_at_first) == b"{}"
    assert it.caller.new_reports() == [RequestReport(requests=2, retries=1, failures={"answer": 1})]


def test_the_last_wait_is_shortened_to_make_use_of_the_time_that_is_left() -> None:
    it = world([unreachable(), None], RetryPolicy(first_delay=50, max_delay=50))
    assert it.call(seconds=40) == Reply(b"{}")
    assert it.server.moments[1] == pytest.approx(20, abs=0.1)


def test_after_a_wait_that_was_shortened_nothing_more_is_sent() -> None:
    it = world([unreachable()], RetryPolicy(first_delay=50, max_delay=50))
    failed = it.failure(seconds=40)
    assert (failed.action, failed.attempts) == (Action.RETRY, 2)


def test_the_last_wait_is_no_shorter_than_the_server_asks_for() -> None:
    it = world([busy(retry_after=35), None], RetryPolicy(first_delay=50, max_delay=50))
    assert it.call(seconds=40) == Reply(b"{}")
    assert it.server.moments[1] == pytest.approx(35, abs=0.1)


def test_a_fault_of_the_program_is_not_sent_again() -> None:
    def fault(_: float) -> CallFailed | None:
        raise ZeroDivisionError

    it = world(fault)
    with pytest.raises(ZeroDivisionError):
        it.call()
    assert it.caller.new_reports() == [RequestReport(requests=1)]


def test_a_try_takes_no_longer_than_its_limit_or_the_deadline() -> None:
    it = world([unreachable()], RetryPolicy(request_timeout=4, first_delay=3, max_delay=3))
    it.failure(seconds=10)
    assert [timeout for _, timeout, _ in it.server.sent] == pytest.approx([4, 4, 3.9, 0.85, 0.4])


def test_at_the_deadline_it_is_told_how_often_and_how_long_it_was_tried() -> None:
    it = world([unreachable()], RetryPolicy(first_delay=50, max_delay=50))
    failed = it.failure(seconds=300)
    assert (failed.action, failed.status, failed.attempts) == (Action.RETRY, "connection", 7)
    assert failed.message == "nobody listens (tried 7 times in 275 s)"


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    it = world([None])
    failed = it.failure(seconds=0)
    assert (failed.action, failed.status, failed.attempts) == (Action.RETRY, "deadline", 0)
    assert failed.message == "nothing was sent before the deadline (waited 0 s)"
    assert not it.server.sent


def test_the_server_is_not_asked_before_the_time_that_it_tells() -> None:
    it = world([busy(retry_after=7), None], numbers=lambda: 0.5)
    it.call()
    assert it.server.moments[1] == pytest.approx(LATENCY + 7 + 0.1)
    (report,) = it.caller.new_reports()
    assert report.throttled_seconds == 7


def test_those_whom_the_server_tells_the_same_do_not_come_back_together() -> None:
    it = world(lambda moment: busy(retry_after=2) if moment < 1 else None, numbers=random.Random(1).random)
    it.send_all(batches=8, clients=8)
    assert len(set(it.server.moments[8:])) == 8


def test_a_time_beyond_the_deadline_ends_the_call_at_once() -> None:
    it = world([busy(retry_after=10_000)])
    failed = it.failure(seconds=300)
    assert (failed.action, failed.attempts, failed.retry_after) == (Action.RETRY, 1, 10_000)
    told = "503: too much to do (the server asks to wait 10,000 s, and 300 s are left; tried once in 0.05 s)"
    assert failed.message == told
    assert it.server.time.now == pytest.approx(1_000 + LATENCY)


def test_without_a_token_a_retry_waits_and_is_not_lost() -> None:
    it = world([unreachable()] * 30 + [None], RetryPolicy(first_delay=0, retry_share=0))
    assert it.call() == Reply(b"{}")
    moments = it.server.moments
    assert moments[10] == pytest.approx(10 * LATENCY)  # the reserve
    assert moments[30] - moments[10] == pytest.approx(20, abs=1)  # a token a second
    (report,) = it.caller.new_reports()
    assert report.throttled_seconds == pytest.approx(20, abs=2)


def test_a_deadline_that_passes_while_waiting_for_a_token_ends_the_call() -> None:
    it = world([unreachable()], RetryPolicy(first_delay=0, retry_share=0))
    failed = it.failure(seconds=5.7)
    assert (failed.action, failed.status) == (Action.RETRY, "connection")
    assert failed.message == f"nobody listens (tried {failed.attempts} times in 6 s)"
    assert failed.attempts == len(it.server.sent)


def test_a_deadline_that_passes_while_throttled_ends_the_call() -> None:
    it = world([busy()], numbers=lambda: 0.0)
    for _ in range(30):
        it.caller.throttle.record(accepted=False)
    failed = it.failure(seconds=3)
    assert (failed.action, failed.status, failed.attempts) == (Action.RETRY, "deadline", 0)
    assert failed.overloaded
    assert failed.message == (
        "nothing was sent before the deadline, for the server rejects most requests (waited 3 s)"
    )


def test_only_refusals_for_the_load_throttle() -> None:
    it = world([CallFailed("no", action=Action.BISECT, status="400"), unreachable(), None])
    for _ in range(20):
        it.caller.throttle.record(accepted=False)
    before = it.caller.throttle.rejection_probability
    it.failure()
    assert it.caller.throttle.rejection_probability < before
    it.call()
    assert it.caller.throttle._requests == 22  # the one that did not arrive is not counted


def test_what_was_reported_is_not_reported_again() -> None:
    it = world([None])
    assert it.caller.new_reports() == []
    it.call()
    assert [report.requests for report in it.caller.new_reports()] == [1]
    assert it.caller.new_reports() == []


def test_closing_it_closes_the_connections() -> None:
    it = world([None])
    it.caller.close()
    assert it.server.is_closed


def test_what_waits_when_it_is_closed_waits_no_longer() -> None:
    failed_once = threading.Event()

    def fate(_: float) -> CallFailed:
        failed_once.set()
        return unreachable()

    server = Server(SimulatedTime(), fate)
    caller = Caller(server, RetryPolicy(first_delay=1_000, max_delay=1_000), random=lambda: 1.0)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(caller.call, REQUEST, time.monotonic() + 10_000, as_it_is)
        assert failed_once.wait(30)
        caller.close()
        with pytest.raises(CallFailed, match="nobody waits for the answer any more") as caught:
            asked.result(timeout=30)
    assert (caught.value.action, caught.value.attempts) == (Action.RETRY, 1)


def test_after_it_was_closed_nothing_is_sent() -> None:
    it = world([None])
    it.caller.close()
    failed = it.failure()
    assert (failed.status, failed.attempts) == ("closed", 0)
    assert not it.server.sent


@pytest.mark.parametrize(
    "fates",
    [[None], [unreachable, None], [unreachable], [doubtful], [doubtful, None]],
    ids=["answered", "answered later", "unreachable", "doubtful", "doubtful at first"],
)
def test_when_it_is_over_nothing_holds_the_request(fates: list[Callable[[], CallFailed] | None]) -> None:
    """Not even until Python looks for objects that hold each other: requests are large."""

    def next_fate(_: float) -> CallFailed | None:
        made = fates.pop(0) if len(fates) > 1 else fates[0]
        return made() if made else None

    it = world(next_fate)
    request = Request("http://127.0.0.1/v1/models/m:predict", b"{}")
    held = weakref.ref(request)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(CallFailed):
            it.caller.call(request, it.server.time.now + 30, as_it_is)
        del request
        assert held() is None
    finally:
        gc.enable()


def test_threads_share_one_caller() -> None:
    it = world(lambda _: None)
    it.server.time.sleep = lambda seconds: None  # type: ignore[method-assign]
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda _: it.call(), range(2_000)))
    assert replies == [Reply(b"{}")] * 2_000
    assert it.caller.new_reports() == [RequestReport(requests=2_000)]


@pytest.mark.parametrize("clients", [8, 64])
def test_nearly_a_third_of_failures_costs_few_requests_and_no_batch(clients: int) -> None:
    numbers = random.Random(5)
    it = world(lambda _: busy() if numbers.random() < 0.3 else None, numbers=numbers.random)
    answered = it.send_all(batches=313, clients=clients)
    assert sorted(batch for _, batch in answered) == list(range(313))
    assert len(it.server.sent) <= 1.6 * 313
    assert sum(succeeded for _, _, succeeded in it.server.sent) == 313


@pytest.mark.parametrize("fault", [unreachable, busy])
@pytest.mark.parametrize(("clients", "at_most"), [(8, 80), (64, 150)])
def test_a_server_that_is_down_for_20_seconds_gets_few_requests_and_loses_none(
    clients: int, at_most: int, fault: Callable[[], CallFailed]
) -> None:
    numbers = random.Random(3)
    it = world(lambda moment: fault() if 5 <= moment < 25 else None, numbers=numbers.random)
    full_speed = clients / LATENCY
    batches = int(full_speed * 6) + clients * 40
    answered = it.send_all(batches, clients)
    assert sorted(batch for _, batch in answered) == list(range(batches))
    assert sum(5 <= moment < 25 for moment in it.server.moments) <= at_most
    assert max(moment for moment, _ in answered) < 25 + 10


def test_when_one_client_has_success_again_all_are_back_within_two_seconds() -> None:
    numbers = random.Random(3)
    it = world(lambda moment: unreachable() if 5 <= moment < 65 else None, numbers=numbers.random)
    answered = it.send_all(batches=int(8 / LATENCY * 15), clients=8)
    first = min(moment for moment, _ in answered if moment > 65)
    assert sum(first + 2 <= moment < first + 3 for moment, _ in answered) >= 0.95 * 8 / LATENCY


def test_no_backoff_ends_early_while_the_server_rejects_most() -> None:
    it = world([busy(), None], RetryPolicy(first_delay=30))
    for _ in range(20):
        it.caller.throttle.record(accepted=False)
    it.server.time.run([it.call, lambda: (it.server.time.sleep(1), it.caller.count_success())])
    assert it.server.moments[1] >= 30


def test_a_server_that_rejects_most_gets_little_and_recovers_soon() -> None:
    numbers = random.Random(3)

    def fate(moment: float) -> CallFailed | None:
        return busy() if moment < 60 and numbers.random() < 0.9 else None

    it = world(fate, numbers=numbers.random)
    answered = it.send_all(batches=2_000, clients=8)
    assert sorted(batch for _, batch in answered) == list(range(2_000))
    assert sum(moment < 60 for moment in it.server.moments) < 120  # 8 at full speed would have sent 9,600
    (report,) = it.caller.new_reports()
    assert report.throttled_seconds > 100
    assert sum(75 <= moment < 76 for moment, _ in answered) >= 0.95 * 8 / LATENCY
