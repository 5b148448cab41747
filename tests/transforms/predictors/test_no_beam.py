"""Who imports what: the predictors no Beam, and nothing TensorFlow before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transforms import digits

ROOT = Path(__file__).parents[3]
MODULES = sorted((ROOT / "transforms" / "predictors").rglob("*.py"))


def imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def run(code: str) -> str:
    """Return what a new Python prints."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_module_of_the_predictors_imports_beam(module: Path) -> None:
    assert not [name for name in imported(module) if name.partition(".")[0] == "apache_beam"]


def test_a_model_can_be_used_without_beam() -> None:
    image = digits.IMAGES[0]
    code = f"""
import sys
from transforms import FileBytes, FileRef, open_model
predictor = open_model({digits.MODEL!r}, "from_bytes")
predictor.signature, predictor.input_kind, predictor.model_version
assert "tensorflow" not in sys.modules, "TensorFlow is imported before load()"
predictor.load()
predictor.warm_up(1)
(outputs,) = predictor.predict([FileBytes(FileRef({image!r}), open({image!r}, "rb").read())])
print(sorted(outputs), "apache_beam" in sys.modules)
"""
    assert run(code) == "['label', 'probability', 'scores'] False"


@pytest.mark.parametrize("modules", [["transforms"], ["options", "pipeline.graph", "transforms.predict"]])
def test_importing_imports_no_tensorflow(modules: list[str]) -> None:
    code = f"import sys, {', '.join(modules)}\nprint('tensorflow' in sys.modules)"
    assert run(code) == "False"


def test_importing_transforms_imports_nothing_heavy() -> None:
    heavy = ("apache_beam", "tensorflow", "numpy", "pyarrow", "google.cloud.storage")
    code = f"import sys, transforms\nprint([name for name in {heavy} if name in sys.modules])"
    assert run(code) == "[]"


def test_every_public_name_can_be_imported() -> None:
    import transforms

    assert sorted(transforms.__all__) == sorted(transforms._MODULES)
    for name in transforms.__all__:
        assert getattr(transforms, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = transforms.Nothing
