"""From records to files, as a step of a pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue

from emulators.storage import fake_gcs_server, storage_client_of
from tests.transforms.pipelines import collect, local_pipeline
from tests.transforms.toy_predictors import SIGNATURE
from transforms import storage
from transforms.errors import FileMissing
from transforms.records import DeadLetter, FileRef, Prediction, utc_now
from transforms.schemas import Record, arrow_schema
from transforms.sinks.formats import FORMATS
from transforms.sinks.to_files import ToFiles, _name, _Write, incomplete_files, written_files

SCHEMA = arrow_schema(Prediction, SIGNATURE)
NAME = re.compile(r"predictions-\d{8}T\d{6}-[0-9a-f]{12}\.(jsonl|csv|parquet)")


def prediction(number: int) -> Prediction:
    return Prediction(
        prediction_id=f"{number}",
        uri=f"{number}.png",
        generation=number,
        model="model",
        model_version="1",
        signature="sizes",
        outputs={"size": np.int64(number)},
        attributes={},
        predicted_at=utc_now(),
    )


RECORDS = [prediction(number) for number in range(100)]
UNWRITABLE = replace(RECORDS[0], outputs={"size": np.array([1j])})


def write(prefix: str | Path, format_name: str, records: Iterable[Record]) -> list[str]:
    with local_pipeline() as pipeline:
        files = pipeline | beam.Create(list(records)) | ToFiles(str(prefix), format_name, SCHEMA)
        names = collect(files)
    return sorted(names)


def sizes(files: Iterable[str]) -> list[int]:
    """Return what the files hold, in order."""
    found: list[int] = []
    for file in files:
        if file.endswith(".parquet"):
            rows = pq.read_table(file).to_pylist()
        else:
            rows = [json.loads(line) for line in Path(file).read_text().splitlines()]
        found += [row["outputs"]["size"] for row in rows]
    return sorted(found)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestFiles:
    @pytest.mark.parametrize("format_name", ["jsonl", "parquet"])
    def test_every_record_is_in_one_of_the_files(self, tmp_path: Path, format_name: str) -> None:
        files = write(tmp_path / "predictions", format_name, RECORDS)
        assert sizes(files) == list(range(100))
        assert files == sorted(map(str, tmp_path.iterdir()))

    @pytest.mark.parametrize("format_name", FORMATS)
    def test_the_names_tell_the_time_and_the_format(self, tmp_path: Path, format_name: str) -> None:
        for file in write(tmp_path / "predictions", format_name, RECORDS):
            assert NAME.fullmatch(Path(file).name)
            assert file.endswith(f".{format_name}")

    def test_names_never_repeat(self, tmp_path: Path) -> None:
        files = [file for _ in range(3) for file in write(tmp_path / "predictions", "jsonl", RECORDS)]
        assert len(set(files)) == len(files)
        assert sizes(files) == sorted(3 * list(range(100)))

    def test_the_folder_is_made(self, tmp_path: Path) -> None:
        files = write(tmp_path / "new" / "and new" / "predictions", "jsonl", RECORDS[:3])
        assert sizes(files) == [0, 1, 2]

    def test_no_records_make_no_files(self, tmp_path: Path) -> None:
        assert write(tmp_path / "predictions", "jsonl", []) == []
        assert list(tmp_path.iterdir()) == []

    def test_each_window_has_files_of_its_own(self, tmp_path: Path) -> None:
        with local_pipeline() as pipeline:
            names = collect(
                pipeline
                | beam.Create(RECORDS)
                | beam.Map(lambda record: TimestampedValue(record, record.generation))
                | beam.WindowInto(FixedWindows(25))
                | ToFiles(str(tmp_path / "predictions"), "jsonl", SCHEMA)
            )
        assert sizes(names) == list(range(100))
        for name in names:
            assert len({size // 25 for size in sizes([name])}) == 1

    def test_dead_letters_are_written_too(self, tmp_path: Path) -> None:
        letter = DeadLetter.of(FileMissing("there is no file"), FileRef("a.png", attributes={"x": [1]}))
        schema = arrow_schema(DeadLetter, SIGNATURE)
        with local_pipeline() as pipeline:
            step = ToFiles(str(tmp_path / "dead_letters"), "jsonl", schema)
            names = collect(pipeline | beam.Create([letter]) | step)
        (row,) = [json.loads(line) for name in names for line in Path(name).read_text().splitlines()]
        assert (row["error"], row["attributes"]) == ("FileMissing", {"x": [1]})

    def test_objects_in_cloud_storage_are_written(self) -> None:
        with fake_gcs_server() as host, storage_client_of(host) as client:
            bucket = client.create_bucket("bucket")
            files = write("gs://bucket/out/predictions", "jsonl", RECORDS)
            assert sorted(f"gs://bucket/{blob.name}" for blob in bucket.list_blobs()) == files
            lines = [line for file in files for line in storage.read(file, 1 << 20).splitlines()]
            assert sorted(json.loads(line)["generation"] for line in lines) == list(range(100))

    def test_an_unknown_format_is_refused(self) -> None:
        with pytest.raises(ValueError, match="format is 'xml'; it must be one of jsonl, csv, parquet"):
            ToFiles("out/predictions", "xml", SCHEMA)


@pytest.mark.parametrize("format_name", FORMATS)
class TestFailures:
    def step(self, tmp_path: Path, format_name: str) -> _Write:
        return _Write(str(tmp_path / "predictions"), format_name, SCHEMA)

    def start(self, step: _Write, records: Iterable[Record]) -> None:
        step.start_bundle()
        for record in records:
            step.process(record, GlobalWindow())

    def test_a_pipeline_that_fails_leaves_nothing(self, tmp_path: Path, format_name: str) -> None:
        with pytest.raises(Exception, match="while running 'ToFiles/Write'"):
            write(tmp_path / "predictions", format_name, [*RECORDS, UNWRITABLE])
        assert list(tmp_path.iterdir()) == []

    def test_files_are_hidden_until_their_bundle_is_accepted(self, tmp_path: Path, format_name: str) -> None:
        step = self.step(tmp_path, format_name)
        self.start(step, RECORDS)
        ((hidden, final),) = [element.value for element in step.finish_bundle()]
        (path,) = tmp_path.iterdir()
        assert str(path) == hidden
        assert path.name.startswith(".")
        assert _name((hidden, final)) == final
        assert [str(path) for path in tmp_path.iterdir()] == [final]

    def test_a_name_that_is_given_twice_is_given_once(self, tmp_path: Path, format_name: str) -> None:
        step = self.step(tmp_path, format_name)
        self.start(step, RECORDS)
        (names,) = [element.value for element in step.finish_bundle()]
        assert _name(names) == _name(names)
        assert [str(path) for path in tmp_path.iterdir()] == [names[1]]

    def test_a_bundle_that_is_tried_again_leaves_one_file(self, tmp_path: Path, format_name: str) -> None:
        step = self.step(tmp_path, format_name)
        self.start(step, RECORDS[:50])  # and then a later step failed
        self.start(step, RECORDS)
        finished = [element.value for element in step.finish_bundle()]
        assert len(finished) == len(list(tmp_path.iterdir())) == 1
        if format_name != "csv":
            assert sizes(map(_name, finished)) == list(range(100))

    def test_a_bundle_that_is_given_up_leaves_nothing(self, tmp_path: Path, format_name: str) -> None:
        step = self.step(tmp_path, format_name)
        self.start(step, RECORDS)
        step.teardown()
        assert list(tmp_path.iterdir()) == []

    def test_a_record_that_cannot_be_written_leaves_nothing_and_harms_no_later_bundle(
        self, tmp_path: Path, format_name: str
    ) -> None:
        step = self.step(tmp_path, format_name)
        with pytest.raises(Exception):  # noqa: B017, PT011 (each library has its own)
            self.finish_with(step, UNWRITABLE)
        self.start(step, RECORDS[:3])
        finished = [element.value for element in step.finish_bundle()]
        assert [str(path) for path in tmp_path.iterdir()] == [hidden for hidden, _ in finished]

    def finish_with(self, step: _Write, record: Record) -> None:
        self.start(step, [*RECORDS, record])
        list(step.finish_bundle())

    def test_several_windows_of_a_bundle_are_finished_in_their_own(
        self, tmp_path: Path, format_name: str
    ) -> None:
        step = self.step(tmp_path, format_name)
        windows = [IntervalWindow(start, start + 10) for start in (0, 10, 20)]
        step.start_bundle()
        for number, window in enumerate(windows * 2):
            step.process(RECORDS[number], window)
        finished = list(step.finish_bundle())
        assert [element.windows for element in finished] == [(window,) for window in windows]
        for element, window in zip(finished, windows, strict=True):
            assert element.timestamp == window.max_timestamp()
        assert len({final for _, final in (element.value for element in finished)}) == 3


class TestEarlierRuns:
    @pytest.fixture
    def left(self, tmp_path: Path) -> tuple[str, list[str], list[str]]:
        """Leave files of a run: written ones, and one that is incomplete."""
        prefix = str(tmp_path / "predictions")
        written = write(prefix, "jsonl", RECORDS)
        step = _Write(prefix, "parquet", SCHEMA)
        step.start_bundle()
        step.process(RECORDS[0], GlobalWindow())
        incomplete = [element.value[0] for element in step.finish_bundle()]
        return prefix, written, incomplete

    def test_its_files_are_found(self, left: tuple[str, list[str], list[str]]) -> None:
        prefix, written, incomplete = left
        assert sorted(written_files(prefix)) == written
        assert list(incomplete_files(prefix)) == incomplete

    @pytest.mark.parametrize(
        "name",
        [
            "predictions.jsonl",
            "predictions-mine.jsonl",
            "predictions-20260102.csv",
            "predictions-20260102T030405-0123456789ab.jsonl.gz",
            "predictions-20260102T030405-0123456789ab.txt",
            "predictions-20260102T030405-0123456789AB.jsonl",
            "predictions-20260102T030405-0123456789.jsonl",
            "other-20260102T030405-0123456789ab.jsonl",
            "predictions-2-20260102T030405-0123456789ab.jsonl",
            "predictions-dead_letters-20260102T030405-0123456789ab.jsonl",
            "old-predictions-20260102T030405-0123456789ab.jsonl",
            "predictions-old/x-20260102T030405-0123456789ab.jsonl",
            "sub/predictions-20260102T030405-0123456789ab.jsonl",
            "summary.json",
        ],
    )
    def test_what_is_not_its_own_is_left_alone(
        self, left: tuple[str, list[str], list[str]], tmp_path: Path, name: str
    ) -> None:
        prefix, written, incomplete = left
        touch(tmp_path, name, f".incomplete-{name}")
        assert sorted(written_files(prefix)) == written
        assert list(incomplete_files(prefix)) == incomplete

    @pytest.mark.parametrize("folder", ["[2026]", "a*", "what?", "100%", "a b"])
    def test_they_are_found_in_a_folder_of_an_awkward_name(self, tmp_path: Path, folder: str) -> None:
        prefix = str(tmp_path / folder / "predictions")
        touch(tmp_path, "2/predictions-20260102T030405-0123456789ab.jsonl")
        touch(tmp_path, "aa/predictions-20260102T030405-0123456789ab.jsonl")
        touch(tmp_path, "whatx/predictions-20260102T030405-0123456789ab.jsonl")
        assert sorted(written_files(prefix)) == []
        written = write(prefix, "jsonl", RECORDS[:3])
        assert sorted(written_files(prefix)) == written

    def test_no_folder_has_none(self, tmp_path: Path) -> None:
        assert list(written_files(str(tmp_path / "nothing" / "predictions"))) == []
        assert list(incomplete_files(str(tmp_path / "nothing" / "predictions"))) == []

    def test_a_prefix_without_a_folder_finds_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        written = write("predictions", "jsonl", RECORDS[:3])
        assert sorted(written_files("predictions")) == written
