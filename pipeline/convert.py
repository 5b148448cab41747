"""`beam-predict convert`: a model as a file of another engine's, compared with the original."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from options import ModelOptions
from options.conversion import ConversionOptions
from pipeline.exit_codes import DONE
from pipeline.make_predictor import make_wishes
from pipeline.model_command import ChosenModel, choose_model, make_parser, parse, view
from pipeline.sample_files import read_listed
from transforms import storage
from transforms.errors import ItemError, ModelError, ParseError, ReadError, UsageError
from transforms.predictors.convert import (
    OPENVINO,
    OPENVINO_MODEL,
    TFLITE,
    Comparison,
    ConvertedModel,
    batches_of,
    compare,
    convert_model,
    convertible_part,
    inputs_of,
)
from transforms.predictors.engines.base import DEFAULT_BATCH_SIZE, is_installed
from transforms.predictors.engines.choose_engine import ENGINES, why_not_convertible
from transforms.predictors.engines.trial import reason
from transforms.predictors.functions import Tensors
from transforms.predictors.local import LocalPredictor
from transforms.predictors.open_model import open_model
from transforms.sources.from_inputs import list_files

MAX_REPRESENTATIVE = 500
MAX_FILE_BYTES = 256 << 20

_TITLES = {TFLITE: "TensorFlow Lite", OPENVINO: "OpenVINO"}
_ENGINES = {TFLITE: ENGINES["litert"], OPENVINO: ENGINES["openvino"]}


def main(arguments: Sequence[str]) -> int:
    """Convert the model that a command line names, compare the two, and print how well they agree.

    Returns:
        The exit code: 0 when the converted model was written.

    Raises:
        UsageError: The flags are wrong, or a check before the start failed.
        ModelError: The model cannot be converted.
        SystemExit: The help was asked for, and printed.
    """
    model, wanted = _parse(arguments)
    chosen, predictor = _check(model, wanted)
    predictor.load()
    converted = _convert(predictor, wanted)
    _write(converted, wanted.output)
    sizes = sum(chosen.file_sizes()), sum(map(len, converted.files.values()))
    print(f"{predictor.model} {predictor.signature.name} as {_TITLES[wanted.to]}: {wanted.output}")
    lines = [("size", f"{sizes[1]:,} bytes; the original has {sizes[0]:,}")]
    if wanted.compared_on is not None:
        lines += lines_of(_compare(predictor, converted, wanted.compared_on))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"  {name:<{width}}  {value}")
    return DONE


def _parse(arguments: Sequence[str]) -> tuple[ModelOptions, ConversionOptions]:
    parser = make_parser(
        prog="beam-predict convert",
        description="Convert a TensorFlow model, and compare the converted one with it.",
        usage="%(prog)s --model PATH --to tflite|openvino --output PATH [flags]",
        groups={ConversionOptions.TITLE: ConversionOptions.FLAGS},
    )
    values, problems = parse(parser, arguments)
    model, wanted = view(values, ModelOptions), ConversionOptions(values)
    problems += model.validate() + wanted.validate()
    if problems:
        raise UsageError(problems)
    return model, wanted


def _check(model: ModelOptions, wanted: ConversionOptions) -> tuple[ChosenModel, LocalPredictor]:
    problems = [*_engine_problems(wanted), *_file_problems(wanted), *_output_problems(wanted)]
    opened = None
    try:
        chosen = choose_model(model)
        predictor = _open(chosen, model, feeds=wanted.compared_on is not None)
        problem = why_not_convertible(convertible_part(predictor.function))
        problems += [f"--to {wanted.to}: {problem}"] if problem else []
        opened = chosen, predictor
    except ModelError as error:
        problems.insert(0, str(error))
    if problems or opened is None:
        raise UsageError(problems)
    return opened


def _open(chosen: ChosenModel, model: ModelOptions, feeds: bool) -> LocalPredictor:
    """Make the predictor; a model that is fed with no file need not tell how its images are prepared."""
    path, wishes = chosen.found.path, make_wishes(model)
    try:
        return open_model(path, model.signature, wishes)
    except ModelError as error:
        if feeds:
            raise
        try:
            return open_model(path, model.signature, replace(wishes, kind="arrays"))
        except ModelError:
            raise error from None


def _engine_problems(wanted: ConversionOptions) -> Iterator[str]:
    engine = _ENGINES[wanted.to]
    needed = wanted.to == OPENVINO or wanted.compared_on is not None
    if needed and not is_installed(engine):
        yield f"--to {wanted.to}: {engine.package} is not installed; pip install {engine.package}"


def _file_problems(wanted: ConversionOptions) -> Iterator[str]:
    for flag, named in (("--representative", wanted.representative), ("--compare", wanted.compare)):
        first = next(list_files(named), None) if named else None
        if isinstance(first, ItemError) and not isinstance(first, ParseError):
            yield f"{flag} {named}: {first}"


def _output_problems(wanted: ConversionOptions) -> Iterator[str]:
    written = wanted.output if wanted.to == TFLITE else storage.join(wanted.output, OPENVINO_MODEL)
    try:
        if storage.exists(written) and not wanted.overwrite:
            yield f"--output: there is already {written}; give another path, or pass --overwrite"
    except ReadError as error:
        yield f"--output {wanted.output}: {error}; give another path"


def _convert(predictor: LocalPredictor, wanted: ConversionOptions) -> ConvertedModel:
    function: Any = convertible_part(predictor.function)
    representative = itertools.islice(_inputs(predictor, wanted.representative), MAX_REPRESENTATIVE)
    try:
        return convert_model(function, wanted.to, wanted.quantize, list(representative))
    except Exception as error:  # each converter raises its own
        raise ModelError(
            f"--to {wanted.to}: signature {function.signature} cannot be converted: {reason(error)}"
        ) from error


def _write(converted: ConvertedModel, output: str) -> None:
    for name, content in converted.files.items():
        with storage.create(storage.join(output, name) if name else output) as file:
            file.write(content)


def _compare(predictor: LocalPredictor, converted: ConvertedModel, named: str) -> Comparison:
    function = convertible_part(predictor.function)
    batches = batches_of(_inputs(predictor, named), function.signature, DEFAULT_BATCH_SIZE)
    try:
        return compare(function.call, converted.compile(), batches, function.signature)
    except ValueError as error:
        raise ModelError(f"{named}: {error}") from error


def _inputs(predictor: LocalPredictor, named: str | None) -> Iterator[Tensors]:
    """Yield what files give to the model; those that give nothing are told and left out."""
    for listed in list_files(named) if named else ():
        try:
            yield inputs_of(predictor, read_listed(listed, predictor.input_kind, MAX_FILE_BYTES))
        except ItemError as error:
            print(f"left out: {error}", file=sys.stderr)


def lines_of(found: Comparison) -> Iterator[tuple[str, str]]:
    """Tell what was found, as names and values."""
    yield "compared on", f"{found.items:,} file{'s' * (found.items != 1)}"
    for output, agreeing in sorted(found.agreements.items()):
        yield f"agree in {output}", _agreement(agreeing, found.decided[output], found.items)
    for output, largest in sorted(found.differences.items()):
        yield f"differ in {output}", f"by at most {largest:.2g}"
    yield "speed", f"{found.speedup:.2f} times the original's, on batches of {found.batch_size}"


def _agreement(agreeing: int, decided: int, items: int) -> str:
    if not decided:
        return "unknown: no file has a single best score"
    of = "" if decided == items else f" of the {decided:,} with a single best score"
    return f"{agreeing:,} ({agreeing / decided:.2%}){of}"
