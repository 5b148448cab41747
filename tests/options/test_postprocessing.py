"""The flags that ask for readable outputs."""

from __future__ import annotations

import pytest

from options import GROUPS, PostprocessingOptions, parse
from transforms.errors import UsageError

JOB = ("--input", "*.png", "--model", "model", "--output", "out")


def _parse(*flags: str) -> PostprocessingOptions:
    return parse([*JOB, *flags]).view_as(PostprocessingOptions)


@pytest.mark.parametrize(
    ("flags", "count"),
    [
        ((), None),
        (("--class_names", "names.txt"), 5),
        (("--class_names=names.txt", "--top_k=3"), 3),
        (("--top_k", "1"), 1),
        (("--top_k", "7", "--scores_output", "logits"), 7),
    ],
)
def test_how_many_classes_are_added(flags: tuple[str, ...], count: int | None) -> None:
    assert _parse(*flags).count == count


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--top_k", "0"), "--top_k must be a whole number of at least 1; got '0'"),
        (("--top_k", "five"), "--top_k must be a whole number of at least 1; got 'five'"),
        (("--class_names", " "), "--class_names must not be empty"),
        (("--scores_output", "logits"), "--scores_output logits has no effect by itself"),
        (("--topk", "3"), "unknown flag --topk; did you mean --top_k?"),
    ],
)
def test_what_cannot_be_meant_is_told(flags: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        _parse(*flags)
    assert len(raised.value.problems) == 1
    assert problem in raised.value.problems[0]


def test_the_group_is_listed_in_the_help() -> None:
    assert PostprocessingOptions in GROUPS
    assert PostprocessingOptions.TITLE == "Readable outputs"
