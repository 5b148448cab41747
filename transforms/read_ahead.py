"""Reading the files of the next batches while the present one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from transforms import storage
from transforms.byte_budget import ByteBudget
from transforms.errors import EmptyFile, ItemError, StorageUnavailable, UnsupportedLocation
from transforms.records import FileBytes, FileRef
from transforms.storage.base import check_generation, check_size

Tag = TypeVar("Tag")
Outcome = FileBytes | ItemError


@dataclass(frozen=True)
class ReadLimits:
    """How much is read at a time.

    Attributes:
        threads: Files that are read at once.
        max_file_bytes: A larger file is an error.
        ahead_bytes: The most bytes to hold beyond the batch that is in use.
        content: Whether to read the bytes, or only to see that the file is there.
    """

    threads: int
    max_file_bytes: int
    ahead_bytes: int
    content: bool


class ReadAhead(Generic[Tag]):
    """A queue of batches whose files are being read by a pool of threads.

    Used by one thread. Batches come out in the order in which they went in.
    """

    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="read")
        self._budget = ByteBudget(limits.ahead_bytes)
        self._pending: deque[_Pending[Tag]] = deque()
        self._put = 0

    def __len__(self) -> int:
        """Return the number of batches that can be taken."""
        return len(self._pending)

    def put(self, refs: Sequence[FileRef], tag: Tag) -> None:
        """Start to read a batch; `tag` comes back with it."""
        self._put += 1
        futures = [self._pool.submit(self._read, ref, self._put) for ref in refs]
        self._pending.append(_Pending(self._put, tag, refs, futures))

    def is_far_ahead(self) -> bool:
        """Tell whether enough is being read to use the first batch meanwhile.

        Two files for each thread keep the threads busy, whatever the size of the batches.
        """
        return (
            sum(len(batch.refs) for batch in self._pending) - len(self._pending[0].refs)
            >= 2 * self._limits.threads
        )

    def take(self) -> tuple[Tag, list[tuple[FileRef, Outcome]]]:
        """Wait for the first batch; from now on its bytes do not count as read ahead.

        Returns:
            Its tag, and for each of its files what was read or why nothing was.
        """
        batch = self._pending.popleft()
        self._budget.want(batch.number)
        outcomes = [future.result() for future in batch.futures]
        taken = list(zip(batch.refs, outcomes, strict=True))
        self._budget.release(sum(_held(outcome) for ref, outcome in taken if ref.content is None))
        return batch.tag, taken

    def close(self) -> None:
        """Stop reading; what was not taken is dropped."""
        self._budget.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, ref: FileRef, batch: int) -> Outcome:
        try:
            return self._read_or_raise(ref, batch)
        except ItemError as error:
            return error
        except Exception as error:  # a file system's own, or a bug in it: it costs this file only
            return StorageUnavailable(f"{ref.uri}: {type(error).__name__}: {error}")

    def _read_or_raise(self, ref: FileRef, batch: int) -> Outcome:
        limits = self._limits
        if ref.content is not None:
            return self._brought(ref, ref.content)
        if ref.size is None or ref.generation is None:
            ref = _present(ref)
        size = self._checked(ref)
        if not limits.content:
            return FileBytes(ref, None)
        self._budget.acquire(size, batch)
        try:
            return FileBytes(ref, storage.storage_of(ref.uri).read(ref, limits.max_file_bytes))
        except BaseException:
            self._budget.release(size)
            raise

    def _brought(self, ref: FileRef, content: bytes) -> FileBytes:
        """Pass on what the input itself brought; it is held already, and no part of the budget."""
        ref = replace(ref, size=len(content), content=None)
        self._checked(ref)
        if not self._limits.content:
            raise UnsupportedLocation(
                f"{ref.uri} came as bytes, and the model's signature takes the names of files; upload it and "
                "send its name, or choose a signature that takes bytes (--signature)"
            )
        return FileBytes(ref, content)

    def _checked(self, ref: FileRef) -> int:
        size = ref.size or 0
        check_size(ref.uri, size, self._limits.max_file_bytes)
        if not size:
            raise EmptyFile(f"{ref.uri} has 0 bytes")
        return size


@dataclass
class _Pending(Generic[Tag]):
    number: int
    tag: Tag
    refs: Sequence[FileRef]
    futures: list[Future[Outcome]]


def _present(ref: FileRef) -> FileRef:
    """Find out the generation and the size of a file."""
    present = storage.stat(ref.uri)
    check_generation(ref, present)
    return replace(present, attributes=ref.attributes, arrived=ref.arrived)


def _held(outcome: Outcome) -> int:
    """Return what the budget counts for a file: the size that it had before it was read."""
    return outcome.ref.size or 0 if isinstance(outcome, FileBytes) and outcome.content is not None else 0
