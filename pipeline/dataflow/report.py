"""What the checks of a job on Dataflow have found, for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.dataflow.checklist import Outcome
from transforms.predictors.base import Predictor

SERVICE_ACCOUNT = "service account"
"""The check that leaves to the reader, of each job, what nobody but an administrator can ask."""

_MISSING = " is missing:"
_SOURCES = ("--input", "--input_subscription")
"""Flags of which a job has one: where one is said to be missing, the mode tells which."""


@dataclass
class Report:
    """What was found.

    Attributes:
        outcomes: Of each check.
        predictor: The predictor that the flags ask for; None where something is wrong with it.
    """

    outcomes: Sequence[Outcome]
    predictor: Predictor | None

    @property
    def problems(self) -> list[str]:
        """All that is wrong."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]

    @property
    def reasons(self) -> list[str]:
        """Why nothing is started: all that is wrong, and what may be wrong beside it."""
        late = [f"{each.name}: {each.not_checked}" for each in self.outcomes if each.unfinished]
        return [*self.problems, *late]

    @property
    def open(self) -> list[str]:
        """What is not checked, but for what never is."""
        told = [each for each in self.outcomes if each.not_checked and each.name != SERVICE_ACCOUNT]
        return [f"{each.name}: {each.not_checked}" for each in told]

    def tell_open(self) -> None:
        """Write to standard error what may still be wrong with a job that is to be started."""
        for left in self.open:
            print(f"not checked: {left}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        """Write it for a person."""
        return "\n".join(map(str, self.outcomes))


def told_once(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Leave out that a flag is missing where another check has told it."""
    told: set[str] = set()
    kept = []
    for outcome in outcomes:
        problems = []
        for problem in outcome.problems:
            flag = problem.partition(_MISSING)[0]
            key = _SOURCES[0] if flag in _SOURCES else flag
            problems += [] if key in told else [problem]
            told |= {key} if _MISSING in problem else set()
        left = "it is missing" if outcome.problems and not problems else outcome.not_checked
        kept.append(replace(outcome, problems=problems, not_checked=left))
    return kept
