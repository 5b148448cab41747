"""Where records go: what `--output` and `--dead_letters` take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from options.flags import PubSubPath, Text
from transforms.sinks.bigquery_tables import TableName

TABLE_MARK = "bigquery:"
TOPIC_MARK = "pubsub:"

_TOPIC = PubSubPath("topic")


@dataclass(frozen=True)
class Files:
    """Files in a folder, or behind a prefix of names.

    Attributes:
        place: The folder, local or on any file system that the project writes; or, when it ends in `-`, `_`
            or a dot, what the names begin with.
    """

    place: str

    def prefix(self, name: str) -> str:
        """Put a name into the folder, or behind the prefix."""
        if self.place.endswith(("-", "_", ".")) and self.place not in (".", ".."):
            return self.place + name
        return f"{self.place.rstrip('/')}/{name}"

    def __str__(self) -> str:
        """Write it as it is typed."""
        return self.place


@dataclass(frozen=True)
class Table:
    """A table of BigQuery's."""

    name: TableName

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"{TABLE_MARK}{self.name}"


@dataclass(frozen=True)
class Topic:
    """A topic of Pub/Sub's.

    Attributes:
        path: `projects/PROJECT/topics/TOPIC`.
    """

    path: str

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"{TOPIC_MARK}{self.path}"


Destination = Files | Table | Topic


def parse_destination(text: str) -> Destination:
    """Tell a table and a topic by what they begin with; anything else is a place for files.

    Raises:
        ValueError: It begins like a table or a topic, and is none; the message says what it must be.
    """
    if text.startswith(TABLE_MARK):
        return Table(TableName.parse(text.removeprefix(TABLE_MARK)))
    if text.startswith(TOPIC_MARK):
        return Topic(_TOPIC.parse(text.removeprefix(TOPIC_MARK)))
    return Files(text)


def beside(destination: Destination) -> Destination | None:
    """Return where the dead letters of what goes to a destination go by default; None for a topic.

    Who reads a topic of predictions expects nothing else there.
    """
    if isinstance(destination, Table):
        name = destination.name
        return Table(replace(name, table=f"{name.table}_dead_letters"))
    return destination if isinstance(destination, Files) else None


class Place(Text):
    """A destination; kept as text, since options are."""

    def parse(self, text: str) -> str:
        """See `Kind.parse`."""
        parse_destination(super().parse(text))
        return text
