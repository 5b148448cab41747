"""Batches of files that belong together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_stream as streams
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from transforms import Predict, ReadFiles, open_model
from transforms.batch_groups import BatchGroups, chunks, in_group
from transforms.coders import FileRefCoder
from transforms.errors import GroupError, ParseError
from transforms.group_files import GroupFiles, attribute_of, key_of
from transforms.records import DeadLetter, FileRef, Prediction
from transforms.results import Results

ROOT = Path(__file__).parents[2]

Batches = list[list[FileRef]]


def _run(
    step: beam.PTransform[Any, Results],
    elements: Sequence[Any],
    batches: Callable[[Batches], None],
    letters: Callable[[list[DeadLetter]], None],
) -> None:
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        results = pipeline | beam.Create(elements) | step
        assert_that(results.main, batches, label="batches")
        assert_that(results.dead_letters, letters, label="dead letters")


def _none(found: list[Any]) -> None:
    assert found == []


def _sizes(batches: Batches, attribute: str = "group") -> dict[Any, list[int]]:
    """Return the sizes of each group's batches, and see that no batch has files of two groups."""
    sizes = defaultdict(list)
    for batch in batches:
        (key,) = {ref.attributes[attribute] for ref in batch}
        sizes[key].append(len(batch))
    return {key: sorted(found, reverse=True) for key, found in sizes.items()}


# groups as they come


def test_groups_are_the_batches_cut_at_the_largest_size() -> None:
    groups = [("a", [f"a{at}" for at in range(7)]), ("b", ["b0"]), ("c", [f"c{at}" for at in range(3)])]

    def check(batches: Batches) -> None:
        assert _sizes(batches) == {"a": [3, 3, 1], "b": [1], "c": [3]}
        assert {ref.uri for batch in batches for ref in batch} == {
            name for _, names in groups for name in names
        }

    _run(BatchGroups(3), groups, check, _none)


def test_names_after_a_group_by_key_are_predicted_on_and_keep_the_key() -> None:
    names = [str(path) for path in sorted((ROOT / "examples/digits/images").glob("00*.png"))]

    def check(predictions: list[Prediction]) -> None:
        assert {record.uri: record.attributes for record in predictions} == {
            name: {"group": len(name) + int(name[-5])} for name in names
        }

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        groups = (
            pipeline
            | beam.Create(names)
            | beam.WithKeys(lambda name: len(name) + int(name[-5])).with_output_types(tuple[int, str])
            | beam.GroupByKey()
        )
        contents = (groups | BatchGroups()).main | ReadFiles()
        predicted = contents.main | Predict(open_model(str(ROOT / "examples/digits/model"), "from_bytes"))
        assert_that(predicted.main, check)


def test_files_keep_what_is_known_of_them() -> None:
    ref = FileRef("a.png", generation=5, size=7, attributes={"row": 1})

    assert in_group(ref, 2) == FileRef("a.png", 5, 7, {"row": 1, "group": 2})
    assert in_group("a.png", None, "day") == FileRef("a.png", attributes={"day": None})
    assert in_group(FileRef("a", attributes={"group": "x"}), "x").attributes == {"group": "x"}


@pytest.mark.parametrize(
    ("key", "own"),
    [(("a", 1), ["a", 1]), ({"x": (1,), "y": 2}, {"y": 2, "x": [1]}), (None, None), (0.5, 0.5)],
)
def test_a_key_is_the_attribute_that_a_shuffle_makes_of_it(key: Any, own: Any) -> None:
    assert in_group(FileRef("a", attributes={"group": own}), key).attributes == {"group": key}


@pytest.mark.parametrize("own", [1.5, "1", None, True, b"1"])
def test_another_value_is_not_the_key(own: Any) -> None:
    with pytest.raises(GroupError, match="of its own"):
        in_group(FileRef("a", attributes={"group": own}), 1)


@pytest.mark.parametrize("key", [float("nan"), float("-inf"), [1, {"x": float("nan")}], {1: 2}])
def test_a_key_that_json_cannot_write_is_refused(key: Any) -> None:
    with pytest.raises(ParseError, match="must be a JSON value, as NaN and infinities are not"):
        in_group("a.png", key)


def test_a_group_is_read_no_further_than_its_next_batch() -> None:
    read = []

    def names() -> Iterator[int]:
        for at in range(10):
            read.append(at)
            yield at

    batches = chunks(names(), 4)

    assert next(batches) == [0, 1, 2, 3]
    assert read == [0, 1, 2, 3]
    assert list(batches) == [[4, 5, 6, 7], [8, 9]]


def test_what_has_no_place_in_its_group_costs_one_dead_letter() -> None:
    taken = FileRef("taken.png", attributes={"group": "mine"})

    def check_batches(batches: Batches) -> None:
        assert {ref.uri for batch in batches for ref in batch} == {"good.png"}

    def check_letters(letters: list[DeadLetter]) -> None:
        found = {(letter.uri, letter.stage, letter.error, letter.payload) for letter in letters}
        assert found == {
            ("taken.png", "group", "GroupError", None),
            (None, "parse", "ParseError", "''"),
            (None, "parse", "ParseError", "17"),
            (None, "parse", "ParseError", "keyed.png"),
        }
        messages = {letter.uri: letter.message for letter in letters}
        assert "attribute 'group' of its own" in messages["taken.png"]

    groups: list[Any] = [("a", ["good.png", taken, "", 17]), (b"bytes", ["keyed.png"])]
    _run(BatchGroups(2), groups, check_batches, check_letters)


# groups by name


def test_files_are_grouped_by_their_names() -> None:
    files = [FileRef(f"gs://b/{day}/{at}.png") for day in (1, 2) for at in range(5)]

    def check(batches: Batches) -> None:
        assert _sizes(batches, "day") == {"1": [3, 2], "2": [3, 2]}

    _run(GroupFiles(r"/(?P<day>\d)/", 3), files, check, _none)


def test_files_in_no_group_are_dead_letters() -> None:
    files = [FileRef("a/1.png"), FileRef("b.png", generation=3, attributes={"row": 7})]

    def check_batches(batches: Batches) -> None:
        assert _sizes(batches) == {"a": [1]}

    def check_letters(letters: list[DeadLetter]) -> None:
        (letter,) = letters
        assert (letter.uri, letter.generation, letter.attributes) == ("b.png", 3, {"row": 7})
        assert (letter.stage, letter.error, letter.retryable) == ("group", "GroupError", False)
        assert letter.message == "b.png is in no group: --group_by ^(.)/ does not match it"

    _run(GroupFiles("^(.)/"), files, check_batches, check_letters)


def test_each_input_leaves_once_whatever_its_name() -> None:
    files = [FileRef(f"{'x' * (at % 3)}{at}") for at in range(100)]

    def check_batches(batches: Batches) -> None:
        assert sum(map(len, batches)) == 66

    def check_letters(letters: list[DeadLetter]) -> None:
        assert len(letters) == 34

    _run(GroupFiles("x+", 7), files, check_batches, check_letters)


@pytest.mark.parametrize(
    ("pattern", "uri", "key", "attribute"),
    [
        (r"\d+", "a12b", "12", "group"),
        (r"(\d)(\d)", "a12b", "1", "group"),
        (r"(?P<day>\d)(?P<hour>\d)", "a12b", "1", "day"),
        (r"(\d)(?P<hour>\d)", "a12b", "1", "group"),
        (r"(?:a)(b*)", "ac", "", "group"),
        (r"^gs://([^/]+)/", "gs://bucket/ö.png", "bucket", "group"),
    ],
)
def test_the_first_group_or_the_whole_match_is_the_key(
    pattern: str, uri: str, key: str, attribute: str
) -> None:
    compiled = re.compile(pattern)

    assert key_of(uri, compiled) == key
    assert attribute_of(compiled) == attribute


@pytest.mark.parametrize("pattern", ["z", "(z)?a"])
def test_a_group_that_takes_no_part_is_no_key(pattern: str) -> None:
    with pytest.raises(GroupError, match="is in no group"):
        key_of("ab", re.compile(pattern))


def test_in_a_stream_each_window_has_its_groups() -> None:
    stream = streams.TestStream(coder=FileRefCoder())
    values = [TimestampedValue(FileRef(f"{key}{at}"), at) for at in range(20) for key in "ab"]
    stream = stream.add_elements(values).advance_watermark_to_infinity()

    def check(batches: Batches) -> None:
        assert _sizes(batches) == {"a": [10, 10], "b": [10, 10]}
        for batch in batches:
            assert len({int(ref.uri[1:]) // 10 for ref in batch}) == 1

    options = PipelineOptions(streaming=True)  # which is what the other local runner runs
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        windowed = pipeline | stream | beam.WindowInto(FixedWindows(10))
        assert_that((windowed | GroupFiles("[ab]")).main, check)


def test_a_stream_without_windows_is_refused_at_launch() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    stream = pipeline | streams.TestStream(coder=FileRefCoder()).advance_watermark_to_infinity()

    with pytest.raises(ValueError, match="GroupByKey cannot be applied to an unbounded PCollection"):
        _ = stream | GroupFiles("x")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: GroupFiles("("), r"pattern is '\('; it is no regular expression: missing \)"),
        (lambda: GroupFiles("x", 0), "max_batch_size is 0; it must be at least 1"),
        (lambda: BatchGroups(-1), "max_batch_size is -1; it must be at least 1"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make()


def test_what_is_no_name_is_told_with_its_group() -> None:
    with pytest.raises(ParseError, match="17 is no name of a file; it is in the group 'a'"):
        in_group(17, "a")
