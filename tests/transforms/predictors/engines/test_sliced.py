"""Batches in slices."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.transforms.predictors.engines.stubs import DOUBLE, batch
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.engines.sliced import SLICE_BYTES, Sliced
from transforms.predictors.functions import Tensors

IMAGE_BYTES = SLICE_BYTES // 2
LARGE = Signature(
    "large",
    (TensorSpec("image", "uint8", (None, IMAGE_BYTES)), TensorSpec("scale", "float32", ())),
    (TensorSpec("y", "float32", (None,)),),
)


class Worker:
    """Sums rows, and sees that nobody else calls it meanwhile."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._busy = threading.Lock()

    def __call__(self, inputs: Tensors) -> Tensors:
        assert self._busy.acquire(blocking=False)
        try:
            first, *others = inputs.values()
            self.sizes.append(len(first))
            factor = others[0] if others else np.float32(1)
            return {"y": first.sum(axis=1, dtype=np.float32) * factor}
        finally:
            self._busy.release()


def _images(count: int) -> Tensors:
    numbers = np.arange(count, dtype=np.uint8)
    return {"image": np.repeat(numbers[:, None], IMAGE_BYTES, 1), "scale": np.float32(1 / IMAGE_BYTES)}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_rows_come_back_in_order(count: int) -> None:
    sliced = Sliced([Worker(), Worker()], LARGE)

    assert sliced(_images(count))["y"].tolist() == list(range(count))


def test_slices_of_large_items_are_small() -> None:
    workers = [Worker(), Worker()]

    Sliced(workers, LARGE)(_images(16))

    assert {size for worker in workers for size in worker.sizes} == {2}
    assert sum(sum(worker.sizes) for worker in workers) == 16


def test_small_items_are_shared_out_evenly() -> None:
    workers = [Worker(), Worker()]

    Sliced(workers, DOUBLE)(batch(*range(10)))

    assert sorted(size for worker in workers for size in worker.sizes) == [5, 5]


def test_a_fixed_number_of_rows_is_not_sliced() -> None:
    fixed = Signature("fixed", (TensorSpec("x", "float32", (10, 2)),), DOUBLE.outputs)
    workers = [Worker(), Worker()]

    Sliced(workers, fixed)(batch(*range(10)))

    assert [size for worker in workers for size in worker.sizes] == [10]


def test_each_worker_computes_one_slice_at_a_time_for_all_threads() -> None:
    sliced = Sliced([Worker(), Worker()], LARGE)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda count: sliced(_images(count))["y"].tolist(), range(1, 40)))

    assert results == [list(range(count)) for count in range(1, 40)]


def test_a_failing_slice_fails_the_batch_and_nothing_after_it() -> None:
    def worker(inputs: Tensors) -> dict[str, Any]:
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["x"]}

    sliced = Sliced([worker, worker], DOUBLE)

    with pytest.raises(ValueError, match="negative"):
        sliced(batch(1, 2, 3, -4))
    assert sliced(batch(1, 2))["y"].tolist() == [[1, 1], [2, 2]]
