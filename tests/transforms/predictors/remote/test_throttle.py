"""Sending less to a server that refuses most requests."""

from __future__ import annotations

import random

import pytest

from tests.transforms.predictors.remote.simulated_time import SimulatedTime
from transforms.predictors.remote.throttle import Throttle


@pytest.fixture
def time() -> SimulatedTime:
    return SimulatedTime()


def throttle_after(time: SimulatedTime, accepts: int, rejections: int, number: float = 0.5) -> Throttle:
    throttle = Throttle(time.clock, lambda: number)
    for accepted in (True,) * accepts + (False,) * rejections:
        throttle.record(accepted=accepted)
    return throttle


@pytest.mark.parametrize(
    ("accepts", "rejections", "probability"),
    [
        (0, 0, 0),
        (0, 1, 1 / 2),
        (0, 99, 99 / 100),
        (10, 0, 0),
        (10, 10, 0),
        (10, 30, 20 / 41),
        (1, 99, 98 / 101),
    ],
)
def test_it_follows_the_formula(
    time: SimulatedTime, accepts: int, rejections: int, probability: float
) -> None:
    assert throttle_after(time, accepts, rejections).rejection_probability == probability


def test_a_server_that_accepts_half_is_not_throttled(time: SimulatedTime) -> None:
    assert throttle_after(time, 50, 50, number=0).pause() == 0


def test_what_is_held_back_is_told_when_to_ask_again(time: SimulatedTime) -> None:
    assert 0 < throttle_after(time, 0, 50).pause() < 1


def test_the_part_of_the_formula_is_held_back(time: SimulatedTime) -> None:
    throttle = Throttle(time.clock, random.Random(1).random)
    for number in range(100):
        throttle.record(accepted=number < 10)
    held_back = sum(throttle.pause() > 0 for _ in range(10_000))
    assert held_back == pytest.approx(10_000 * 80 / 101, abs=150)


def test_asking_does_not_make_the_wait_longer(time: SimulatedTime) -> None:
    throttle = throttle_after(time, 0, 10)
    before = throttle.rejection_probability
    for _ in range(1_000):
        throttle.pause()
    assert throttle.rejection_probability == before


def test_what_is_older_than_two_minutes_is_forgotten(time: SimulatedTime) -> None:
    throttle = throttle_after(time, 0, 10)
    time.sleep(60)
    throttle.record(accepted=True)
    time.sleep(59)
    assert throttle.rejection_probability == pytest.approx(9 / 12)
    time.sleep(2)
    assert throttle.rejection_probability == 0


def test_little_is_kept_however_long_it_runs(time: SimulatedTime) -> None:
    throttle = Throttle(time.clock, lambda: 0.5)
    for _ in range(10_000):
        throttle.record(accepted=True)
        time.sleep(0.5)
    assert len(throttle._buckets) <= 25
