"""From records to several places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.records import DeadLetter
from transforms.results import Results
from transforms.schemas import Record

Sink = beam.PTransform[PCollection[Record], Any]


@dataclass(eq=False)
class ToAll(beam.PTransform[PCollection[Record], PCollection[DeadLetter]]):
    """Write each record to every one of several places.

    Attributes:
        sinks: `ToFiles`, `ToBigQuery`, `ToPubSub`; those that can refuse records return `Results`.
    """

    sinks: Sequence[Sink]

    def __post_init__(self) -> None:
        """Refuse to write nowhere."""
        super().__init__()
        if not self.sinks:
            raise ValueError("sinks is empty; records must go somewhere")

    def expand(self, records: PCollection[Record]) -> PCollection[DeadLetter]:
        """Return a dead letter for each record that a place has refused."""
        written = [records | label >> sink for label, sink in self._labelled()]
        refused = tuple(output.dead_letters for output in written if isinstance(output, Results))
        collected: PCollection[DeadLetter] = refused | "Refused" >> beam.Flatten(pipeline=records.pipeline)
        return collected

    def _labelled(self) -> Sequence[tuple[str, Sink]]:
        """Name each sink by its kind, and by its number among those of its kind from the second on."""
        seen: Counter[str] = Counter()
        labelled = []
        for sink in self.sinks:
            kind = type(sink).__name__
            seen[kind] += 1
            labelled.append((kind if seen[kind] == 1 else f"{kind}{seen[kind]}", sink))
        return labelled
