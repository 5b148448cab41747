"""Patterns of names: one meaning, wherever the files are."""

from __future__ import annotations

import pytest

from tests.transforms.storage.names import AWKWARD_NAMES
from transforms.storage.patterns import compile_pattern, escape, is_pattern, literal_prefix


def matches(pattern: str, name: str) -> bool:
    return compile_pattern(pattern).match(name) is not None


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*", "a.png"),
        ("*", ""),
        ("*.png", ".png"),
        ("a/*/c", "a/b/c"),
        ("a*c", "a\nc"),
        ("a*c", "a\\c"),
        ("**", "a/b/c"),
        ("**.png", "a/b.png"),
        ("**/b.png", "a/b.png"),
        ("a/**/b.png", "a/x/y/b.png"),
        ("***", "a/b"),
        ("?", "a"),
        ("?", "\n"),
        ("?", "🙂"),
        ("[abc]", "b"),
        ("[a-c]", "b"),
        ("[!abc]", "d"),
        ("[]a]", "]"),
        ("[!]a]", "b"),
        ("[a^]", "^"),
        ("[a-]", "-"),
        ("[\\]", "\\"),
        ("[[]", "["),
        ("[*]", "*"),
        ("[?]", "?"),
        ("[&&]", "&"),
        ("[à-ü]", "é"),
        ("[", "["),
        ("[]", "[]"),
        ("[!]", "[!]"),
        ("a[b", "a[b"),
        ("a]", "a]"),
        ("a.b", "a.b"),
        ("a+(b)|{c}$^\\d", "a+(b)|{c}$^\\d"),
        ("", ""),
    ],
)
def test_it_matches(pattern: str, name: str) -> None:
    assert matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*", "a/b"),
        ("*.png", "a.png.txt"),
        ("*.png", "a.png\n"),
        ("*.png", "a_png"),
        ("a/*/c", "a/b/x/c"),
        ("**/b.png", "b.png"),
        ("?", ""),
        ("?", "ab"),
        ("a?b", "a/b"),
        ("[abc]", "d"),
        ("[abc]", "ab"),
        ("[!abc]", "a"),
        ("a[!x]b", "a/b"),
        ("a[/]b", "a/b"),
        ("a[.-0]b", "a/b"),
        ("[z-a]", "m"),
        ("[^a]", "b"),
        ("[a]", "[a]"),
        ("A", "a"),
    ],
)
def test_it_does_not_match(pattern: str, name: str) -> None:
    assert not matches(pattern, name)


@pytest.mark.parametrize("name", [*AWKWARD_NAMES, "gs://bucket/a[1]*.png", "[[]", "]["])
def test_an_escaped_name_matches_itself_only(name: str) -> None:
    pattern = f"{escape(name)}/*"
    assert matches(pattern, f"{name}/a.png")
    assert literal_prefix(escape("a/b")) == "a/b"
    assert not matches(pattern, f"{name}x/a.png")
    assert not matches(escape("a*"), "ab")


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("a/b*/c", "a/b"), ("a/?", "a/"), ("a[bc]", "a"), ("**", ""), ("a.png", "a.png"), ("", "")],
)
def test_the_literal_prefix_ends_before_the_first_wildcard(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix
    assert is_pattern(pattern) == (pattern != prefix)
