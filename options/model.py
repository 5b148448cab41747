"""Which model predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from options.endpoint import EndpointOptions
from options.flags import Assignment, Choice, Flag, FlagGroup, Text, Whole, add_flags
from transforms.model_sharing import MODEL_SHARINGS
from transforms.predictors.base import INPUT_KINDS
from transforms.predictors.preprocessing import MAX_PIXELS, Preprocessing
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
            "The model, local or gs://: the folder of a TensorFlow SavedModel, which holds saved_model.pb; a "
            "folder of numbered versions, as TensorFlow Serving takes it; a Keras file (.keras, .h5); or a "
            "TensorFlow Lite file (.tflite).",
            Text("PATH"),
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
            "`preprocess`: parts with commas between them, such as size=224x224,scale=-1..1. There are: "
            "size=WIDTHxHEIGHT (else the signature's); resize=stretch|pad|crop (else stretch); "
            "scale=0..1|-1..1|0..255 (else 0..1, or 0..255 where a mean or a deviation is given); "
            "mean=A/B/C, then subtracted, and deviation=A/B/C, then divided by (or one number for all "
            "channels); color=rgb|bgr|gray (else rgb, or gray where the signature has one channel); "
            "layout=hwc|chw (else told by the signature's shape); orientation=ignore|apply (EXIF's; else "
            f"ignore); max_pixels=N, above which an image is not decoded (else {MAX_PIXELS // 10**6} "
            "million).",
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
            "where several processes work on it. Not given: machine where Dataflow's workers have a GPU, "
            "which one process then uses for all; else process.",
            Choice(MODEL_SHARINGS),
        ),
    )

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        add_flags(parser, cls.FLAGS)

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        elsewhere = self.view_as(EndpointOptions).endpoint
        missing = [] if self.model or elsewhere else ["--model is missing: give the folder of a SavedModel"]
        return [*missing, *super().validate(), *self._repeated_inputs()]

    def _repeated_inputs(self) -> Iterator[str]:
        if self.given("model_inputs"):
            for name, count in Counter(item.partition("=")[0] for item in self.model_inputs).items():
                if count > 1:
                    yield f"--model_inputs {name} is given {count} values; give it one"
