"""From records to a table of BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.pvalue import PCollection

from transforms.errors import RecordTooLarge, RowRefused, WriteError
from transforms.metrics import count_dead_letter
from transforms.predictors.base import Signature
from transforms.records import DeadLetter, FileRef
from transforms.results import DEAD_LETTERS, Results, results_of
from transforms.schemas import Column, Record, bigquery_schema, columns_of
from transforms.sinks.bigquery_rows import (
    FILE_LOADS,
    METHODS,
    STORAGE_WRITE_API,
    STREAMING_INSERTS,
    Row,
    row_of,
)
from transforms.sinks.bigquery_tables import TableName

__all__ = ["FILE_LOADS", "METHODS", "STORAGE_WRITE_API", "STREAMING_INSERTS", "ToBigQuery"]


@dataclass(eq=False)
class ToBigQuery(beam.PTransform[PCollection[Record], Results]):
    """Add a row for each record to a table, which must be there: see `bigquery_tables.create_table`.

    Attributes:
        table: The table.
        record_type: `Prediction` or `DeadLetter`.
        signature: Tells the types of the outputs.
        method: How the rows get there. FILE_LOADS costs nothing, writes files to the job's `temp_location`
            first, and fails as a whole; STREAMING_INSERTS has each row in the table within seconds;
            STORAGE_WRITE_API has Beam start a service in Java.
        load_seconds: In streaming with FILE_LOADS, the time between two loads; else None.
    """

    table: TableName
    record_type: type[Record]
    signature: Signature
    method: str
    load_seconds: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no method takes, and records that fit no table."""
        super().__init__()
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(METHODS)}")
        if self.load_seconds is not None and self.method != FILE_LOADS:
            raise ValueError(
                f"load_seconds is {self.load_seconds}, which {self.method} has no use for; leave it out"
            )
        if self.load_seconds is not None and self.load_seconds < 1:
            raise ValueError(f"load_seconds is {self.load_seconds}; it must be at least 1, or None in batch")
        self._schema = {"fields": bigquery_schema(self.record_type, self.signature)}
        self._columns = columns_of(self.record_type, self.signature)

    def expand(self, records: PCollection[Record]) -> Results:
        """Return the rows that were handed over, and a dead letter for each record that was refused."""
        rows = results_of(records, "Rows", beam.ParDo(_Rows(self._columns, self.method)), Row)
        written = rows.main | "Write" >> self._write()
        dead_letters = [rows.dead_letters]
        if self.method != FILE_LOADS:  # which refuses all rows or none
            refused = written.failed_rows_with_errors | "Refused" >> beam.Map(_refused).with_output_types(
                DeadLetter
            )
            dead_letters.append(refused)
        return Results(rows.main, dead_letters | "DeadLetters" >> beam.Flatten())

    def _write(self) -> beam.PTransform[Any, Any]:
        from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
        from apache_beam.io.gcp.bigquery_tools import RetryStrategy

        # The Storage Write API asks for the schema; the others go by the table's own.
        typed = self.method == STORAGE_WRITE_API
        return WriteToBigQuery(
            self.table.table,
            dataset=self.table.dataset,
            project=self.table.project,
            create_disposition=BigQueryDisposition.CREATE_NEVER,
            write_disposition=BigQueryDisposition.WRITE_APPEND,
            method=self.method,
            triggering_frequency=self.load_seconds,
            insert_retry_strategy=RetryStrategy.RETRY_ON_TRANSIENT_ERROR,
            schema=self._schema if typed else None,
            type_overrides={"JSON": str} if typed else None,
        )


class _Rows(beam.DoFn):
    def __init__(self, columns: tuple[Column, ...], method: str) -> None:
        self._columns = columns
        self._method = method

    def process(self, record: Record) -> Iterator[Any]:
        try:
            yield row_of(record, self._columns, self._method)
        except WriteError as error:
            letter = _letter(error, {column.name: getattr(record, column.name) for column in self._columns})
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)


def _refused(failed: Any) -> DeadLetter:
    """Make the dead letter of what Beam returns: a tuple, or from the Storage Write API a mapping."""
    if isinstance(failed, Mapping):
        return _letter(RowRefused(failed["error_message"]), _values(failed["failed_row"]))
    _, row, reasons = failed
    if isinstance(reasons, str):  # Beam's own, of a row for which no request has room
        return _letter(RecordTooLarge(reasons), _values(row))
    return _letter(RowRefused("; ".join(map(_reason, reasons))), _values(row))


def _reason(error: Mapping[str, Any]) -> str:
    """Put one of BigQuery's reasons into words: `outputs.score: Cannot convert value (invalid)`."""
    where = f"{error['location']}: " if error.get("location") else ""
    return f"{where}{error.get('message', '')} ({error.get('reason')})"


def _values(row: Row) -> Row:
    """Return a record's values from its row."""
    generation = row["generation"]
    return {
        **row,
        "generation": None if generation is None else int(generation),
        "attributes": orjson.loads(row["attributes"]),
    }


def _letter(error: WriteError, values: Row) -> DeadLetter:
    """Make the dead letter of a record, of which the refused one may be another."""
    if "failed_at" in values:
        error = type(error)(
            f"{error}; the dead letter was: {values['stage']}/{values['error']}, {values['message']}"
        )
    letter = DeadLetter.of(
        error,
        FileRef(values["uri"] or "", values["generation"], attributes=values["attributes"]),
        prediction_id=values["prediction_id"],
        model_version=values["model_version"],
    )
    # What is not known of a dead letter is not known of its dead letter either.
    return count_dead_letter(replace(letter, uri=values["uri"] and letter.uri, payload=values.get("payload")))
