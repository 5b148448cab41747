"""From records to files."""

from __future__ import annotations

import contextlib
import random
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from apache_beam.utils.windowed_value import WindowedValue

from transforms import storage
from transforms.records import utc_now
from transforms.schemas import Record
from transforms.sinks.formats import FORMATS, RecordWriter

INCOMPLETE = ".incomplete-"

SHARDS = 4
"""How many workers may write the records of one window at the same time, each to a file of its own."""

# What the runner keeps of a window for so long is a few bytes; a record that came later would be lost.
_LATENESS_SECONDS = 100 * 365 * 24 * 60 * 60

_WRITTEN = re.compile(rf"-\d{{8}}T\d{{6}}-[0-9a-f]{{12}}\.({'|'.join(FORMATS)})")


@dataclass(eq=False)
class ToFiles(beam.PTransform[PCollection[Record], PCollection[str]]):
    """Write records to files, which appear whole and under names that never repeat.

    Each bundle of records is written to a hidden file. Only when the runner has accepted the bundle does the
    file get its name: so a bundle that is tried again leaves no record twice. There are no dead letters here:
    what a predictor returns was checked against the signature that the schema follows from.

    Attributes:
        prefix: How the names begin, with the folder: `gs://bucket/out/predictions`.
        format: One of `FORMATS`.
        schema: Of the records.
        window_seconds: For a stream, whose bundles may hold one record each: the records that come here
            within so many seconds go to at most `SHARDS` files, which are written at the end of that time.
            Those that the runner takes for late go to files of their own, however late they are. None for a
            file a bundle.
    """

    prefix: str
    format: str
    schema: pa.Schema
    window_seconds: int | None = None

    def __post_init__(self) -> None:
        """Refuse a format that does not exist, and windows that are none."""
        super().__init__()
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; it must be one of {', '.join(FORMATS)}")
        if self.window_seconds is not None and self.window_seconds < 1:
            raise ValueError(f"window_seconds is {self.window_seconds}; it must be at least 1, or None")

    def expand(self, records: PCollection[Record]) -> PCollection[str]:
        """Return the names of the files."""
        if self.window_seconds is not None:
            records = _collected(records, self.window_seconds)
        write = beam.ParDo(_Write(self.prefix, self.format, self.schema))
        written = records | "Write" >> write.with_output_types(tuple[str, str])
        if self.window_seconds is not None:
            # Beam's local runner loses in a Reshuffle what is late for its window.
            written = written | "Release" >> beam.WindowInto(GlobalWindows())
        accepted = written | "Accept" >> beam.Reshuffle()
        names: PCollection[str] = accepted | "Name" >> beam.Map(_name).with_output_types(str)
        return names


def _collected(records: PCollection[Record], seconds: int) -> PCollection[Record]:
    """Hold records back until the end of their window, and let each file's share go on as one bundle.

    Their own times would not do for windows: a message's may be years old, or the same for all files of a
    list. At their arrival here they are as young as the watermark, so that few are late.
    """
    record_type: Any = records.element_type
    windows = beam.WindowInto(
        FixedWindows(seconds),
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=_LATENESS_SECONDS,
    )
    collected: PCollection[Record] = (
        records
        | "Arrive" >> beam.Map(_arrived).with_output_types(record_type)
        | "Window" >> windows
        | "Shard" >> beam.Map(_sharded).with_output_types(tuple[int, record_type])
        | "Collect" >> beam.GroupByKey()
        | "Records" >> beam.FlatMap(_records).with_output_types(record_type)
    )
    return collected


def _arrived(record: Record) -> TimestampedValue[Record]:
    return TimestampedValue(record, utc_now().timestamp())


def _sharded(record: Record) -> tuple[int, Record]:
    return random.randrange(SHARDS), record  # noqa: S311 (nobody gains by guessing it)


def _records(shard: tuple[int, Iterable[Record]]) -> Iterable[Record]:
    return shard[1]


def written_files(prefix: str) -> Iterator[str]:
    """List the files that earlier runs with this prefix wrote."""
    return _own_files(prefix)


def incomplete_files(prefix: str) -> Iterator[str]:
    """List the files that earlier runs with this prefix left unfinished."""
    return _own_files(_hidden(prefix))


def _own_files(prefix: str) -> Iterator[str]:
    start = prefix.rpartition("/")[2]
    for ref in storage.glob(f"{storage.escape(prefix)}-*"):
        if _WRITTEN.fullmatch(ref.uri.rpartition("/")[2].removeprefix(start)):
            yield ref.uri


def _hidden(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{INCOMPLETE}{base}"


class _Open(NamedTuple):
    hidden: str
    final: str
    writer: RecordWriter


class _Write(beam.DoFn):
    def __init__(self, prefix: str, format_name: str, schema: pa.Schema) -> None:
        self._prefix = prefix
        self._format = format_name
        self._schema = schema
        self._open: dict[Any, _Open] = {}

    def start_bundle(self) -> None:
        self.teardown()

    def process(self, record: Record, window: Any = beam.DoFn.WindowParam) -> None:
        if window not in self._open:
            self._open[window] = self._create()
        self._open[window].writer.write(record)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for window, file in self._open.items():
            file.writer.close()
            yield WindowedValue((file.hidden, file.final), window.max_timestamp(), (window,))
        self._open.clear()

    def teardown(self) -> None:
        for file in self._open.values():  # of a bundle that failed, and that will come again
            with contextlib.suppress(Exception):  # it failed, perhaps, because it cannot be written
                file.writer.close()
            storage.delete(file.hidden)
        self._open.clear()

    def _create(self) -> _Open:
        time = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        final = f"{self._prefix}-{time}-{uuid.uuid4().hex[:12]}.{self._format}"
        hidden = _hidden(final)
        return _Open(hidden, final, FORMATS[self._format](storage.create(hidden), self._schema))


def _name(names: tuple[str, str]) -> str:
    hidden, final = names
    storage.move(hidden, final)  # may come twice: the second time there is nothing left to do
    return final
