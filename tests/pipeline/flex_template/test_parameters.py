from __future__ import annotations

import logging

import pytest

from pipeline.flex_template.parameters import command_line, join_values, split_values


@pytest.mark.parametrize(
    "values",
    [["a"], ["a", "b"], ["a;b", "c"], [";"], ["a;;b", "c;"], ["gs://b/x,y.png", "@gs://b/n.csv"], []],
)
def test_several_values_survive_being_one_text(values: list[str]) -> None:
    assert split_values(join_values(values)) == values


def test_blanks_and_a_separator_too_many_do_no_harm() -> None:
    assert split_values(" gs://b/*.png ; gs://b/a b.png ;") == ["gs://b/*.png", "gs://b/a b.png"]


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ("--input=a;b", ["--input=a", "--input=b"]),
        ("--model=gs://b/a;b", ["--model=gs://b/a;b"]),
        ("--overwrite=true", ["--overwrite"]),
        ("--overwrite=True", ["--overwrite"]),
        ("--overwrite=false", []),
        ("--overwrite=", []),
        ("--overwrite", ["--overwrite"]),
        ("--overwrite=maybe", ["--overwrite=maybe"]),
        ("--streaming=true", ["--streaming"]),
        ("--use_public_ips=false", ["--no_use_public_ips"]),
        ("--no_use_public_ips=true", ["--no_use_public_ips"]),
        ("--enable_streaming_engine=false", []),
        ("--watch=", []),
        ("--group_by=a=(b)", ["--group_by=a=(b)"]),
        ('--labels={"a": "b"}', ['--labels={"a": "b"}']),
        (
            "--dataflow_service_options=worker_accelerator=type:t;count:1",
            ["--dataflow_service_options=worker_accelerator=type:t;count:1"],
        ),
        (
            "--dataflow_service_options=a=type:t;count:1, b,c=d,,e",
            [
                "--dataflow_service_options=a=type:t;count:1",
                "--dataflow_service_options=b",
                "--dataflow_service_options=c=d,e",
            ],
        ),
        ("--dataflow_service_options=", []),
    ],
)
def test_a_parameter_becomes_a_flag(passed: str, expected: list[str]) -> None:
    assert command_line([passed]) == expected


def test_what_no_version_here_knows_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert command_line(["--model=m", "--defaultWorkerLogLevel=INFO"]) == ["--model=m"]
    assert caplog.messages == ["--defaultWorkerLogLevel is no flag of this version, and is left out"]


def test_a_misspelt_flag_stays_for_the_error_that_tells_it() -> None:
    assert command_line(["--modle=m"]) == ["--modle=m"]
