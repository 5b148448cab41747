"""From files to batches of files."""

from __future__ import annotations

import time

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from tests.transforms.pipelines import collect, local_pipeline
from transforms.batch_files import BatchFiles
from transforms.coders import FileRefCoder
from transforms.records import FileRef

REFS = [FileRef(f"{number}.png", generation=number, attributes={"n": number}) for number in range(70)]


@pytest.mark.parametrize("size", [1, 7, 32, 100])
def test_every_file_is_in_one_batch_of_at_most_the_size(size: int) -> None:
    with local_pipeline() as pipeline:
        batches = collect(pipeline | beam.Create(REFS) | BatchFiles(size))
    assert sorted((ref for batch in batches for ref in batch), key=lambda ref: ref.generation) == REFS
    assert max(map(len, batches)) == min(size, len(REFS))
    assert sum(len(batch) < size for batch in batches) <= 1  # the last of the bundle


def test_batches_may_grow_from_a_smaller_size() -> None:
    with local_pipeline() as pipeline:
        batches = collect(pipeline | beam.Create(REFS) | BatchFiles(32, min_batch_size=1))
    assert sum(map(len, batches)) == len(REFS)
    assert max(map(len, batches)) <= 32


def test_files_of_different_windows_are_in_different_batches() -> None:
    with local_pipeline() as pipeline:
        batches = collect(
            pipeline
            | beam.Create(REFS)
            | beam.Map(lambda ref: TimestampedValue(ref, ref.generation))
            | beam.WindowInto(FixedWindows(10))
            | BatchFiles(32)
        )
    assert sum(map(len, batches)) == len(REFS)
    for batch in batches:
        assert len({ref.generation // 10 for ref in batch}) == 1


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_1_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"max_batch_size is {size}; it must be at least 1"):
        BatchFiles(size)


@pytest.mark.parametrize("size", [-1, 9])
def test_a_smallest_size_beyond_the_largest_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"min_batch_size is {size}; it must be from 1 to max_batch_size, 8"):
        BatchFiles(8, min_batch_size=size)


def test_a_smallest_size_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="min_batch_size is 0"):
        BatchFiles(8, min_batch_size=0)


def test_batches_that_form_across_bundles_lose_no_file() -> None:
    with local_pipeline() as pipeline:
        batches = collect(pipeline | beam.Create(REFS) | BatchFiles(32, max_wait_seconds=60))
    assert sorted((ref for batch in batches for ref in batch), key=lambda ref: ref.generation) == REFS
    assert max(map(len, batches)) == 32


def test_a_wait_below_0_is_refused() -> None:
    with pytest.raises(ValueError, match="max_wait_seconds is -1; it must be at least 0"):
        BatchFiles(8, max_wait_seconds=-1)


def batches_of_a_stream(size: int, seconds: float, *, streaming: bool) -> list[list[FileRef]]:
    """Batch files that come one a bundle, on the runner for streams, or all at once, on that for batch."""
    if not streaming:
        with local_pipeline() as pipeline:
            return collect(pipeline | beam.Create(REFS) | BatchFiles(size, max_wait_seconds=seconds))
    stream = test_stream.TestStream(coder=FileRefCoder())
    for ref in REFS:
        stream = stream.add_elements([ref])
    options = PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        return collect(
            pipeline | stream.advance_watermark_to_infinity() | BatchFiles(size, max_wait_seconds=seconds)
        )


@pytest.mark.parametrize("streaming", [False, True])
def test_with_a_time_to_wait_batches_are_filled_across_bundles(streaming: bool) -> None:
    batches = batches_of_a_stream(32, 3_600.0, streaming=streaming)
    assert sorted((ref for batch in batches for ref in batch), key=lambda ref: ref.generation or 0) == REFS
    assert sorted(map(len, batches)) == [6, 32, 32]


def test_a_batch_goes_when_its_first_file_has_waited_long_enough() -> None:
    the_clock = int(time.time())  # that of the stream begins at 0, that of the step does not
    stream = (
        test_stream.TestStream(coder=FileRefCoder())
        .add_elements(REFS[:2])
        .advance_processing_time(the_clock + 60)
        .add_elements(REFS[2:3])
        .advance_watermark_to_infinity()
    )
    options = PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        batches = collect(pipeline | stream | BatchFiles(32, max_wait_seconds=5))
    assert batches == [REFS[:2], REFS[2:3]]


def test_what_a_message_brought_waits_with_its_name() -> None:
    refs = [FileRef("pubsub:1", generation=1, content=b"\x89PNG")]
    with local_pipeline() as pipeline:
        batches = collect(pipeline | beam.Create(refs) | BatchFiles(8, max_wait_seconds=0.1))
    assert batches == [refs]


def test_with_no_time_to_wait_batches_are_those_of_a_bundle() -> None:
    with local_pipeline() as pipeline:
        batches = collect(pipeline | beam.Create(REFS) | BatchFiles(32, max_wait_seconds=0))
    assert sum(map(len, batches)) == len(REFS)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_time_that_nothing_can_wait_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"max_wait_seconds is {seconds}; it must be at least 0"):
        BatchFiles(8, max_wait_seconds=seconds)
