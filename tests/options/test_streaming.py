"""Flags of jobs that go on until they are stopped."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import StandardOptions

from options import SourceOptions, parse
from options.checks import bigquery_method
from transforms.errors import UsageError

SUBSCRIPTION = ("--input_subscription", "projects/my-project/subscriptions/photos")
REST = ("--model", "model", "--output", "out")


def problems_of(*flags: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        parse([*flags, *REST])
    return raised.value.problems


@pytest.mark.parametrize(
    ("source", "streaming"),
    [
        (("--input", "*.png"), False),
        (("--input", "*.png", "--watch", "5"), True),
        (SUBSCRIPTION, True),
        (("--input_topic", "projects/my-project/topics/photos"), True),
    ],
)
def test_the_source_tells_whether_a_job_is_streaming(source: tuple[str, ...], streaming: bool) -> None:
    options = parse([*source, *REST])
    assert options.view_as(SourceOptions).is_streaming is streaming
    assert bool(options.view_as(StandardOptions).streaming) is streaming
    assert bigquery_method(options) == ("STREAMING_INSERTS" if streaming else "FILE_LOADS")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "--input is missing"),
        ((*SUBSCRIPTION, "--input", "*.png"), "--input and --input_subscription are given together"),
        ((*SUBSCRIPTION, "--watch", "5"), "--watch is for --input"),
        (("--input", "@names.txt", "--watch", "5"), "@names.txt is a list, which is read once"),
        (("--input", "*.png", "--message_format", "json"), "--message_format is for messages"),
        (("--input", "*.png", "--allowed_prefix", "gs://b"), "--allowed_prefix is for messages"),
        (("--input", "*.png", "--streaming"), "--streaming: --input ends"),
        ((*SUBSCRIPTION, "--overwrite"), "--overwrite: a job that goes on for ever"),
        ((*SUBSCRIPTION, "--group_by", "x"), "--group_by needs all files of a group"),
        (("--input_subscription", "photos"), "must be projects/PROJECT/subscriptions/SUBSCRIPTION"),
        ((*SUBSCRIPTION, "--message_format", "xml"), "must be one of auto, notification, name, json, bytes"),
    ],
)
def test_what_contradicts_the_source_is_told(flags: tuple[str, ...], told: str) -> None:
    assert any(told in problem for problem in problems_of(*flags)), problems_of(*flags)
