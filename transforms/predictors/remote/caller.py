"""Sending requests until they are answered, or until it is certain enough that they will not be."""

from __future__ import annotations

import random as random_numbers
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from transforms.predictors.remote.backoff import backoff
from transforms.predictors.remote.repeated_call import RepeatedCall
from transforms.predictors.remote.request_report import RequestReport, RequestTally
from transforms.predictors.remote.retry_budget import RetryBudget
from transforms.predictors.remote.throttle import Throttle
from transforms.predictors.remote.wire import Action, CallFailed, Reply, Request, Transport

Made = TypeVar("Made")


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

    What is sent again because it may hold an item which the server cannot bear (`RETRY_THEN_BISECT`) does not
    wait for the budget: without a token its parts are sent at once. A few such items would use up all tokens.

    Args:
        transport: Sends a request once.
        policy: When and how often to send again.
        clock: Tells the time, in seconds.
        sleep: Waits, for some seconds; None for until then, or until the caller is closed.
        random: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        transport: Transport,
        policy: RetryPolicy = RetryPolicy(),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self.transport = transport
        self.policy = policy
        self.clock = clock
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self.backoff = backoff(policy.first_delay, policy.max_delay, random)
        self.budget = RetryBudget(policy.retry_share, clock)
        self.throttle = Throttle(clock, random)
        self.tally = RequestTally()
        self._last_success = clock()

    def call(
        self, request: Request, deadline: float, read: Callable[[Reply], Made], *, is_suspect: bool = False
    ) -> Made:
        """Send a request until there is an answer that can be used, and return what it says.

        Args:
            request: What to send.
            deadline: The time, of the clock, after which nothing is sent, and at which a try is ended.
            read: Reads an answer, and raises `CallFailed` for one that cannot be used: it counts as none.
            is_suspect: Whether it is a part of what has failed because of one of its items, perhaps: then it
                is not sent again to see whether the server can bear it after all.

        Raises:
            CallFailed: There is no answer. What is left to do is `SPLIT`, `BISECT` or `GIVE_UP`; or `RETRY`
                where the deadline is over, or too near for the wait that the server asks for, or where the
                caller was closed.
        """
        quick_tries = 1 if is_suspect else self.policy.quick_tries
        return RepeatedCall(self, request, deadline, read, quick_tries).run()

    def new_reports(self) -> list[RequestReport]:
        """Return what has become of requests since this was last called."""
        return self.tally.take()

    def close(self) -> None:
        """Send nothing more, and close the connections; whoever waits for his turn waits no longer."""
        self._closed.set()
        self.transport.close()

    def sleep(self, seconds: float) -> None:
        """Wait, unless the caller is closed.

        Raises:
            CallFailed: It is.
        """
        self._sleep(seconds)
        self.check_open()

    def check_open(self) -> None:
        """See that the caller is not closed.

        Raises:
            CallFailed: It is.
        """
        if self._closed.is_set():
            raise CallFailed("nobody waits for the answer any more", action=Action.RETRY, status="closed")

    def count_success(self) -> None:
        """Remember that the server has answered a request, and when."""
        self._last_success = self.clock()

    def has_success_since(self, moment: float) -> bool:
        """Tell whether a request was answered after some moment, and the server does not reject most."""
        return self._last_success > moment and not self.throttle.rejection_probability
