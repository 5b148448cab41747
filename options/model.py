"""Which model predicts."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.flags import Assignment, Choice, Flag, FlagGroup, Text, Whole, add_flags
from transforms.model_sharing import MODEL_SHARINGS
from transforms.predictors.base import INPUT_KINDS
from transforms.predictors.images import Preprocessing
from transforms.predictors.saved_model import DEFAULT_SIGNATURE


class Preprocess(Text):
    """A description of what is done to images; kept as text, since options are."""

    def __init__(self) -> None:
        super().__init__("DESCRIPTION")

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        Preprocessing.parse(text)
        return text


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
            "Whether the signature takes the names of files, and reads them itself, their bytes, the images "
            "that they hold, or arrays (.npy). Not given: told by the type of the signature's input, and by "
            "its name (filenames, image_bytes).",
            Choice(INPUT_KINDS),
        ),
        Flag(
            "preprocess",
            "How images become numbers, for a signature that takes numbers, where the model has no signature "
            "`preprocess`: size=WIDTHxHEIGHT (else the signature's), resize=stretch|pad|crop, "
            "scale=0..1|-1..1|0..255, or mean=A/B/C and deviation=A/B/C, color=rgb|bgr|gray, "
            "orientation=ignore|apply (EXIF's), max_pixels=N; with commas between them.",
            Preprocess(),
        ),
        Flag("item_input", "The input that takes the file, where the signature has several.", Text("NAME")),
        Flag(
            "model_inputs",
            "The value of another input, for all files. Inputs that are not given one take the attribute of "
            "their name.",
            Assignment(),
            repeated=True,
        ),
        Flag(
            "model_version",
            "Which version of the model, where --model is a folder of numbered versions. Not given: the "
            "newest that is complete.",
            Whole(0),
        ),
        Flag(
            "model_poll_interval",
            "How often to look for a newer version while the pipeline runs, and to swap the model for it; 0 "
            "to stay with the one that is the newest at the start.",
            Whole(0, "SECONDS"),
            0,
        ),
        Flag(
            "model_sharing",
            "Whether the model is loaded once for each process, or once for each machine, which saves memory "
            "where several processes work on it.",
            Choice(MODEL_SHARINGS),
            MODEL_SHARINGS[0],
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        missing = [] if self.model else ["--model is missing: give the folder of a SavedModel"]
        return missing + super().validate()
