"""What a model is converted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from options.flags import Choice, Flag, FlagGroup, Text
from transforms.predictors.convert import INT8, QUANTIZATIONS


class ConversionOptions(FlagGroup):
    """The flags of `beam-predict convert` beside those of the model; no flags of a pipeline."""

    TITLE = "The conversion"
    FLAGS = (
        Flag("to", "The format to convert to.", Choice(tuple(QUANTIZATIONS))),
        Flag(
            "quantize",
            "How numbers become smaller: float16 halves the weights; dynamic keeps the weights in 8 bits; "
            "int8 computes in 8 bits too, for which it needs --representative. Inputs and outputs stay what "
            "they are. Not given: nothing is quantized. --to openvino takes float16 only.",
            Choice(QUANTIZATIONS["tflite"]),
        ),
        Flag(
            "representative",
            "Files like those that will be predicted on, for --quantize int8: a glob, or a list "
            "(@files.csv). A hundred are enough; at most 500 are read.",
            Text("FILES"),
        ),
        Flag(
            "output",
            "Where to write: the file for tflite, the folder for openvino, local or gs://.",
            Text("PATH"),
        ),
        Flag(
            "compare",
            "Files on which the converted model is compared with the original: a glob, or a list "
            "(@files.csv). Not given: those of --representative.",
            Text("FILES"),
        ),
        Flag("overwrite", "Replace what --output holds."),
    )

    # As with Beam's options, what a flag holds is known when it was validated.
    to: Any
    quantize: Any
    representative: Any
    output: Any
    compare: Any
    overwrite: bool

    def __init__(self, values: Mapping[str, Any]) -> None:
        for flag in self.FLAGS:
            setattr(self, flag.name, values[flag.name])

    @property
    def compared_on(self) -> Any:
        """The files to compare on, if any."""
        return self.compare or self.representative

    def validate(self) -> list[str]:
        """See `FlagGroup.validate`."""
        return [*self._missing(), *super().validate(), *self._contradictions()]

    def _missing(self) -> Iterator[str]:
        if self.to is None:
            yield f"--to is missing: give {' or '.join(QUANTIZATIONS)}"
        if self.output is None:
            yield "--output is missing: say where the converted model is written"

    def _contradictions(self) -> Iterator[str]:
        if self.given("to") and self.given("quantize") and self.quantize not in QUANTIZATIONS[self.to]:
            yield f"--quantize {self.quantize}: --to {self.to} takes {', '.join(QUANTIZATIONS[self.to])} only"
        elif self.quantize == INT8 and self.representative is None:
            yield "--quantize int8 needs --representative: files like those that will be predicted on"
        if self.quantize != INT8 and self.representative is not None:
            yield "--representative has no effect without --quantize int8; leave it out, or call it --compare"
