"""What the checks of a job on Dataflow have found, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.dataflow.checklist import Outcome
from transforms.predictors.base import Predictor

_MISSING = " is missing:"


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
            key = problem.partition(_MISSING)[0]
            problems += [] if key in told else [problem]
            told |= {key} if _MISSING in problem else set()
        left = "it is missing" if outcome.problems and not problems else outcome.not_checked
        kept.append(replace(outcome, problems=problems, not_checked=left))
    return kept
