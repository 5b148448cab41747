"""From a stream of records to files: one for the records of a while, and none is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms.window import TimestampedValue

from tests.conftest import rows
from tests.transforms.pipelines import collect, local_pipeline
from tests.transforms.sinks.test_to_files import NAME, RECORDS, SCHEMA, sizes
from tests.transforms.toy_predictors import SIGNATURE
from transforms.errors import FileMissing
from transforms.records import DeadLetter, FileRef, Prediction
from transforms.schemas import arrow_schema
from transforms.sinks import to_files
from transforms.sinks.formats import FORMATS
from transforms.sinks.to_files import SHARDS, ToFiles

WINDOW = 25
CENTURY = 100 * 365 * 24 * 60 * 60
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SECOND = int(START.timestamp())


class Clock:
    """What tells the time to the sink: the second after `START` that the latest record's number is."""

    now = START

    @classmethod
    def set(cls, record: Prediction) -> Prediction:
        cls.now = START + timedelta(seconds=record.generation or 0)
        return record


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_files, "utc_now", lambda: Clock.now)


def arriving(records: Iterable[Prediction]) -> Stream:
    """A stream with each record by itself, which so becomes a bundle."""
    stream = Stream().advance_watermark_to(SECOND)
    for record in records:
        stream = stream.add_elements([record])
    return stream


def ended(stream: Stream) -> Stream:
    return stream.advance_watermark_to_infinity()


def write(stream: Stream, step: ToFiles) -> list[str]:
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        records: PCollection[Prediction] = (
            pipeline | stream | beam.Map(Clock.set).with_output_types(Prediction)
        )
        names = collect(records | step)
    return sorted(names)


def windows_of(names: Iterable[str]) -> Iterator[int]:
    """Tell of each file in which window all of its records came."""
    for name in names:
        (window,) = {size // WINDOW for size in sizes([name])}
        yield window


class TestWindows:
    @pytest.fixture
    def step(self, tmp_path: Path) -> ToFiles:
        return ToFiles(str(tmp_path / "predictions"), "jsonl", SCHEMA, WINDOW)

    def test_the_records_of_a_window_share_files_whatever_bundles_they_came_in(self, step: ToFiles) -> None:
        names = write(ended(arriving(RECORDS)), step)
        assert sizes(names) == list(range(100))
        assert set(windows_of(names)) == {0, 1, 2, 3}
        assert len(names) <= 4 * SHARDS

    def test_a_record_that_comes_when_its_window_is_closed_has_a_file_of_its_own(self, step: ToFiles) -> None:
        stream = arriving(RECORDS[:20]).advance_watermark_to(SECOND + WINDOW)
        for record in RECORDS[20:25]:
            stream = stream.add_elements([record])
        names = write(ended(stream), step)
        assert sizes(names) == list(range(25))
        late = [name for name in names if sizes([name])[0] >= 20]
        assert [len(sizes([name])) for name in late] == [1] * 5

    @pytest.mark.parametrize("seconds", [WINDOW + 1, 86_400, CENTURY // 2])
    def test_no_record_is_too_late(self, step: ToFiles, seconds: int) -> None:
        stream = arriving(RECORDS[:1]).advance_watermark_to(SECOND + seconds).add_elements(RECORDS[1:10])
        assert sizes(write(ended(stream), step)) == list(range(10))

    def test_records_that_come_in_disorder_are_all_there(self, step: ToFiles) -> None:
        stream = Stream().advance_watermark_to(SECOND)
        for number, record in enumerate(reversed(RECORDS)):
            stream = stream.add_elements([record]).advance_watermark_to(SECOND + number + 1)
        names = write(ended(stream), step)
        assert sizes(names) == list(range(100))
        assert set(windows_of(names)) == {0, 1, 2, 3}

    def test_a_message_s_own_time_does_not_tell_the_window(self, step: ToFiles) -> None:
        stream = Stream().advance_watermark_to(SECOND)
        for record in RECORDS[:WINDOW]:  # each a year older than the one before
            old = TimestampedValue(record, SECOND - 365 * 86_400 * (record.generation or 0))
            stream = stream.add_elements([old])
        names = write(ended(stream), step)
        assert sizes(names) == list(range(WINDOW))
        assert len(names) <= SHARDS

    def test_only_whole_files_are_left(self, step: ToFiles, tmp_path: Path) -> None:
        names = write(ended(arriving(RECORDS)), step)
        assert sorted(map(str, tmp_path.iterdir())) == names
        assert all(NAME.fullmatch(Path(name).name) for name in names)

    def test_what_ends_is_written_too(self, step: ToFiles) -> None:
        with local_pipeline() as pipeline:
            names = collect(pipeline | beam.Create(RECORDS) | beam.Map(Clock.set) | step)
        assert sizes(names) == list(range(100))

    @pytest.mark.parametrize("seconds", [0, -1])
    def test_windows_of_no_length_are_refused(self, seconds: int) -> None:
        with pytest.raises(ValueError, match=f"window_seconds is {seconds}; it must be at least 1"):
            ToFiles("out/predictions", "jsonl", SCHEMA, seconds)


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_is_written_in_windows(tmp_path: Path, format_name: str) -> None:
    stream = arriving(RECORDS[:30]).advance_watermark_to(SECOND + 50).add_elements(RECORDS[30:40])
    write(ended(stream), ToFiles(str(tmp_path / "predictions"), format_name, SCHEMA, WINDOW))
    found = rows(tmp_path, "predictions")
    assert sorted(int(row["outputs"]["size"]) for row in found) == list(range(40))


def test_dead_letters_are_written_in_windows(tmp_path: Path) -> None:
    letters = [DeadLetter.of(FileMissing("there is no file"), FileRef(f"{n}.png", n)) for n in range(10)]
    step = ToFiles(str(tmp_path / "dead_letters"), "jsonl", arrow_schema(DeadLetter, SIGNATURE), WINDOW)
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        _ = pipeline | ended(Stream().add_elements(letters)) | step
    assert sorted(row["uri"] for row in rows(tmp_path, "dead_letters")) == [f"{n}.png" for n in range(10)]
