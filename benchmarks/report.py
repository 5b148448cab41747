"""What a benchmark tells: a section of BENCHMARKS.md, and whether its bounds hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Bound:
    """Something that must hold.

    Attributes:
        promise: What was promised, with the limit.
        found: What was measured.
        holds: Whether it is within the limit.
    """

    promise: str
    found: str
    holds: bool

    def __str__(self) -> str:
        """Write the bound as a line of a list."""
        return f"- {self.promise}: {self.found}, {'holds' if self.holds else '**does not hold**'}."


@dataclass(frozen=True)
class Table:
    """Numbers in rows, below a header."""

    header: Sequence[str]
    rows: Rows

    def __str__(self) -> str:
        """Write the table in Markdown; columns after the first stand to the right."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))


@dataclass(frozen=True)
class Section:
    """What one benchmark found.

    Attributes:
        title: Its heading.
        paragraphs: What was done, what it shows.
        tables: What was measured.
        bounds: What must hold.
    """

    title: str
    paragraphs: Sequence[str]
    tables: Sequence[Table]
    bounds: Sequence[Bound] = field(default=())

    def __str__(self) -> str:
        """Write the section in Markdown."""
        promises = "\n".join(map(str, self.bounds))
        parts = [f"## {self.title}", *self.paragraphs, *map(str, self.tables), promises]
        return "\n\n".join(part for part in parts if part)


def show(section: Section) -> int:
    """Print a section, and return the exit code of its benchmark: 1 when a bound does not hold."""
    print(section)
    return 0 if all(bound.holds for bound in section.bounds) else 1
