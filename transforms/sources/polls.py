"""Something to do again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.periodicsequence import PeriodicImpulse, RebaseMode
from apache_beam.utils.timestamp import Timestamp


@dataclass(eq=False)
class Polls(beam.PTransform[PBegin, PCollection[Any]]):
    """Emit an element at the start and then every so many seconds, until the job is stopped.

    Attributes:
        seconds: Between two elements.
    """

    seconds: float

    def __post_init__(self) -> None:
        """Refuse to go on without a pause."""
        super().__init__()
        if not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds}; it must be above 0")

    def expand(self, begin: PBegin) -> PCollection[Any]:
        """Return the elements, whose values say nothing."""
        # Rebased, so that a job that was long in its queue does not begin with all that it has missed.
        ticks: PCollection[Any] = begin | "Tick" >> PeriodicImpulse(
            start_timestamp=Timestamp.now(), fire_interval=self.seconds, rebase=RebaseMode.REBASE_START
        )
        return ticks
