"""The best classes of a vector of scores, with their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms import storage
from transforms.errors import FileTooLarge, ModelError, PostprocessError, ReadError
from transforms.predictors.base import Predictor, Signature, TensorSpec
from transforms.predictors.postprocess import PostprocessedPredictor, with_postprocessing
from transforms.records import Outputs

DEFAULT_TOP_K = 5
MAX_CLASS_NAMES_BYTES = 4 << 20  # the names travel in the pipeline's description, which must stay small

TOP_NAMES = "top_names"
TOP_INDEXES = "top_indexes"
TOP_SCORES = "top_scores"


@dataclass(frozen=True)
class TopClasses:
    """A postprocessing that adds the best classes, the best first, as vectors of equal length.

    Vectors, and not a list of pairs, because a signature can tell them: so every format that holds the
    model's own outputs holds these, `top_names[0]` is the answer, and it stands beside `top_scores[0]`.

    Attributes:
        scores: The output that has a score for each class.
        count: How many classes to add, or as many as there are.
        names: Of the classes, in the order of the scores; empty to add their positions, from 0, instead.
    """

    scores: TensorSpec
    count: int
    names: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[TensorSpec, TensorSpec]:
        """What is added."""
        shape = (None, self._length)
        classes = (TOP_NAMES, "string") if self.names else (TOP_INDEXES, "int64")
        return TensorSpec(*classes, shape), TensorSpec(TOP_SCORES, self.scores.dtype, shape)

    def __call__(self, outputs: Outputs) -> Outputs:
        """Add the best classes to one item's outputs.

        Raises:
            PostprocessError: There is no name for each score.
        """
        scores = outputs[self.scores.name]
        if self.names and scores.shape != (len(self.names),):
            raise PostprocessError(
                f"the output {self.scores.name!r} has the shape {list(scores.shape)}, and there are "
                f"{len(self.names)} names of classes (--class_names)"
            )
        best = best_positions(scores, self.count)
        names = {TOP_NAMES: _strings(self.names, best)} if self.names else {TOP_INDEXES: best}
        return {**outputs, **names, TOP_SCORES: scores[best]}

    @property
    def _length(self) -> int | None:
        classes = len(self.names) or _length(self.scores)
        return None if classes is None else min(self.count, classes)


def with_top_classes(
    predictor: Predictor,
    names: Sequence[str] = (),
    count: int = DEFAULT_TOP_K,
    scores_output: str | None = None,
) -> PostprocessedPredictor:
    """Add the best classes to a predictor's outputs.

    Args:
        predictor: One of its outputs is a vector of scores.
        names: Of the classes, see `read_class_names`; empty to add their positions.
        count: How many classes to add, or as many as there are.
        scores_output: The output with the scores; None where there is only one that can be meant.

    Raises:
        ModelError: No output, or more than one, can be meant, or there is not one name for each score.
    """
    scores = choose_scores(predictor.signature, len(names) or None, scores_output)
    added = TopClasses(scores, count, tuple(names))
    return with_postprocessing(predictor, added, (*predictor.signature.outputs, *added.outputs))


def choose_scores(signature: Signature, classes: int | None, wanted: str | None) -> TensorSpec:
    """Find the output that has a score for each class.

    Args:
        signature: Tells the outputs.
        classes: How many classes there are; None while unknown.
        wanted: The output that the user named, if any.

    Raises:
        ModelError: No output, or more than one, can be meant, or it has another number of classes.
    """
    scores = _named(signature, wanted) if wanted else _only(signature, classes)
    length = _length(scores)
    if classes is not None and length not in (None, classes):
        raise ModelError(
            f"--class_names: there are {classes} names, and the output {scores} has {length} scores; "
            "give one name for each score, in the same order"
        )
    return scores


def read_class_names(uri: str) -> tuple[str, ...]:
    """Read the names of classes, one a line.

    Raises:
        ModelError: The file cannot be read, is too large, is not UTF-8, or has a line without a name.
    """
    try:
        text = storage.read(uri, MAX_CLASS_NAMES_BYTES).decode("utf-8-sig")
    except FileTooLarge as error:
        raise ModelError(f"--class_names {uri}: has more than {MAX_CLASS_NAMES_BYTES:,} bytes") from error
    except ReadError as error:
        raise ModelError(f"--class_names {uri}: {error}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"--class_names {uri}: is not text in UTF-8 ({error})") from error
    names = tuple(line.strip() for line in text.removesuffix("\n").split("\n"))
    if not all(names):
        raise ModelError(f"--class_names {uri}: line {names.index('') + 1} has no name; give one a line")
    return names


def best_positions(scores: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the positions of the highest scores, the highest first.

    Equal scores keep their order, and NaN is lower than any number, so that the same scores give the same
    answer everywhere.

    Raises:
        PostprocessError: The scores are not a vector.
    """
    if scores.ndim != 1:
        raise PostprocessError(f"the scores have the shape {list(scores.shape)}; they must be a vector")
    lowness = -scores.astype(np.float64)
    lowness[np.isnan(lowness)] = np.inf
    last = min(count, len(lowness)) - 1
    if last < 0:
        return np.empty(0, np.int64)
    # Sorting those only that can be meant: of a thousand scores, five.
    candidates = np.flatnonzero(lowness <= np.partition(lowness, last)[last])
    order = np.argsort(lowness[candidates], kind="stable")
    return candidates[order][: last + 1].astype(np.int64)


def _named(signature: Signature, wanted: str) -> TensorSpec:
    found = next((spec for spec in signature.outputs if spec.name == wanted), None)
    if found is None or not _may_be_scores(found):
        listed = ", ".join(str(spec) for spec in signature.outputs if _may_be_scores(spec)) or "none"
        raise ModelError(
            f"--scores_output {wanted}: signature {signature} has no such vector of numbers; "
            f"those that it has: {listed}"
        )
    return found


def _only(signature: Signature, classes: int | None) -> TensorSpec:
    vectors = [spec for spec in signature.outputs if _is_vector(spec) and _is_float(spec)]
    fitting = [spec for spec in vectors if classes is None or _length(spec) in (None, classes)]
    candidates = fitting or vectors  # where none fits, the one that there is tells best what is wrong
    if len(candidates) != 1:
        found = f"{len(candidates)} outputs that may be" if candidates else "no output that is"
        raise ModelError(
            f"--class_names, --top_k: signature {signature} has {found} a vector of scores; "
            "pass --scores_output with the one that has a score for each class"
        )
    return candidates[0]


def _is_vector(spec: TensorSpec) -> bool:
    return spec.item_shape is not None and len(spec.item_shape) == 1


def _is_float(spec: TensorSpec) -> bool:
    return "float" in spec.dtype


def _may_be_scores(spec: TensorSpec) -> bool:
    is_number = _is_float(spec) or "int" in spec.dtype
    return is_number and (spec.item_shape is None or _is_vector(spec))


def _length(scores: TensorSpec) -> int | None:
    return scores.item_shape[0] if scores.item_shape else None


def _strings(names: Sequence[str], positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([names[position] for position in positions], object)
