"""What a job on Dataflow has beyond Beam's own flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.resources import MinRamHint

from options.accelerators import ACCELERATOR_EXAMPLE, Accelerator
from options.flags import Flag, FlagGroup, Text, add_flags

RIGHT_FITTING = "enable_streaming_rightfitting"
"""The experiment without which hints have no effect in streaming."""


class Memory(Text):
    """An amount of memory, as Beam's resource hints take it; kept as text."""

    def __init__(self) -> None:
        super().__init__("SIZE")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        try:
            MinRamHint.parse(super().parse(text))
        except ValueError as error:
            raise ValueError("must be a number with a unit, such as 16GB") from error
        return text


class DataflowOptions(FlagGroup, PipelineOptions):
    """What the step that predicts needs, and what the launching process does."""

    TITLE = "On Dataflow"
    FLAGS = (
        Flag(
            "predict_accelerator",
            "The GPU of the workers that predict; those of the other steps have none (right fitting). It may "
            "name their machines, such as ';machine_type:n1-standard-4'. In streaming it needs "
            f"--experiments={RIGHT_FITTING}, which run_dataflow.sh adds. For a GPU on every worker: "
            f"--dataflow_service_options 'worker_accelerator={ACCELERATOR_EXAMPLE}'.",
            Accelerator(),
        ),
        Flag("predict_min_ram", "The least memory of the workers that predict, such as 16GB.", Memory()),
        Flag("no_wait", "End when the job is accepted. Otherwise a job in batch is waited for."),
        Flag(
            "skip_preflight",
            "Start without looking first whether what the flags name is there. What is wrong with the flags "
            "themselves, and with the model, is told all the same, and on Dataflow that a bucket to stage in "
            "is missing.",
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    @property
    def predict_hints(self) -> Mapping[str, str]:
        """What Beam calls the resource hints of the step that predicts."""
        hints = {"accelerator": self.predict_accelerator, "min_ram": self.predict_min_ram}
        return {name: value for name, value in hints.items() if value is not None}
