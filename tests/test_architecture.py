"""The map in ARCHITECTURE.md: what it names is there, and what is there is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAP = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## The map")[1].split("## Adding")[0]
PACKAGES = ("options", "pipeline", "transforms")
GROUPED = {"sinks": "a module a format", "engines": "engines/", "storage": "storage/"}
"""Folders of which the map names only the most important modules."""


def modules() -> list[Path]:
    found = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    return sorted(path for path in found if path.name != "__init__.py")


def test_every_module_on_the_map_exists() -> None:
    others = [path for name in ("emulators", "scripts") for path in (ROOT / name).iterdir()]
    existing = {path.name for path in (*modules(), *others)}
    assert set(re.findall(r"\b\w+\.py\b", MAP)) <= existing


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_is_on_the_map(path: Path) -> None:
    named = GROUPED.get(path.parent.name, path.name)
    assert named in MAP
