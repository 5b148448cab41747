"""The bundled digits: real images, and a model for them."""

from __future__ import annotations

from pathlib import Path

from transforms.records import FileBytes, FileRef

FOLDER = Path(__file__).parents[2] / "examples" / "digits"
MODEL = str(FOLDER / "model")
IMAGES = sorted(map(str, (FOLDER / "images").glob("*.png")))


def with_bytes(*paths: str | Path) -> list[FileBytes]:
    """Return files with their bytes, as `ReadFiles` would."""
    return [FileBytes(FileRef(str(path)), Path(path).read_bytes()) for path in paths]


def with_names(*paths: str | Path) -> list[FileBytes]:
    """Return files without their bytes."""
    return [FileBytes(FileRef(str(path)), None) for path in paths]
