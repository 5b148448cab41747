"""What every step returns: its results, and a dead letter for each input that has none."""

from __future__ import annotations

from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import PCollection

from transforms.coders import DeadLetterCoder, FileRefCoder, PredictionCoder
from transforms.records import DeadLetter, FileRef, Prediction

DEAD_LETTERS = "dead_letters"
"""The tag of the dead letters among a step's outputs."""

registry.register_coder(FileRef, FileRefCoder)
registry.register_coder(DeadLetter, DeadLetterCoder)
registry.register_coder(Prediction, PredictionCoder)


class Results(NamedTuple):
    """The outputs of a step.

    Attributes:
        main: What goes on to the next step.
        dead_letters: `DeadLetter`s of the inputs that end here.
    """

    main: PCollection[Any]
    dead_letters: PCollection[DeadLetter]


def results_of(collection: PCollection[Any], label: str, step: beam.ParDo, main_type: Any) -> Results:
    """Apply a step that yields results of a type, and dead letters under their tag."""
    typed = step.with_output_types(main_type, **{DEAD_LETTERS: DeadLetter})
    outputs = collection | label >> typed.with_outputs(DEAD_LETTERS, main="main")
    return Results(outputs["main"], outputs[DEAD_LETTERS])
