"""What flags take, and what is said of what they do not take."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from options.flags import Bytes, Choice, Flag, Kind, Share, Text, Whole


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (Text("NAME"), "a b", "a b"),
        (Choice(("a", "b")), "b", "b"),
        (Whole(), "1", 1),
        (Whole(0), "0", 0),
        (Bytes(), "500", 500),
        (Bytes(), "20MB", 20_000_000),
        (Bytes(), "64 MiB", 64 << 20),
        (Bytes(), "1gib", 1 << 30),
        (Share(), "0", 0.0),
        (Share(), "0.01", 0.01),
        (Share(), "1", 1.0),
    ],
)
def test_a_kind_takes(kind: Kind, typed: str, value: Any) -> None:
    assert kind.parse(typed) == value
    assert kind.parse(kind.show(value)) == value


@pytest.mark.parametrize(
    ("kind", "typed", "message"),
    [
        (Text("NAME"), " ", "must not be empty"),
        (Choice(("jsonl", "csv")), "json", r"must be one of jsonl, csv \(did you mean jsonl\?\)"),
        (Whole(), "0", "must be a whole number of at least 1"),
        (Whole(), "-1", "at least 1"),
        (Whole(), "1.5", "whole"),
        (Whole(), "", "whole"),
        (Bytes(), "0", "at least 1"),
        (Bytes(), "-5MB", "such as 500000, 20MB or 64MiB"),
        (Bytes(), "5 parsecs", "such as"),
        (Bytes(), "5.5MB", "such as"),
        (Share(), "1.01", "from 0 to 1"),
        (Share(), "nan", "from 0 to 1"),
        (Share(), "half", "from 0 to 1"),
    ],
)
def test_a_kind_refuses_with_the_remedy(kind: Kind, typed: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind.parse(typed)


def test_a_bad_value_is_kept_until_all_are_told() -> None:
    flag = Flag("size", "How large.", Whole(), repeated=True)
    parser = argparse.ArgumentParser()
    flag.add_to(parser)
    value = parser.parse_args(["--size", "1", "--size", "x", "--size", "0"]).size
    assert flag.problems(value) == [
        "--size must be a whole number of at least 1; got 'x'",
        "--size must be a whole number of at least 1; got '0'",
    ]


def test_what_may_be_a_secret_is_not_repeated() -> None:
    class Secret(Whole):
        is_secret = True

    flag = Flag("key", "Which one.", Secret())
    parser = argparse.ArgumentParser()
    flag.add_to(parser)
    assert flag.problems(parser.parse_args(["--key", "s3cr3t"]).key) == [
        "--key must be a whole number of at least 1"
    ]


def test_the_help_tells_the_default_and_the_unit() -> None:
    parser = argparse.ArgumentParser()
    Flag("most", "The most bytes, 100% of them.", Bytes(), 64 << 20).add_to(parser)
    Flag("input", "Files.", Text("FILES"), repeated=True).add_to(parser)
    text = " ".join(parser.format_help().split())
    assert "--most BYTES The most bytes, 100% of them. Default: 64MiB." in text
    assert "--input FILES Files. May be given several times." in text
