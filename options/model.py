"""Which model predicts."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Choice, Flag, FlagGroup, Text, add_flags
from transforms.predictors.base import INPUT_KINDS
from transforms.predictors.saved_model import DEFAULT_SIGNATURE


class ModelOptions(FlagGroup, PipelineOptions):
    """The model, and what it is fed with."""

    TITLE = "The model"
    FLAGS = (
        Flag(
            "model",
            "A TensorFlow SavedModel: the folder that holds saved_model.pb, local or gs://.",
            Text("FOLDER"),
        ),
        Flag("signature", "Which of its signatures to call.", Text("NAME"), DEFAULT_SIGNATURE),
        Flag(
            "input_kind",
            "Whether the signature takes the names of files, and reads them itself, or their bytes. Not "
            "given: told by the name of the signature's input (filenames, image_bytes).",
            Choice(INPUT_KINDS),
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        missing = [] if self.model else ["--model is missing: give the folder of a SavedModel"]
        return missing + super().validate()
