"""Trying engines on real batches: do they compute the same, and how fast?"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from transforms.errors import BeamPredictError
from transforms.predictors.base import Signature
from transforms.predictors.engines.base import TENSORFLOW, Call, Clock, EngineWish
from transforms.predictors.engines.differences import Difference, difference
from transforms.predictors.engines.report import EngineReport
from transforms.predictors.engines.sliced import batched_inputs
from transforms.predictors.functions import Tensors

ROUNDS = 5
FEWEST_ROUNDS = 2
SECONDS = 10.0
"""A trial of slow models takes little more, but at least `FEWEST_ROUNDS`."""

# The lines in the long messages of OpenVINO's and LiteRT's converters that say why.
_TELLING = re.compile(
    r"No conversion rule found for operations: .*|Unsupported data type: .*|"
    r"'tf\.\w+' op is neither a custom op nor a flex op"
)
_PLACE = re.compile(r"Exception from src/|Check '.*' failed at src/")


class Differs(BeamPredictError):
    """An engine computes something else than TensorFlow."""


def try_engines(
    reference: Call,
    candidates: Mapping[str, Call],
    inputs: Tensors,
    signature: Signature,
    *,
    wish: EngineWish,
    clock: Clock = time.perf_counter,
) -> EngineReport:
    """Compare engines with TensorFlow, and time those that compute the same.

    They are compared on a batch, and on the same batch with its rows repeated to the usual size, which is
    timed as well.

    Args:
        reference: TensorFlow.
        candidates: The engines, by name.
        inputs: A real batch, which the reference can compute.
        signature: Of the model.
        wish: The usual size, and the largest difference that is taken for none.
        clock: Tells seconds.

    Returns:
        The fastest, and what was found out about each.
    """
    usual = repeated(inputs, signature, wish.batch_size)
    pairs = [(batch, reference(batch)) for batch in ((inputs,) if usual is inputs else (inputs, usual))]
    differences: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, call in candidates.items():
        try:
            differences[name] = max(_compared(call, *pair, wish.tolerance) for pair in pairs)
        except Exception as error:  # each engine raises its own
            refused[name] = reason(error)
    calls = {TENSORFLOW: reference, **{name: candidates[name] for name in differences}}
    seconds = interleaved_medians({name: partial(call, usual) for name, call in calls.items()}, clock)
    return EngineReport(
        engine=min(seconds, key=seconds.__getitem__),
        batch_size=_rows(usual, signature),
        speedups={name: seconds[TENSORFLOW] / seconds[name] for name in differences},
        differences=differences,
        refused=refused,
    )


def interleaved_medians(
    calls: Mapping[str, Callable[[], Any]], clock: Clock = time.perf_counter, rounds: int = ROUNDS
) -> dict[str, float]:
    """Time calls in turns, so that whatever else the machine does slows all of them alike.

    Args:
        calls: What to time; each should have been called before, since a first call may have to prepare.
        clock: Tells seconds.
        rounds: How often; slow calls are called less often.

    Returns:
        The median of each, in seconds; nothing is timed where there is but one.
    """
    if len(calls) == 1:
        return dict.fromkeys(calls, 1.0)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    start = clock()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and clock() - start > SECONDS:
            break
        for name, call in calls.items():
            begin = clock()
            call()
            taken[name].append(clock() - begin)
    return {name: statistics.median(times) for name, times in taken.items()}


def repeated(inputs: Tensors, signature: Signature, batch_size: int) -> Tensors:
    """Repeat the rows of a batch up to a size, where the inputs take any number of rows."""
    batched = batched_inputs(signature)
    if not batched or len(inputs[batched[0]]) == batch_size:
        return inputs
    rows = np.arange(batch_size) % len(inputs[batched[0]])
    return {**inputs, **{name: inputs[name][rows] for name in batched}}


def reason(error: Exception) -> str:
    """Say in one line why an engine cannot be used."""
    text = str(error)
    telling = _TELLING.search(text)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _PLACE.match(line)]
    return telling.group() if telling else [*lines, type(error).__name__][0]


def _compared(call: Call, inputs: Tensors, expected: Tensors, tolerance: float) -> float:
    found: Difference = difference(call(inputs), expected)
    if not found.value <= tolerance:
        raise Differs(
            f"its output {found.output!r} differs from {TENSORFLOW}'s by {found.value:.2g}, and "
            f"--engine_tolerance is {tolerance:g}"
        )
    return found.value


def _rows(inputs: Tensors, signature: Signature) -> int:
    return max((len(inputs[spec.name]) for spec in signature.inputs if spec.shape != ()), default=1)
