"""Outputs that people can read."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Flag, FlagGroup, Text, Whole, add_flags
from transforms.predictors.top_classes import DEFAULT_TOP_K


class PostprocessingOptions(FlagGroup, PipelineOptions):
    """What is added to the model's outputs."""

    TITLE = "Readable outputs"
    FLAGS = (
        Flag(
            "class_names",
            "A file with the names of the model's classes, one a line, in the order of its scores, local or "
            "gs://. The best classes are added to the outputs: top_names and top_scores, the best first.",
            Text("FILE"),
        ),
        Flag(
            "top_k",
            "How many classes to add, or all where the model has fewer. Without --class_names, their "
            f"positions are added, from 0: top_indexes and top_scores. Not given: {DEFAULT_TOP_K} with "
            "--class_names, else none.",
            Whole(),
        ),
        Flag(
            "scores_output",
            "The output that has a score for each class, where the signature has several vectors.",
            Text("NAME"),
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        problems = super().validate()
        if self.scores_output and self.count is None:
            problems.append(
                f"--scores_output {self.scores_output} has no effect by itself; pass --class_names or --top_k"
            )
        return problems

    @property
    def count(self) -> int | None:
        """How many classes to add; None to add none."""
        if self.top_k is None and self.class_names is None:
            return None
        count: int = self.top_k or DEFAULT_TOP_K
        return count
