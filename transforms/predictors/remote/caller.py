"""Sending requests until they are answered, or until it is certain enough that they will not be."""

from __future__ import annotations

import random as random_numbers
import time
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_exception

from transforms.predictors.remote.backoff import asked_to_wait, backoff
from transforms.predictors.remote.request_report import RequestReport, RequestTally
from transforms.predictors.remote.retry_budget import RetryBudget
from transforms.predictors.remote.throttle import Throttle
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request, Transport

_LOOK_SECONDS = 1.0
"""How often a thread that waits looks whether the others have success again."""


@dataclass(frozen=True)
class RetryPolicy:
    """When and how often requests are sent again.

    Attributes:
        request_timeout: The seconds that one try may take.
        first_delay: The longest wait before the second try, in seconds; it doubles from try to try.
        max_delay: The longest wait of all, without what the server asks for.
        retry_share: How many times a request is sent again, on average over the worker.
        quick_tries: How often a request is sent that may hold an item which the server cannot bear.
    """

    request_timeout: float = 60.0
    first_delay: float = 0.2
    max_delay: float = 30.0
    retry_share: float = 0.5
    quick_tries: int = 3


class Caller:
    """Sends requests, again where that may help; used by any number of threads, which share what they learn.

    A try waits for its turn: after a failure, for the backoff and for what the server asks for
    (`backoff.py`), then for a token of the retry budget (`retry_budget.py`); each, first ones too, while the
    server rejects most requests (`throttle.py`). Nothing fails because of these waits, unless its deadline
    passes. A backoff ends early when another thread has success, and the server does not reject most.

    Args:
        transport: Sends a request once.
        policy: When and how often to send again.
        clock: Tells the time, in seconds.
        sleep: Waits, for some seconds.
        random: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        transport: Transport,
        policy: RetryPolicy = RetryPolicy(),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self.transport = transport
        self.policy = policy
        self.clock = clock
        self.sleep = sleep
        self.backoff = backoff(policy.first_delay, policy.max_delay, random)
        self.budget = RetryBudget(policy.retry_share, clock)
        self.throttle = Throttle(clock, random)
        self.tally = RequestTally()
        self._last_success = clock()

    def call(self, request: Request, deadline: float) -> Reply:
        """Send a request until it is answered.

        Args:
            request: What to send.
            deadline: The time, of the clock, after which nothing is sent, and at which a try is ended.

        Raises:
            CallFailed: There is no answer. What is left to do is `SPLIT`, `BISECT` or `GIVE_UP`; or `RETRY`
                where the deadline is over, or too near for the wait that the server asks for.
        """
        return _Call(self, request, deadline).run()

    def new_reports(self) -> list[RequestReport]:
        """Return what has become of requests since this was last called."""
        return self.tally.take()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def count_success(self) -> None:
        """Remember that the server has answered a request, and when."""
        self._last_success = self.clock()

    def has_success_since(self, moment: float) -> bool:
        """Tell whether a request was answered after some moment, and the server does not reject most."""
        return self._last_success > moment and not self.throttle.rejection_probability


class _Call:
    """One request, from its first try to its last."""

    def __init__(self, caller: Caller, request: Request, deadline: float) -> None:
        self._caller = caller
        self._request = request
        self._deadline = deadline
        self._began = caller.clock()
        self._sent = 0
        self._doubts = 0
        self._last: CallFailed | None = None

    def run(self) -> Reply:
        retrying = Retrying(
            sleep=self._rest,
            wait=self._caller.backoff,
            stop=self._is_over,
            retry=retry_if_exception(self._may_succeed_later),
            retry_error_callback=self._fail_at_the_deadline,
        )
        try:
            return retrying(self._try)
        except CallFailed as failed:
            failed.attempts = self._sent
            if failed.action is Action.RETRY_THEN_BISECT:
                raise self._after(failed, Action.BISECT, self._efforts()) from failed
            raise

    def _try(self) -> Reply:
        if self._sent:
            self._wait_for(self._caller.budget.take)
        self._wait_for(self._caller.throttle.pause)
        left = self._left()
        if left <= 0:
            raise self._without_time()
        self._count_request()
        try:
            reply = self._caller.transport.call(self._request, min(left, self._caller.policy.request_timeout))
        except CallFailed as failed:
            self._count_failure(failed)
            raise
        self._caller.throttle.record(accepted=True)
        self._caller.count_success()
        return reply

    def _wait_for(self, gate: Callable[[], float]) -> None:
        """Ask a gate again and again, after as many seconds as it says, until it says 0."""
        while (pause := gate()) and (left := self._left()) > 0:
            self._hold(min(pause, left))

    def _hold(self, seconds: float) -> None:
        self._caller.tally.count_throttled(seconds)
        self._caller.sleep(seconds)

    def _count_request(self) -> None:
        if not self._sent:
            self._caller.budget.count_request()
        self._caller.tally.count_request(again=self._sent > 0)
        self._sent += 1

    def _count_failure(self, failed: CallFailed) -> None:
        self._last = failed
        self._caller.tally.count_failure(failed.status)
        if failed.overloaded:
            self._caller.throttle.record(accepted=False)
        elif failed.action is not Action.RETRY:  # else nobody knows whether the server has seen it at all
            self._caller.throttle.record(accepted=True)

    def _may_succeed_later(self, error: BaseException) -> bool:
        if not isinstance(error, CallFailed):
            return False
        if error.action is Action.RETRY_THEN_BISECT:
            self._doubts += 1
            return self._doubts < self._caller.policy.quick_tries
        return error.action is Action.RETRY

    def _is_over(self, state: RetryCallState) -> bool:
        return state.upcoming_sleep >= self._left()

    def _rest(self, seconds: float) -> None:
        """Wait before the next try: no less than the server asks for, and no longer than it is needed."""
        failed_at = self._caller.clock()
        least = asked_to_wait(self._last) if self._last else 0.0
        if least:
            self._hold(least)
        end = failed_at + seconds
        while (left := end - self._caller.clock()) > 0 and not self._caller.has_success_since(failed_at):
            self._caller.sleep(min(left, _LOOK_SECONDS))

    def _fail_at_the_deadline(self, state: RetryCallState) -> Reply:
        failed = state.outcome.exception() if state.outcome else None
        assert isinstance(failed, CallFailed)  # noqa: S101 - nothing else is tried again
        asked, left = asked_to_wait(failed), self._left()
        why = self._efforts()
        if asked >= left > 0:
            why = f"the server asks to wait {asked:,.0f} s, and {_seconds(left)} are left; {why}"
        raise self._after(failed, Action.RETRY, why) from failed

    def _without_time(self) -> CallFailed:
        if self._last:
            return _changed(self._last, self._last.message, Action.RETRY, retry_after=None)
        held_back = self._caller.throttle.rejection_probability > 0
        message = (
            "nothing was sent before the deadline" + ", for the server rejects most requests" * held_back
        )
        return CallFailed(message, action=Action.RETRY, status="deadline", overloaded=held_back, attempts=0)

    def _after(self, failed: CallFailed, action: Action, why: str) -> CallFailed:
        told = _changed(failed, f"{failed.message} ({why})", action, failed.retry_after)
        told.attempts = self._sent
        return told

    def _efforts(self) -> str:
        seconds = _seconds(self._caller.clock() - self._began)
        if not self._sent:
            return f"waited {seconds}"
        return f"tried {'once' if self._sent == 1 else f'{self._sent} times'} in {seconds}"

    def _left(self) -> float:
        return self._deadline - self._caller.clock()


def _changed(failed: CallFailed, message: str, action: Action, retry_after: float | None) -> CallFailed:
    return CallFailed(
        message,
        action=action,
        status=failed.status,
        retry_after=retry_after,
        overloaded=failed.overloaded,
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1g} s"
