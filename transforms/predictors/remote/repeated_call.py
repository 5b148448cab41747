"""Sending one request until it is answered, or until it is certain enough that it will not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from transforms.predictors.remote.backoff import asked_to_wait
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request

if TYPE_CHECKING:
    from transforms.predictors.remote.caller import Caller

Made = TypeVar("Made")

_LOOK_SECONDS = 1.0
"""How often a thread that waits looks whether the others have success again."""


class RepeatedCall(Generic[Made]):
    """One request, from its first try to its last.

    When that is over nothing holds the request: what has failed does not keep the frames that it has come
    through, nor tenacity what it has called, for these hold each other, and Python looks for such circles too
    rarely for what is so large.

    Args:
        caller: Sends it; what it has learnt from other requests counts for this one, and the reverse.
        request: What to send.
        deadline: The time, of the caller's clock, at which it must be over.
        read: Reads the answer.
        quick_tries: How often it is sent where it may hold an item which the server cannot bear.
    """

    def __init__(
        self,
        caller: Caller,
        request: Request,
        deadline: float,
        read: Callable[[Reply], Made],
        quick_tries: int,
    ) -> None:
        self._caller = caller
        self._request = request
        self._deadline = deadline
        self._read = read
        self._doubts_left = quick_tries
        self._began = caller.clock()
        self._sent = 0
        self._last: CallFailed | None = None
        self._is_last_try = False

    def run(self) -> Made:
        """See `Caller.call`."""
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
            failed.__traceback__ = None
            if failed.action is Action.RETRY_THEN_BISECT:
                raise self._after(failed, Action.BISECT, self._efforts()) from None
            raise
        finally:
            self._last = None
            retrying.iter_state.reset()

    def _try(self) -> Made:
        if self._last and self._last.action is Action.RETRY:  # a doubt has its token already
            self._wait_for(self._caller.budget.take)
        self._wait_for(self._caller.throttle.pause)
        self._caller.check_open()
        left = self._left()
        if left <= 0:
            raise self._without_time()
        self._count_request()
        try:
            made = self._read(self._sent_once(min(left, self._caller.policy.request_timeout)))
        except CallFailed as failed:
            self._last = failed
            self._caller.tally.count_failure(failed.status)
            raise
        self._caller.throttle.record(accepted=True)
        self._caller.count_success()
        return made

    def _sent_once(self, timeout: float) -> Reply:
        try:
            return self._caller.transport.call(self._request, timeout)
        except CallFailed as failed:
            self._count_load(failed)
            raise

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

    def _count_load(self, failed: CallFailed) -> None:
        if failed.overloaded:
            self._caller.throttle.record(accepted=False)
        elif failed.action is not Action.RETRY:  # else nobody knows whether the server has seen it at all
            self._caller.throttle.record(accepted=True)

    def _may_succeed_later(self, error: BaseException) -> bool:
        if not isinstance(error, CallFailed):
            return False
        error.__traceback__ = None
        if error.action is Action.RETRY_THEN_BISECT:
            self._doubts_left -= 1
            return self._doubts_left > 0 and not self._caller.budget.take()
        return error.action is Action.RETRY

    def _is_over(self, state: RetryCallState) -> bool:
        left = self._left()
        return self._is_last_try or left <= self._asked_to_wait()

    def _rest(self, seconds: float) -> None:
        """Wait before the next try: no less than the server asks for, and no longer than it is needed."""
        failed_at, left, least = self._caller.clock(), self._left(), self._asked_to_wait()
        if seconds >= left:  # a last try, which needs some time, too
            self._is_last_try = True
            seconds = max(least, left / 2)
        if least:
            self._hold(least)
        end = failed_at + seconds
        while (left := end - self._caller.clock()) > 0 and not self._caller.has_success_since(failed_at):
            self._caller.sleep(min(left, _LOOK_SECONDS))

    def _asked_to_wait(self) -> float:
        return asked_to_wait(self._last) if self._last else 0.0

    def _fail_at_the_deadline(self, state: RetryCallState) -> Made:
        failed = state.outcome.exception() if state.outcome else None
        assert isinstance(failed, CallFailed)  # noqa: S101 - nothing else is tried again
        asked, left = asked_to_wait(failed), self._left()
        why = self._efforts()
        if asked >= left > 0:
            why = f"the server asks to wait {asked:,.0f} s, and {_seconds(left)} are left; {why}"
        raise self._after(failed, Action.RETRY, why)

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
