"""The groups of flags, each without a pipeline."""

from __future__ import annotations

from collections import Counter

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from options import (
    GROUPS,
    BatchingOptions,
    EngineOptions,
    ModelOptions,
    SinkOptions,
    SourceOptions,
    parse,
)
from options.flags import FlagGroup
from transforms.errors import UsageError
from transforms.predictors.engines.base import DEFAULT_TOLERANCE

NEEDED = ["--input", "a.png", "--model", "model", "--output", "out"]


@pytest.mark.parametrize(
    ("group", "flags", "problems"),
    [
        (SourceOptions, ["--input", "a"], []),
        (SourceOptions, [], ["--input is missing: say what to predict on, e.g. --input 'images/*.png'"]),
        (SourceOptions, ["--input", ""], ["--input must not be empty; got ''"]),
        (ModelOptions, ["--model", "m"], []),
        (ModelOptions, [], ["--model is missing: give the folder of a SavedModel"]),
        (
            BatchingOptions,
            ["--min_batch_size", "9", "--max_batch_size", "8"],
            ["--min_batch_size 9 is above --max_batch_size 8; lower the one or raise the other"],
        ),
        (BatchingOptions, ["--min_batch_size", "8", "--max_batch_size", "8"], []),
        (ModelOptions, ["--model", "m", "--model_inputs", "a=1", "--model_inputs", "b=1"], []),
        (
            ModelOptions,
            ["--model", "m", "--model_inputs", "a=1", "--model_inputs", "b=1", "--model_inputs", "a=2"],
            ["--model_inputs a is given 2 values; give it one"],
        ),
        (EngineOptions, ["--engine", "auto", "--engine_tolerance", "0"], []),
        (
            EngineOptions,
            ["--engine_tolerance", "0.0001"],
            [
                "--engine_tolerance 0.0001 has no effect with --engine tensorflow; choose another engine, or "
                "leave it out"
            ],
        ),
        (SinkOptions, ["--output", "o"], []),
        (SinkOptions, [], ["--output is missing: give a folder for the predictions"]),
    ],
)
def test_a_group_tells_what_is_wrong_with_it(
    group: type[PipelineOptions], flags: list[str], problems: list[str]
) -> None:
    view = group(flags)
    assert isinstance(view, FlagGroup)
    assert view.validate() == problems


def test_a_tolerance_that_is_not_given_is_the_usual_one() -> None:
    assert EngineOptions([]).tolerance == DEFAULT_TOLERANCE
    assert EngineOptions(["--engine", "auto", "--engine_tolerance", "0"]).tolerance == 0


@pytest.mark.parametrize(
    ("output", "prefix"),
    [
        ("out", "out/predictions"),
        ("out/", "out/predictions"),
        ("out//", "out/predictions"),
        (".", "./predictions"),
        ("..", "../predictions"),
        ("gs://bucket/out", "gs://bucket/out/predictions"),
        ("out/run1-", "out/run1-predictions"),
        ("out/run1_", "out/run1_predictions"),
        ("out/run1.", "out/run1.predictions"),
    ],
)
def test_an_output_is_a_folder_or_a_prefix(output: str, prefix: str) -> None:
    assert prefix in SinkOptions(["--output", output]).files


def test_each_flag_is_defined_once_and_is_none_of_beam_s() -> None:
    own = Counter(flag.name for group in GROUPS for flag in group.FLAGS)
    assert set(own.values()) == {1}
    groups = {group for group in PipelineOptions.__subclasses__() if not issubclass(group, FlagGroup)}
    beams = {name for group in groups for name in vars(group([])._visible_options)}
    assert not beams & own.keys()


def test_dataflow_s_workers_need_places_and_packages_that_they_can_reach() -> None:
    with pytest.raises(UsageError) as raised:
        parse(["--input", "@a.csv", "--model", "gs://b/m", "--output", "out", "--runner", "DataflowRunner"])
    assert raised.value.problems == [
        "--input @a.csv is on this machine, and Dataflow's workers are not: copy it to gs://",
        "--output out is on this machine, and Dataflow's workers are not: write to gs://BUCKET/FOLDER, "
        "bigquery:PROJECT.DATASET.TABLE, or pubsub:TOPIC",
        "Dataflow's workers have no beam-predict: pass --setup_file setup.py, or --sdk_container_image "
        "with an image that has it",
    ]
    parse(
        [
            *("--input", "@gs://b/a.csv", "--model", "gs://b/m", "--output", "gs://b/out"),
            *("--runner", "DataflowRunner", "--setup_file", "setup.py"),
        ]
    )


def test_beam_s_own_flags_are_passed_on() -> None:
    options = parse([*NEEDED, "--direct_num_workers", "2", "--job_name=digits"])
    assert options.get_all_options()["direct_num_workers"] == 2
    assert options.get_all_options()["job_name"] == "digits"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as raised:
        parse(["--inputs", "x", "--max_batch_size", "0", "--output_format", "xml"])
    told = "\n".join(raised.value.problems)
    for part in ("--inputs; did you mean --input?", "--input is missing", "--max_batch_size must", "'xml'"):
        assert part in told


def test_a_flag_without_its_value_is_told() -> None:
    with pytest.raises(UsageError, match="--input"):
        parse(["--model", "m", "--input"])
