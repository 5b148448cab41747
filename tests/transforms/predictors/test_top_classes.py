"""The best classes: which output has the scores, what their names are, and which are the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.errors import ModelError, PostprocessError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.top_classes import (
    MAX_CLASS_NAMES_BYTES,
    TopClasses,
    best_positions,
    choose_scores,
    read_class_names,
)

SCORES = TensorSpec("scores", "float32", (None, 4))


def _signature(*outputs: TensorSpec) -> Signature:
    return Signature("classify", (), outputs)


# which are the best


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int64"])
@pytest.mark.parametrize("count", [1, 5, 40, 41])
def test_the_best_are_those_of_a_stable_sort(dtype: str, count: int) -> None:
    random = np.random.default_rng(20)
    for _ in range(20):
        scores = random.integers(0, 15, 40).astype(dtype)  # many are equal

        best = best_positions(scores, count)

        expected = sorted(range(40), key=lambda position: -int(scores[position]))[:count]
        assert best.tolist() == expected
        assert best.dtype == np.int64


def test_nan_is_lower_than_any_number() -> None:
    nan, inf = float("nan"), float("inf")

    assert best_positions(np.array([nan, 1, inf, nan, 2]), 3).tolist() == [2, 4, 1]
    assert best_positions(np.array([nan, nan]), 5).tolist() == [0, 1]
    assert best_positions(np.array([], np.float32), 5).tolist() == []


@pytest.mark.parametrize("scores", [np.float32(1), np.zeros((2, 3), np.float32)])
def test_scores_that_are_no_vector_are_refused(scores: Any) -> None:
    with pytest.raises(PostprocessError, match="must be a vector"):
        best_positions(scores, 2)


# what is added


def test_names_and_scores_are_added_the_best_first() -> None:
    top = TopClasses(SCORES, 2, ("north", "east", "south", "west"))
    scores = np.array([0.1, 0.5, 0.1, 0.3], np.float32)

    outputs = top({"label": 1, "scores": scores})

    assert outputs["top_names"].tolist() == ["east", "west"]
    np.testing.assert_array_equal(outputs["top_scores"], scores[[1, 3]])
    assert outputs["top_scores"].dtype == np.float32
    assert outputs["label"] == 1
    assert top.outputs == (
        TensorSpec("top_names", "string", (None, 2)),
        TensorSpec("top_scores", "float32", (None, 2)),
    )


def test_without_names_positions_are_added() -> None:
    top = TopClasses(SCORES, 9)

    outputs = top({"scores": np.array([0.1, 0.5, 0.2, 0.3], np.float32)})

    assert outputs["top_indexes"].tolist() == [1, 3, 2, 0]
    assert top.outputs[0] == TensorSpec("top_indexes", "int64", (None, 4)), "no more than there are classes"


def test_an_item_with_another_number_of_scores_than_names_is_refused() -> None:
    top = TopClasses(TensorSpec("scores", "float32", (None, None)), 2, ("no", "yes"))

    assert top({"scores": np.array([0.1, 0.9], np.float32)})["top_names"].tolist() == ["yes", "no"]
    with pytest.raises(PostprocessError, match=r"shape \[3\], and there are 2 names"):
        top({"scores": np.zeros(3, np.float32)})


# which output has the scores


def test_the_only_vector_of_floats_has_the_scores() -> None:
    outputs = (
        SCORES,
        TensorSpec("box", "int32", (None, 4)),
        TensorSpec("map", "float32", (None, 4, 4)),
        TensorSpec("best", "float32", (None,)),
    )

    assert choose_scores(_signature(*outputs), None, None) == SCORES


def test_among_several_vectors_the_number_of_names_decides() -> None:
    features = TensorSpec("features", "float32", (None, 1_280))

    assert choose_scores(_signature(features, SCORES), 4, None) == SCORES
    with pytest.raises(ModelError, match="2 outputs that may be a vector of scores; pass --scores_output"):
        choose_scores(_signature(features, SCORES), None, None)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(None, 4), (None, None), None])
def test_the_user_decides_where_several_may_be_meant(
    dtype: str, shape: tuple[int | None, ...] | None
) -> None:
    logits = TensorSpec("logits", dtype, shape)

    assert choose_scores(_signature(SCORES, logits), 4, "logits") == logits


@pytest.mark.parametrize(
    ("outputs", "classes", "wanted", "problem"),
    [
        ((), None, None, "no output that is a vector of scores"),
        ((TensorSpec("label", "int64", (None,)),), 4, None, "no output that is a vector of scores"),
        ((SCORES,), 3, None, r"3 names, and the output scores: float32 \[\?, 4\] has 4 scores"),
        ((SCORES,), 5, "scores", "5 names"),
        (
            (SCORES,),
            None,
            "score",
            r"no such vector of numbers; those that it has: scores: float32 \[\?, 4\]",
        ),
        ((TensorSpec("text", "string", (None, 4)),), None, "text", "those that it has: none"),
        ((SCORES, TensorSpec("other", "float32", (None, None))), 4, None, "2 outputs"),
    ],
)
def test_scores_that_cannot_be_told_are_an_error_at_launch(
    outputs: tuple[TensorSpec, ...], classes: int | None, wanted: str | None, problem: str
) -> None:
    with pytest.raises(ModelError, match=problem):
        choose_scores(_signature(*outputs), classes, wanted)


# what their names are


def test_names_are_lines_however_they_end(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("\ufefftench, Tinca tinca\r\n  goldfish \r\ncrane\r\ncrane\r\n".encode())

    assert read_class_names(str(file)) == ("tench, Tinca tinca", "goldfish", "crane", "crane")

    file.write_text("a\nb")
    assert read_class_names(str(file)) == ("a", "b")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1 has no name"),
        (b"a\n\nb\n", "line 2 has no name"),
        (b"a\n\n", "line 2 has no name"),
        (b"caf\xe9\n", "not text in UTF-8"),
        (b"x" * (MAX_CLASS_NAMES_BYTES + 1), "has more than 4,194,304 bytes"),
        (None, "there is no file"),
    ],
)
def test_files_that_hold_no_names_are_told(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ModelError, match=problem) as raised:
        read_class_names(str(file))
    assert f"--class_names {file}" in str(raised.value)
