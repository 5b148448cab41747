"""deploy/metadata.json: it is current, and what Google's message type takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud.dataflow_v1beta3 import TemplateMetadata
from google.protobuf import json_format

from options import parse
from options.flags import Flag
from options.parsing import GROUPS, beam_flags
from pipeline.flex_template.metadata import BEAM_FLAGS, LEFT_OUT, REQUIRED, metadata
from pipeline.flex_template.parameters import command_line
from transforms.errors import UsageError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "metadata.json"
FLAGS = [flag for group in GROUPS for flag in group.FLAGS if flag.name not in LEFT_OUT]
NEEDED = {"input": "gs://bucket/*.png", "model": "gs://bucket/model", "output": "gs://bucket/out"}
MAX_LABEL, MAX_HELP = 60, 1_200


def parameters() -> dict[str, Any]:
    return {parameter["name"]: parameter for parameter in metadata()["parameters"]}


def read(**values: str) -> PipelineOptions:
    return parse(command_line([f"--{name}={value}" for name, value in values.items()]))


def matches(name: str, text: str) -> bool:
    return all(re.search(regex, text) for regex in parameters()[name].get("regexes", ()))


def test_the_file_is_current() -> None:
    written = json.loads(FILE.read_text())
    assert written == metadata(), "run: python -m pipeline.flex_template.metadata >deploy/metadata.json"


def test_the_file_is_what_google_takes() -> None:
    message = TemplateMetadata()
    json_format.Parse(FILE.read_text(), TemplateMetadata.pb(message))
    assert message.name == "beam-predict"
    assert message.supports_at_least_once
    for parameter in message.parameters:  # Google's own type has no rule for these
        assert 0 < len(parameter.label) <= MAX_LABEL, parameter.name
        assert 0 < len(parameter.help_text) <= MAX_HELP, parameter.name
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", parameter.name)


def test_each_flag_is_a_parameter_once() -> None:
    names = [parameter["name"] for parameter in metadata()["parameters"]]
    assert names == [flag.name for flag in (*FLAGS, *BEAM_FLAGS)]
    assert set(LEFT_OUT) <= {flag.name for group in GROUPS for flag in group.FLAGS}
    assert {f"--{flag.name}" for flag in BEAM_FLAGS} <= set(beam_flags())


def test_only_what_each_job_needs_is_required() -> None:
    read(**NEEDED)
    for name in REQUIRED:
        with pytest.raises(UsageError, match=f"--{name} is missing"):
            read(**{other: value for other, value in NEEDED.items() if other != name})
    assert [name for name, told in parameters().items() if not told["isOptional"]] == list(REQUIRED)


def test_a_form_that_passes_on_all_defaults_changes_nothing() -> None:
    told = {name: p["defaultValue"] for name, p in parameters().items() if "defaultValue" in p}
    nothing = {name: "" for name in parameters() if name not in told}
    assert read(**{**nothing, **told, **NEEDED}).get_all_options() == read(**NEEDED).get_all_options()


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_default_matches_what_the_parameter_may_be(flag: Flag) -> None:
    default = parameters()[flag.name].get("defaultValue")
    assert default is None or matches(flag.name, default)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("watch", ["1", "060"], ["0", "-1", "a", ""]),
        ("dedupe_window", ["0", "600"], ["-1", "1.5"]),
        ("max_file_bytes", ["500000", "20MB", "64 MiB"], ["MB", "64 miles"]),
        ("engine_tolerance", ["0", "1", "0.01", "1e-3"], ["much"]),
        ("bigquery_method", ["FILE_LOADS"], ["LOADS", "FILE_LOADS2"]),
        ("input_subscription", ["projects/me/subscriptions/photos"], ["photos", "projects/me/topics/photos"]),
        ("input_topic", ["projects/me/topics/photos"], ["projects/me/subscriptions/photos"]),
    ],
)
def test_a_regex_takes_what_the_flag_takes(name: str, right: list[str], wrong: list[str]) -> None:
    (flag,) = (flag for flag in FLAGS if flag.name == name)
    assert flag.kind is not None
    for text in right:
        flag.kind.parse(text)
        assert matches(name, text), text
    for text in wrong:
        assert not matches(name, text), text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("overwrite", {"paramType": "BOOLEAN", "defaultValue": "false"}),
        ("max_batch_size", {"paramType": "NUMBER", "defaultValue": "32"}),
        ("input_subscription", {"paramType": "PUBSUB_SUBSCRIPTION", "groupName": "What to predict on"}),
        ("input_topic", {"paramType": "PUBSUB_TOPIC"}),
        ("model", {"paramType": "GCS_READ_FOLDER", "isOptional": True}),
        ("output_format", {"paramType": "ENUM", "defaultValue": "jsonl", "label": "Output format"}),
    ],
)
def test_a_parameter_is_of_the_type_that_a_form_has_for_it(name: str, expected: dict[str, Any]) -> None:
    assert expected.items() <= parameters()[name].items()


def test_a_choice_tells_its_words() -> None:
    words = [option["value"] for option in parameters()["output_format"]["enumOptions"]]
    assert words == ["jsonl", "csv", "parquet"]


def test_the_help_tells_how_to_give_several_values() -> None:
    assert parameters()["input"]["helpText"].endswith(
        "Several have a ; between them; a ; that belongs to one is written ;;."
    )
    assert parameters()["dataflow_service_options"]["helpText"].endswith(
        "Several have a , between them; a , that belongs to one is written ,,."
    )
