"""Files that come again, as a step of a pipeline."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from tests.transforms.pipelines import collect, local_pipeline
from transforms.coders import FileRefCoder
from transforms.records import FileRef
from transforms.sources import drop_duplicates
from transforms.sources.drop_duplicates import DropDuplicates

SECONDS = 600


def numbered(number: int) -> FileRef:
    return FileRef("gs://bucket/a.png", generation=1, attributes={"number": number})


@pytest.mark.parametrize("runner", [FnApiRunner, BundleBasedDirectRunner])
def test_each_content_of_each_file_passes_once(runner: Any) -> None:
    distinct = [
        FileRef("a.png"),
        FileRef("a.png", generation=0),
        FileRef("a.png", generation=1, size=3),
        FileRef("a.png", generation=-1),
        FileRef("b.png", generation=1, content=b"\0\xff"),
        FileRef("数字 🙂\n\0.png", generation=2**63 - 1),
    ]
    with beam.Pipeline(runner=runner()) as pipeline:
        passed = collect(pipeline | beam.Create([*distinct, *distinct, *distinct]) | DropDuplicates())
    assert len(passed) == len(distinct)
    assert all(ref in passed for ref in distinct)


def test_what_does_not_say_which_content_it_is_makes_no_other() -> None:
    refs = [FileRef("a.png", 1, size=3), FileRef("a.png", 1), FileRef("a.png", 1, attributes={"label": 3})]
    with local_pipeline() as pipeline:
        passed = collect(pipeline | beam.Create(refs) | DropDuplicates(SECONDS))
    assert len(passed) == 1


def test_what_is_dropped_is_counted() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | beam.Create([numbered(number) for number in range(10)]) | DropDuplicates(SECONDS)
    result = pipeline.run()
    counters = result.metrics().query(MetricsFilter().with_name("skipped/duplicate"))["counters"]
    assert [counter.committed for counter in counters] == [9]


def test_each_window_remembers_its_own() -> None:
    with local_pipeline() as pipeline:
        passed = collect(
            pipeline
            | beam.Create([TimestampedValue(numbered(second), second) for second in range(10)])
            | beam.Map(lambda value: value)
            | beam.WindowInto(FixedWindows(5))
            | DropDuplicates()
        )
    assert len(passed) == 2


def test_after_its_time_a_file_passes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    passing = iter([Timestamp(0), Timestamp(SECONDS + 1)])
    monkeypatch.setattr(drop_duplicates, "_now", lambda: next(passing))
    messages = (
        test_stream.TestStream(coder=FileRefCoder())
        .with_output_types(FileRef)
        .add_elements([numbered(0)])
        .advance_processing_time(SECONDS - 1)
        .add_elements([numbered(1)])
        .advance_processing_time(2)
        .add_elements([numbered(2)])
        .add_elements([numbered(3)])
        .advance_watermark_to_infinity()
        .advance_processing_time(SECONDS)
    )
    with beam.Pipeline(
        runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"])
    ) as pipeline:
        passed = collect(pipeline | messages | DropDuplicates(SECONDS))
    assert [ref.attributes["number"] for ref in passed] == [0, 2]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_in_which_nothing_is_remembered_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"seconds is {seconds}; it must be above 0, or None"):
        DropDuplicates(seconds)
