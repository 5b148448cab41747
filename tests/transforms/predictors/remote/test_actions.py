"""What becomes of the items for each row of the table of failures, with servers that really answer so.

That a server's answer is taken for what the table says is tested with the transports; here is what follows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest

from emulators.rest_faults import refuse_items, status
from emulators.tf_serving_grpc import refuse, tf_serving
from emulators.tf_serving_messages import Refused, Served
from tests.transforms.predictors.remote.remote_models import (
    LENGTHS,
    PATH,
    POISON,
    connection_to,
    counted,
    files,
    lengths_server,
    poisoned,
    sized,
    values,
)
from transforms.errors import EndpointRefused
from transforms.predictors.functions import Tensors
from transforms.predictors.remote.failures import (
    GRPC_ACTIONS,
    GRPC_BY_DETAILS,
    HTTP_ACTIONS,
    HTTP_DEFAULTS,
    http_action,
)
from transforms.predictors.remote.open_endpoint import open_endpoint
from transforms.predictors.remote.remote_predictor import RemotePredictor
from transforms.predictors.remote.wire import Action

OTHERS = {"3xx": (301, 302, 307, 308), "4xx": (402, 418, 424, 499), "5xx": (501, 505, 599)}
"""Statuses that are not listed."""

STATUSES = sorted({*HTTP_ACTIONS, *(code for codes in OTHERS.values() for code in codes)})
TOO_LARGE = "Received message larger than max (9 vs. 4)"  # gRPC's own words
BATCH = files(b"1", b"22", POISON, b"4444")


@dataclass
class Failing:
    """A server, and a predictor that asks it and has had an answer.

    Attributes:
        predictor: Is loaded.
        fail_once: Lets the next request fail, whatever is in it.
        fail_on_poison: Lets each request fail that has the poison in it.
        requests: Tells how many have come.
    """

    predictor: RemotePredictor
    fail_once: Callable[[], None]
    fail_on_poison: Callable[[], None]
    requests: Callable[[], int]


@contextlib.contextmanager
def rest(code: int) -> Iterator[Failing]:
    with lengths_server() as server:
        predictor = open_endpoint(connection_to(f"{server.address}{PATH}"))
        predictor.load()

        def fail_once() -> None:
            server.faults = [status(code)]

        def fail_on_poison() -> None:
            server.fault = refuse_items(poisoned(), code=code)

        yield Failing(predictor, fail_once, fail_on_poison, lambda: server.requests)


@contextlib.contextmanager
def over_grpc(code: str, details: str = "") -> Iterator[Failing]:
    is_poison_refused = False

    def count(inputs: Tensors) -> Tensors:
        contents = list(inputs["content"])
        if is_poison_refused and POISON in contents:
            raise Refused(code, details)
        return {"length": np.array([len(content) for content in contents], np.int64)}

    with tf_serving({"lengths": {7: {"serving_default": Served(LENGTHS, count)}}}) as server:
        predictor = open_endpoint(connection_to(f"grpc://{server.address}/lengths", None))
        predictor.load()

        def fail_once() -> None:
            server.faults = [refuse(code, details)]

        def fail_on_poison() -> None:
            nonlocal is_poison_refused
            is_poison_refused = True

        yield Failing(predictor, fail_once, fail_on_poison, lambda: len(server.received))


def check_retry(failing: Failing, name: str) -> None:
    """It is sent again, and nobody notices."""
    before = failing.requests()
    failing.fail_once()
    assert values(failing.predictor.predict(BATCH)) == [1, 2, len(POISON), 4]
    assert failing.requests() - before == 2
    assert counted(failing.predictor) == (2, 1, {name: 1})


def check_retry_then_bisect(failing: Failing, name: str) -> None:
    """One that fails once costs nothing, and one that always does itself, after three tries of all."""
    check_retry(failing, name)
    failing.fail_on_poison()
    outcomes = failing.predictor.predict(BATCH)
    assert values(outcomes) == [1, 2, "InstanceRefused", 4]
    assert attempts(outcomes[2]) == 1
    assert counted(failing.predictor) == (3 + 2 + 2, 2, {name: 3 + 2})


def check_split(failing: Failing, name: str) -> None:
    """The halves do, but for one item."""
    check_parted(failing, name, "RequestTooLarge")


def check_bisect(failing: Failing, name: str) -> None:
    """The item that is to blame is found, and nothing is sent twice."""
    check_parted(failing, name, "InstanceRefused")


def check_parted(failing: Failing, name: str, error: str) -> None:
    failing.fail_on_poison()
    outcomes = failing.predictor.predict(BATCH)
    assert values(outcomes) == [1, 2, error, 4]
    assert attempts(outcomes[2]) == 1
    assert counted(failing.predictor) == (1 + 2 + 2, 0, {name: 3})


def check_give_up(failing: Failing, name: str) -> None:
    """It is not sent again, and costs its batch, which may be tried later."""
    before = failing.requests()
    failing.fail_once()
    outcomes = failing.predictor.predict(BATCH)
    assert values(outcomes) == ["EndpointClosed"] * 4
    assert all(getattr(outcome, "retryable", False) for outcome in outcomes)
    assert failing.requests() - before <= 2  # where the version is not found, the server is asked for others
    assert values(failing.predictor.predict(BATCH)) == [1, 2, len(POISON), 4]


CHECKS: Mapping[Action, Callable[[Failing, str], None]] = {
    Action.RETRY: check_retry,
    Action.RETRY_THEN_BISECT: check_retry_then_bisect,
    Action.SPLIT: check_split,
    Action.BISECT: check_bisect,
    Action.GIVE_UP: check_give_up,
}


def attempts(outcome: Any) -> int:
    found: int = outcome.attempts
    return found


def warmed(failing: Failing) -> Failing:
    """Let the server answer once."""
    assert values(failing.predictor.predict(sized(1))) == [1]
    failing.predictor.new_reports()
    return failing


def test_every_row_of_the_tables_is_tried() -> None:
    assert set(Action) == CHECKS.keys()
    assert OTHERS.keys() == HTTP_DEFAULTS.keys()
    assert not HTTP_ACTIONS.keys() & {code for codes in OTHERS.values() for code in codes}
    assert GRPC_ACTIONS.keys() == {code.name for code in grpc.StatusCode} - {"OK"}
    assert GRPC_BY_DETAILS.keys() == {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}


@pytest.mark.parametrize("code", STATUSES)
def test_each_status_of_http_does_to_items_what_the_table_says(code: int) -> None:
    with rest(code) as failing:
        CHECKS[http_action(code)](warmed(failing), str(code))


@pytest.mark.parametrize("code", GRPC_ACTIONS)
def test_each_status_of_grpc_does_to_items_what_the_table_says(code: str) -> None:
    with over_grpc(code) as failing:
        CHECKS[GRPC_ACTIONS[code]](warmed(failing), code)


def test_a_message_that_grpc_finds_too_large_is_split() -> None:
    assert GRPC_BY_DETAILS["RESOURCE_EXHAUSTED"][2] is Action.SPLIT
    with over_grpc("RESOURCE_EXHAUSTED", TOO_LARGE) as failing:
        check_split(warmed(failing), "RESOURCE_EXHAUSTED")


def test_a_failure_of_tls_that_grpc_takes_for_a_lost_connection_is_given_up() -> None:
    assert GRPC_BY_DETAILS["UNAVAILABLE"][2] is Action.GIVE_UP
    with over_grpc("UNAVAILABLE", "CERTIFICATE_VERIFY_FAILED: unable to get issuer") as failing:
        check_give_up(warmed(failing), "tls")


@pytest.mark.parametrize("code", [code for code in STATUSES if http_action(code) is Action.GIVE_UP])
def test_the_very_first_answer_of_http_may_stop_the_job(code: int) -> None:
    with rest(code) as failing:
        failing.fail_once()
        with pytest.raises(EndpointRefused, match=f"HTTP {code}"):
            failing.predictor.predict(BATCH)


@pytest.mark.parametrize("code", [code for code in GRPC_ACTIONS if GRPC_ACTIONS[code] is Action.GIVE_UP])
def test_the_very_first_answer_of_grpc_may_stop_the_job(code: str) -> None:
    with over_grpc(code, "not you") as failing:
        failing.fail_once()
        with pytest.raises(EndpointRefused, match=f"{code}: not you"):
            failing.predictor.predict(BATCH)
