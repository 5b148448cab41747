"""What computes the model."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Choice, Flag, FlagGroup, Share, add_flags
from transforms.predictors.engines.base import DEFAULT_TOLERANCE, ENGINE_CHOICES, TENSORFLOW


class EngineOptions(FlagGroup, PipelineOptions):
    """The engine, and how exact it must be."""

    TITLE = "The engine"
    FLAGS = (
        Flag(
            "engine",
            "What computes a TensorFlow model whose signature takes numbers. openvino and litert must be "
            "installed, and reproduce TensorFlow's outputs on the first batch; auto takes the fastest of "
            "those that are installed and do.",
            Choice(ENGINE_CHOICES),
            TENSORFLOW,
        ),
        Flag(
            "engine_tolerance",
            "How far the outputs of another engine may be from TensorFlow's, relative to the largest value "
            "of the output in the batch; of whole numbers and texts, which share may differ. Not given: "
            f"{DEFAULT_TOLERANCE}.",
            Share("TOLERANCE"),
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        problems = super().validate()
        if self.engine == TENSORFLOW and self.given("engine_tolerance"):
            problems.append(
                f"--engine_tolerance {self.engine_tolerance:g} has no effect with --engine {TENSORFLOW}; "
                "choose another engine, or leave it out"
            )
        return problems

    @property
    def tolerance(self) -> float:
        """How far the outputs of another engine may be from TensorFlow's."""
        return DEFAULT_TOLERANCE if self.engine_tolerance is None else float(self.engine_tolerance)
