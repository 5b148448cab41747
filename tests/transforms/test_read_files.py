"""From batches of names to batches of bytes, as a step of a pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, GlobalWindow, SlidingWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from tests.transforms.pipelines import collect, collect_with_times, local_pipeline
from transforms import metric_table as metrics
from transforms import storage
from transforms.read_ahead import ReadLimits
from transforms.read_files import ReadFiles, _Read
from transforms.records import DeadLetter, FileBytes, FileRef


@pytest.fixture
def uris(tmp_path: Path) -> list[str]:
    """Write twenty files, each with its own name as content."""
    paths = [tmp_path / f"{number:02}.png" for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


def read(batches: Sequence[Sequence[FileRef]], step: ReadFiles) -> tuple[list[Any], list[DeadLetter]]:
    with local_pipeline() as pipeline:
        results = pipeline | beam.Create(batches, reshuffle=False) | step
        read, letters = collect(results.main), collect(results.dead_letters)
    return read, letters


def test_batches_stay_whole_and_in_order(uris: list[str]) -> None:
    batches = [[FileRef(uri) for uri in uris[start : start + 3]] for start in range(0, 20, 3)]
    contents, letters = read(batches, ReadFiles(threads=2))
    assert [[item.ref.uri for item in batch] for batch in contents] == [
        [ref.uri for ref in batch] for batch in batches
    ]
    assert all(item.content == Path(item.ref.uri).name.encode() for batch in contents for item in batch)
    assert letters == []


def test_what_is_known_of_a_file_afterwards_goes_with_it(uris: list[str]) -> None:
    ((item,),), _ = read([[FileRef(uris[0], attributes={"label": 3})]], ReadFiles())
    known = storage.stat(uris[0])
    assert item.ref == FileRef(uris[0], known.generation, known.size, {"label": 3})


def test_a_bad_file_costs_itself_and_its_batch_goes_on(tmp_path: Path, uris: list[str]) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"x" * 100)
    os.mkfifo(tmp_path / "pipe")
    bad = {
        str(tmp_path / "missing"): "FileMissing",
        str(tmp_path): "NotAFile",
        str(tmp_path / "empty"): "EmptyFile",
        str(tmp_path / "large"): "FileTooLarge",
        str(tmp_path / "pipe"): "NotAFile",
        "nul\0byte": "FileMissing",
        "nowhere://a.png": "UnsupportedLocation",
    }
    mixed = [name for pair in zip(bad, uris, strict=False) for name in pair]
    refs = [FileRef(name, attributes={"name": name}) for name in mixed]
    (batch,), letters = read([refs], ReadFiles(max_file_bytes=99))
    assert [item.ref.uri for item in batch] == uris[: len(bad)]
    assert {letter.uri: letter.error for letter in letters} == bad
    for letter in letters:
        assert (letter.stage, letter.attributes) == ("read", {"name": letter.uri})
        assert letter.prediction_id is None


def test_a_batch_of_bad_files_only_goes_nowhere(tmp_path: Path, uris: list[str]) -> None:
    bad = [FileRef(str(tmp_path / f"missing{number}")) for number in range(3)]
    contents, letters = read([bad, [FileRef(uris[0])]], ReadFiles())
    assert [[item.ref.uri for item in batch] for batch in contents] == [uris[:1]]
    assert [letter.uri for letter in letters] == [ref.uri for ref in bad]


def test_names_are_passed_on_when_the_model_reads_them(tmp_path: Path, uris: list[str]) -> None:
    refs = [FileRef(uris[0]), FileRef(str(tmp_path / "missing")), FileRef(uris[1])]
    (batch,), (letter,) = read([refs], ReadFiles("names"))
    assert batch == [FileBytes(storage.stat(uri), None) for uri in uris[:2]]
    assert letter.error == "FileMissing"


def test_what_messages_have_brought_goes_along_with_files(uris: list[str]) -> None:
    brought = FileRef("pubsub:1", 5, attributes={"label": 3}, content=b"brought")
    empty = FileRef("pubsub:2", 6, content=b"")
    (batch,), (letter,) = read([[FileRef(uris[0]), brought, empty, FileRef(uris[1])]], ReadFiles())
    assert [item.ref.uri for item in batch] == [uris[0], "pubsub:1", uris[1]]
    assert batch[1] == FileBytes(FileRef("pubsub:1", 5, 7, {"label": 3}), b"brought")
    assert (letter.uri, letter.generation, letter.error) == ("pubsub:2", 6, "EmptyFile")


def test_what_messages_have_brought_is_no_name_for_a_model_that_takes_names(uris: list[str]) -> None:
    (batch,), (letter,) = read([[FileRef("pubsub:1", 5, content=b"x"), FileRef(uris[0])]], ReadFiles("names"))
    assert [item.ref.uri for item in batch] == uris[:1]
    assert (letter.stage, letter.error, letter.uri) == ("read", "UnsupportedLocation", "pubsub:1")


def test_every_batch_keeps_its_time_and_window_though_it_leaves_later(
    tmp_path: Path, uris: list[str]
) -> None:
    names = [name for uri in uris for name in (uri, f"{uri}.missing")]
    with local_pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create(list(enumerate(names)), reshuffle=False)
            | beam.Map(lambda pair: TimestampedValue([FileRef(pair[1])], pair[0]))
            | beam.WindowInto(FixedWindows(3))
            | ReadFiles(threads=2)
        )
        contents, letters = collect_with_times(results.main), collect_with_times(results.dead_letters)
    found = [(batch[0].ref.uri, time, window) for batch, time, window in contents]
    found += [(letter.uri, time, window) for letter, time, window in letters]
    assert len(found) == len(names)
    for uri, time, window in found:
        assert time == Timestamp(names.index(uri))
        assert window.start <= time < window.end == window.start + 3


def test_a_batch_in_several_windows_leaves_once_in_each(uris: list[str]) -> None:
    with local_pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create([TimestampedValue([FileRef(uris[0])], 5)], reshuffle=False)
            | beam.Map(lambda value: value)
            | beam.WindowInto(SlidingWindows(10, 5))
            | ReadFiles()
        )
        contents = collect_with_times(results.main)
    assert len({window for _, _, window in contents}) == len(contents) == 2


def test_the_bytes_that_were_read_are_counted(uris: list[str]) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | beam.Create([[FileRef(uri) for uri in uris]]) | ReadFiles()
    result = pipeline.run()
    counters = result.metrics().query(MetricsFilter().with_name(metrics.BYTES_READ))["counters"]
    assert [counter.committed for counter in counters] == [sum(map(os.path.getsize, uris))]


def test_what_is_left_of_a_bundle_that_failed_is_not_in_the_next(uris: list[str]) -> None:
    def contents(elements: Iterator[Any]) -> list[str]:
        return [item.ref.uri for element in elements for item in element.value]

    step = _Read(ReadLimits(threads=2, max_file_bytes=100, ahead_bytes=100, content=True))
    step.start_bundle()
    assert contents(step.process([FileRef(uris[0])], Timestamp(0), GlobalWindow())) == []
    step.start_bundle()  # the first bundle was given up before its end
    assert contents(step.process([FileRef(uris[1])], Timestamp(0), GlobalWindow())) == []
    assert contents(step.finish_bundle()) == [uris[1]]
    step.teardown()


def test_a_batch_on_which_a_later_step_failed_takes_no_room_for_ever(uris: list[str]) -> None:
    step = _Read(ReadLimits(threads=1, max_file_bytes=100, ahead_bytes=100, content=True))
    for _ in range(3):
        step.start_bundle()
        list(step.process([FileRef(uris[0])], Timestamp(0), GlobalWindow()))
        delivering: Any = step.finish_bundle()
        next(delivering)
        delivering.close()  # as when the later step raises
    assert step._ahead is not None
    assert step._ahead._budget._held == 0
    step.teardown()


@pytest.mark.parametrize("name", ["threads", "max_file_bytes", "read_ahead_bytes"])
@pytest.mark.parametrize("value", [0, -1])
def test_values_that_read_nothing_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be at least 1"):
        ReadFiles("bytes", **{name: value})


def test_an_unknown_kind_of_input_is_refused() -> None:
    with pytest.raises(ValueError, match="input_kind is 'pixels'; it must be one of names, bytes"):
        ReadFiles("pixels")  # type: ignore[arg-type]
