"""From records to files."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection
from apache_beam.utils.windowed_value import WindowedValue

from transforms import storage
from transforms.schemas import Record
from transforms.sinks.formats import FORMATS, RecordWriter

INCOMPLETE = ".incomplete-"

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
    """

    prefix: str
    format: str
    schema: pa.Schema

    def __post_init__(self) -> None:
        """Refuse a format that does not exist."""
        super().__init__()
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; it must be one of {', '.join(FORMATS)}")

    def expand(self, records: PCollection[Record]) -> PCollection[str]:
        """Return the names of the files."""
        write = beam.ParDo(_Write(self.prefix, self.format, self.schema))
        names: PCollection[str] = (
            records
            | "Write" >> write.with_output_types(tuple[str, str])
            | "Accept" >> beam.Reshuffle()
            | "Name" >> beam.Map(_name).with_output_types(str)
        )
        return names


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
