"""What `beam-predict inspect` tells of a model, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import orjson
import pyarrow as pa

from transforms.json_values import to_json
from transforms.predictors.base import InputKind, Signature, TensorSpec

WIDTH = 100
"""Of what is printed, in characters; long names may make a table wider."""

_TAKES: dict[InputKind, str] = {
    "names": "the name of the file, which the model reads itself",
    "bytes": "the bytes of the file",
    "images": "the image in the file, as numbers",
    "arrays": "the array in the file (.npy)",
}


@dataclass(frozen=True)
class Use:
    """How the pipeline would use a model.

    Attributes:
        signature: The signature that it would call.
        input_kind: What of a file it would feed: `names`, `bytes`, `images` or `arrays`.
        item_input: The input that takes that.
        preprocess_signature: The model's own signature that prepares images before; None without one.
        preprocess: How the pipeline prepares images, in the words of `--preprocess`; None where it does not.
        attribute_inputs: The inputs that take the attributes of their names.
        constants: The values of the other inputs, by their names.
    """

    signature: str
    input_kind: InputKind
    item_input: str
    preprocess_signature: str | None
    preprocess: str | None
    attribute_inputs: tuple[str, ...]
    constants: dict[str, Any]

    def rows(self) -> Iterator[tuple[str, str]]:
        """Tell of each input what it takes."""
        prepared = f"; signature {self.preprocess_signature} prepares it" if self.preprocess_signature else ""
        yield self.item_input, _TAKES[self.input_kind] + prepared
        yield from ((name, "the attribute of that name") for name in self.attribute_inputs)
        yield from (
            (name, f"{to_json(value).decode()}, for all files") for name, value in self.constants.items()
        )


@dataclass(frozen=True)
class VersionFolder:
    """A version of a model.

    Attributes:
        number: The name of its folder.
        problem: What it lacks; None for a complete one.
    """

    number: int
    problem: str | None

    def __str__(self) -> str:
        """Write the number, and what is missing."""
        return f"{self.number}, not complete: {self.problem}" if self.problem else str(self.number)


@dataclass(frozen=True)
class Inspection:
    """What can be known of a model without predicting; the fields are the members of the JSON object.

    Attributes:
        model: As it was given.
        kind: `SavedModel`, `Keras file` or `TensorFlow Lite file`.
        versions: The numbered folders in it, the newest last; empty for a model without.
        path: What was read: the model itself, or the version that is used.
        version: The `model_version` of the records.
        fingerprint: Of the content at `path`.
        size_bytes: The size of all files at `path` together.
        files: Their number.
        signatures: With their inputs and outputs, sorted by name.
        use: How the pipeline would use it; None where it cannot.
        arrow_schema: The columns of the predictions in Parquet; None where they cannot be written.
        bigquery_schema: The same in BigQuery, as its API takes them; None where they cannot be written.
        problems: What the pipeline would refuse, by the name of the member that is None for it.
    """

    model: str
    kind: str
    versions: tuple[VersionFolder, ...]
    path: str
    version: str
    fingerprint: str
    size_bytes: int
    files: int
    signatures: tuple[Signature, ...]
    use: Use | None
    arrow_schema: pa.Schema | None
    bigquery_schema: list[dict[str, Any]] | None
    problems: dict[str, str]

    def to_json(self) -> str:
        """Write the inspection for a program.

        A dimension that varies is null, and so is a shape of unknown rank.
        """
        members = vars(self) | {
            "versions": [asdict(version) for version in self.versions],
            "signatures": [asdict(signature) for signature in self.signatures],
            "use": self.use and asdict(self.use),
            "arrow_schema": self.arrow_schema and _arrow_fields(self.arrow_schema),
        }
        return orjson.dumps(members, option=orjson.OPT_INDENT_2).decode()

    def __str__(self) -> str:
        """Write the inspection for a person."""
        sections = [
            (self.model, _table(self._about())),
            *((f"Signature {signature.name}", _table(_tensors(signature))) for signature in self.signatures),
            ("How the pipeline would use it", self._use()),
            ("What it would write", list(self._columns())),
        ]
        return "\n\n".join("\n".join([title, *_indented(lines)]) for title, lines in sections if lines)

    def _about(self) -> Iterator[tuple[str, str]]:
        yield "kind", self.kind
        for position, version in enumerate(self.versions):
            yield "" if position else "versions", str(version)
        yield "version", self.version
        if self.fingerprint != self.version:
            yield "fingerprint", self.fingerprint
        yield "size", f"{self.size_bytes:,} bytes in {self.files} file{'s' * (self.files != 1)}"

    def _use(self) -> Sequence[str]:
        if self.use is None:
            return _wrapped(f"It cannot: {self.problems['use']}")
        prepared = [f"--preprocess {self.use.preprocess}"] if self.use.preprocess else []
        fed = _indented([*_table(self.use.rows()), *prepared])
        return [f"It calls {self.use.signature}, and feeds", *fed]

    def _columns(self) -> Iterator[str]:
        if self.arrow_schema is not None:
            bigquery = _bigquery_rows(self.bigquery_schema or ())
            columns = zip_longest(_arrow_rows(self.arrow_schema), bigquery, fillvalue=("", ""))
            rows = [(name, kind, _named(other, name, written)) for (name, kind), (written, other) in columns]
            yield from _table([("column", "Arrow, Parquet", "BigQuery"), *rows])
        if "arrow_schema" in self.problems:
            yield from _wrapped(f"Nothing: {self.problems['arrow_schema']}")
        elif "bigquery_schema" in self.problems:
            yield from _wrapped(f"Nothing to BigQuery: {self.problems['bigquery_schema']}")


def _tensors(signature: Signature) -> Iterator[tuple[str, ...]]:
    for title, specs in (("takes", signature.inputs), ("gives", signature.outputs)):
        for position, spec in enumerate(specs):
            yield "" if position else title, spec.name, spec.dtype, _shape(spec)


def _shape(spec: TensorSpec) -> str:
    return str(spec).removeprefix(f"{spec.name}: {spec.dtype} ")


def _arrow_fields(columns: Iterable[pa.Field]) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": "struct",
            "nullable": column.nullable,
            "fields": _arrow_fields(column.type),
        }
        if pa.types.is_struct(column.type)
        else {"name": column.name, "type": str(column.type), "nullable": column.nullable}
        for column in columns
    ]


def _arrow_rows(columns: Iterable[pa.Field], prefix: str = "") -> Iterator[tuple[str, str]]:
    for column in columns:
        if pa.types.is_struct(column.type):
            yield from _arrow_rows(column.type, f"{prefix}{column.name}.")
        else:
            yield prefix + column.name, f"{column.type}{'' if column.nullable else ' not null'}"


def _bigquery_rows(columns: Iterable[dict[str, Any]], prefix: str = "") -> Iterator[tuple[str, str]]:
    for column in columns:
        if "fields" in column:
            yield from _bigquery_rows(column["fields"], f"{prefix}{column['name']}.")
        else:
            kind = f"{column['type']} {column['mode']}"
            yield prefix + column["name"], kind.removesuffix(" NULLABLE")


def _named(kind: str, name: str, written: str) -> str:
    """Add to a type the name that its column has in BigQuery, where that is another."""
    return kind if written in ("", name) else f"{kind}, as {written}"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Align the columns of rows of equal length."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in listed)
    return [line.rstrip() for line in lines]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _wrapped(text: str) -> list[str]:
    return [
        line for part in text.splitlines() for line in textwrap.wrap(part, WIDTH, subsequent_indent="    ")
    ]
