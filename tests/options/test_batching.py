"""The flags that say which files are predicted on together."""

from __future__ import annotations

import pytest

from options import BatchingOptions, parse
from transforms.errors import UsageError

JOB = ("--input", "*.png", "--model", "model", "--output", "out")


@pytest.mark.parametrize("pattern", [r"/(?P<day>\d{8})/", "[^/]+$", "a=b"])
def test_a_regular_expression_is_kept_as_it_was_typed(pattern: str) -> None:
    assert parse([*JOB, "--group_by", pattern]).view_as(BatchingOptions).group_by == pattern


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (
            ("--group_by", "(a"),
            "--group_by must be a regular expression of Python's (missing ), unterminated",
        ),
        (("--group_by", ""), "--group_by must not be empty"),
        (("--group_by", "a", "--min_batch_size", "2"), "--min_batch_size has no effect with --group_by"),
        (("--min_batch_size", "40"), "--min_batch_size 40 is above --max_batch_size 32"),
        (("--max_batch_size", "0"), "--max_batch_size must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_meant_is_told(flags: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse([*JOB, *flags])
    assert len(raised.value.problems) == 1
    assert problem in raised.value.problems[0]
