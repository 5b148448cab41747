"""Tables of BigQuery: their names, whether they fit the records, and making them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transforms.errors import ConfigurationError
from transforms.predictors.base import Signature
from transforms.records import DeadLetter, Prediction
from transforms.schemas import Record, bigquery_schema

EMULATOR_VARIABLE = "BIGQUERY_EMULATOR_HOST"
"""Where google-cloud-bigquery finds a stand-in for BigQuery, which needs no credentials: `http://HOST:PORT`."""

CLUSTERED_BY = "model_version"
REQUEST_SECONDS = 60.0

_PARTITIONED_BY: dict[type[Record], str] = {Prediction: "predicted_at", DeadLetter: "failed_at"}

# https://cloud.google.com/bigquery/docs/tables#table_naming, without spaces
_NAME = re.compile(
    r"(?P<project>([a-z0-9.-]+:)?[a-z][a-z0-9-]*[a-z0-9])[.:](?P<dataset>[A-Za-z0-9_]{1,1024})\.(?P<table>[\w-]{1,1024})"
)

_ALIASES = {
    "INT64": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "STRUCT": "RECORD",
    "DECIMAL": "NUMERIC",
}


@dataclass(frozen=True)
class TableName:
    """The name of a table; as text, `PROJECT.DATASET.TABLE`."""

    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read `PROJECT.DATASET.TABLE` or `PROJECT:DATASET.TABLE`.

        Raises:
            ValueError: It is neither.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise ValueError(
                "must name a table as PROJECT.DATASET.TABLE, such as my-project.digits.predictions, in "
                "letters, digits and _, and - in the project's and the table's name"
            )
        return cls(match["project"], match["dataset"], match["table"])

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"{self.project}.{self.dataset}.{self.table}"


def differences(name: TableName, record_type: type[Record], signature: Signature) -> list[str] | None:
    """Tell what keeps a table from taking records.

    A table may have more columns than the records, and fewer that are REQUIRED.

    Args:
        name: Of the table.
        record_type: `Prediction` or `DeadLetter`.
        signature: Tells the types of the outputs.

    Returns:
        One text for each difference, to be put behind "table NAME"; None where there is no table.

    Raises:
        ConfigurationError: There is no such dataset, or no access to it; or the records fit no table at all.
    """
    from google.api_core.exceptions import NotFound

    wanted = bigquery_schema(record_type, signature)
    with _remedies(name):
        try:
            table = _client(name.project).get_table(str(name), **_patience())
        except NotFound:
            _client(name.project).get_dataset(f"{name.project}.{name.dataset}", **_patience())
            return None
    if table.table_type not in (None, "TABLE"):
        return [f"is a {table.table_type}, which takes no rows; give a table"]
    return list(_column_differences(wanted, [field.to_api_repr() for field in table.schema]))


def create_table(name: TableName, record_type: type[Record], signature: Signature) -> None:
    """Create a table for records: a partition a day, clustered by the model's version.

    One that is there by now is left as it is.

    Raises:
        ConfigurationError: It cannot be created.
    """
    from google.cloud.bigquery import SchemaField, Table, TimePartitioning

    schema = [SchemaField.from_api_repr(field) for field in bigquery_schema(record_type, signature)]
    table = Table(str(name), schema=schema)
    table.time_partitioning = TimePartitioning(field=_PARTITIONED_BY[record_type])  # of a day each
    table.clustering_fields = [CLUSTERED_BY]
    with _remedies(name):
        _client(name.project).create_table(table, exists_ok=True, **_patience())


def _column_differences(
    wanted: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]], path: str = ""
) -> Iterator[str]:
    there = {field["name"].lower(): field for field in found}  # the case of a name does not count
    for field in wanted:
        column = f"{path}{field['name']}"
        other = there.pop(field["name"].lower(), None)
        if other is None:
            yield f"lacks the column {column}, {_described(field)}"
        elif _type(field) == _type(other) == "RECORD" and _fits(field, other):
            yield from _column_differences(field["fields"], other["fields"], f"{column}.")
        elif _type(field) != _type(other) or not _fits(field, other):
            yield f"has the column {column} as {_described(other)}, the records as {_described(field)}"
    for other in there.values():
        if _mode(other) == "REQUIRED":
            yield f"has the column {path}{other['name']} as {_described(other)}; the records lack it"


def _fits(field: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether the mode of a table's column takes what that of the records' has."""
    return _mode(field) == _mode(other) or (_mode(field), _mode(other)) == ("REQUIRED", "NULLABLE")


def _type(field: Mapping[str, Any]) -> str:
    """Return the name of a type, with its limits, by which it refuses values that the records may have."""
    name = _ALIASES.get(field["type"].upper(), field["type"].upper())
    limits = [field[key] for key in ("maxLength", "precision", "scale") if field.get(key)]
    return f"{name}({', '.join(map(str, limits))})" if limits else name


def _mode(field: Mapping[str, Any]) -> str:
    return str(field.get("mode") or "NULLABLE").upper()


def _described(field: Mapping[str, Any]) -> str:
    return f"{_mode(field)} {_type(field)}"


@contextlib.contextmanager
def _remedies(name: TableName) -> Iterator[None]:
    """Turn the errors of BigQuery's client into ones that tell what to do."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    dataset = f"{name.project}.{name.dataset}"
    try:
        yield
    except exceptions.NotFound as error:
        raise ConfigurationError(
            f"table {name}: there is no dataset {dataset} ({error.message}); create it: "
            f"bq mk --dataset {name.project}:{name.dataset}"
        ) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise ConfigurationError(
            f"table {name}: access is denied ({error.message}); the account needs the role "
            f"roles/bigquery.dataEditor on the dataset {dataset}"
        ) from error
    except GoogleAuthError as error:
        raise ConfigurationError(
            f"table {name}: there are no credentials ({error}); run: gcloud auth application-default login"
        ) from error
    except (exceptions.GoogleAPIError, OSError) as error:  # those of the connection are OSErrors
        raise ConfigurationError(
            f"table {name}: BigQuery does not answer as it should ({error}); try again later"
        ) from error


def _patience() -> dict[str, Any]:
    """Return how long to wait and to try again; left to itself, the client does so for ten minutes."""
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return {"timeout": REQUEST_SECONDS, "retry": DEFAULT_RETRY.with_timeout(REQUEST_SECONDS)}


def _client(project: str) -> Any:
    return _client_of(project, os.environ.get(EMULATOR_VARIABLE))


@functools.cache
def _client_of(project: str, emulator: str | None) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    return bigquery.Client(project, credentials=AnonymousCredentials() if emulator else None)
