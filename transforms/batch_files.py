"""From files to batches of files."""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.records import FileRef

DEFAULT_BATCH_SIZE = 32


@dataclass(eq=False)
class BatchFiles(beam.PTransform[PCollection[FileRef], PCollection[list[FileRef]]]):
    """Group files into batches with Beam's `BatchElements`; only names are held.

    Attributes:
        max_batch_size: The most files in a batch; the last batch of a bundle may be smaller.
        min_batch_size: Where smaller than `max_batch_size`, Beam measures which size between the two is
            worth its time; None for batches of one size.
    """

    max_batch_size: int = DEFAULT_BATCH_SIZE
    min_batch_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no batch can have."""
        super().__init__()
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size is {self.max_batch_size}; it must be at least 1")
        if self.min_batch_size is not None and not 1 <= self.min_batch_size <= self.max_batch_size:
            raise ValueError(
                f"min_batch_size is {self.min_batch_size}; it must be from 1 to max_batch_size, "
                f"{self.max_batch_size}"
            )

    def expand(self, files: PCollection[FileRef]) -> PCollection[list[FileRef]]:
        """Return lists of `FileRef`s."""
        batches: PCollection[list[FileRef]] = files | "Batch" >> beam.BatchElements(
            min_batch_size=self.min_batch_size or self.max_batch_size, max_batch_size=self.max_batch_size
        )
        return batches
