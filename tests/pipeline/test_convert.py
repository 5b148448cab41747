"""`beam-predict convert`, as a user calls it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.convert import lines_of
from tests.transforms.predictors.engines.installed import require
from tests.transforms.predictors.engines.stubs import DOUBLE, Clock
from transforms.predictors.convert import Comparison, batches_of, compare
from transforms.predictors.engines.litert_engine import compile_litert
from transforms.predictors.engines.openvino_engine import import_openvino
from transforms.predictors.functions import Tensors
from transforms.predictors.saved_model import SavedModelFunction

DIGITS = Path(__file__).parents[2] / "examples/digits"
MODEL = str(DIGITS / "model")
IMAGES = str(DIGITS / "images/*.png")
FEW_IMAGES = str(DIGITS / "images/00*.png")


def _convert(*arguments: str) -> int:
    return main(["convert", "--model", MODEL, "--signature", "from_images", *arguments])


def _printed(text: str) -> dict[str, str]:
    """Take the printed lines apart, by what they begin with."""
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in text.splitlines()[1:])


@pytest.mark.parametrize("quantize", [None, "float16", "dynamic", "int8"])
def test_tflite_agrees_with_the_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quantize: str | None
) -> None:
    require("litert")
    output = tmp_path / "models/digits.tflite"
    quantized = ["--quantize", quantize] if quantize else []
    representative = ["--representative", FEW_IMAGES] if quantize == "int8" else []

    code = _convert(
        "--to", "tflite", "--output", str(output), "--compare", IMAGES, *quantized, *representative
    )

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{MODEL} from_images as TensorFlow Lite: {output}"
    printed = _printed(out)
    assert printed["size"].startswith(f"{output.stat().st_size:,} bytes; the original has ")
    assert printed["compared on"] == "360 files"
    assert float(re.findall(r"[\d.]+", printed["agree in label"])[-1]) > 99
    limit = 1e-5 if quantize is None else 0.2
    assert float(printed["differ in scores"].rpartition(" ")[2]) < limit
    assert re.fullmatch(r"[\d.]+ times the original's, on batches of 32", printed["speed"])


def test_tflite_holds_what_was_compared(tmp_path: Path) -> None:
    require("litert")
    output, function = tmp_path / "digits.tflite", SavedModelFunction(MODEL, "from_images")

    assert _convert("--to", "tflite", "--output", str(output)) == 0

    function.load()
    images = {"images": np.random.default_rng(1).random((9, 8, 8, 1), dtype=np.float32)}
    found = compile_litert(output.read_bytes(), function.signature, 32)(images)
    assert found["label"].tolist() == function.call(images)["label"].tolist()


@pytest.mark.parametrize("quantize", [None, "float16"])
def test_openvino_agrees_with_the_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quantize: str | None
) -> None:
    require("openvino")
    quantized = ["--quantize", quantize] if quantize else []

    code = _convert("--to", "openvino", "--output", str(tmp_path / "digits"), "--compare", IMAGES, *quantized)

    printed = _printed(capsys.readouterr().out)
    assert code == 0
    assert printed["agree in label"].startswith("360 (100.00%)") or quantize
    weights = (tmp_path / "digits/model.bin").stat().st_size
    assert (weights < 100_000) == (quantize == "float16")
    model = import_openvino().Core().compile_model(tmp_path / "digits/model.xml", "CPU")
    assert model(np.zeros((3, 8, 8, 1), np.float32))["label"].shape == (3,)


def test_int8_is_compared_on_the_representative_files_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("litert")
    code = _convert(
        *("--to", "tflite", "--output", str(tmp_path / "a.tflite")),
        *("--quantize", "int8", "--representative", FEW_IMAGES),
    )

    count = len(list(DIGITS.glob("images/00*.png")))
    assert code == 0
    assert _printed(capsys.readouterr().out)["compared on"] == f"{count} files"


def test_without_files_nothing_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _convert("--to", "tflite", "--output", str(tmp_path / "a.tflite")) == 0
    assert list(_printed(capsys.readouterr().out)) == ["size"]


def test_files_that_are_no_images_are_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require("litert")
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "good.png").write_bytes(next(DIGITS.glob("images/*.png")).read_bytes())

    code = _convert(
        "--to", "tflite", "--output", str(tmp_path / "a.tflite"), "--compare", f"{tmp_path}/*.png"
    )

    out, err = capsys.readouterr()
    assert code == 0
    assert _printed(out)["compared on"] == "1 file"
    assert "left out: " in err


def test_what_is_there_is_overwritten_only_when_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.tflite"
    output.write_bytes(b"precious")

    assert _convert("--to", "tflite", "--output", str(output)) == 2
    assert f"--output: there is already {output}" in capsys.readouterr().err
    assert output.read_bytes() == b"precious"
    assert _convert("--to", "tflite", "--output", str(output), "--overwrite") == 0
    assert output.read_bytes() != b"precious"


def test_wrong_flags_are_told_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["convert", "--to", "tflight", "--quantise", "int8", "--preprocess", "size=big"])

    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("beam-predict convert: nothing was started, because of:\n")
    assert "unknown flag --quantise; did you mean --quantize?" in err
    assert "--model is missing" in err
    assert "--output is missing" in err
    assert "--to must be one of tflite, openvino (did you mean tflite?); got 'tflight'" in err
    assert "--preprocess size must be WIDTHxHEIGHT" in err
    assert "`beam-predict convert --help` lists the flags" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "openvino", "--quantize", "int8"], "--quantize int8: --to openvino takes float16 only"),
        (["--to", "tflite", "--quantize", "int8"], "--quantize int8 needs --representative"),
        (["--to", "tflite", "--representative", "a"], "--representative has no effect without"),
    ],
)
def test_contradictions_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert _convert("--output", str(tmp_path / "a"), *arguments) == 2
    assert told in capsys.readouterr().err


def test_what_is_wrong_with_model_and_files_is_told_before_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["convert", "--model", MODEL, "--to", "tflite", "--output", str(tmp_path / "a"), "--compare", "no/*"]
    )

    err = capsys.readouterr().err
    assert code == 2
    assert "--compare no/*: no file matches no/*" in err
    assert "signature serving_default(filenames: string [?])" in err
    assert "\n    from_images(images: float32 [?, 8, 8, 1])" in err


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert re.search(r"beam-predict convert +convert a model", out)
    assert "--input FILES" in out


def test_agreement_is_counted_and_the_largest_difference_is_kept() -> None:
    clock = Clock()

    def original(inputs: Tensors) -> Tensors:
        clock.spend(2.0)
        return {"y": inputs["x"]}

    def converted(inputs: Tensors) -> Tensors:
        clock.spend(0.5)
        return {"y": inputs["x"] - np.array([1, 0], np.float32) * (inputs["x"] > 2)}

    items = ({"x": np.array([[number, 1.5]], np.float32)} for number in (1, 2, 2.4, 9))

    found = compare(original, converted, batches_of(items, DOUBLE, 3), DOUBLE, batch_size=3, clock=clock)

    assert (found.items, found.agreements, found.differences) == (4, {"y": 3}, {"y": 1.0})
    assert (found.speedup, found.batch_size) == (4.0, 3)


def test_scores_without_a_single_best_one_are_no_agreement() -> None:
    def original(inputs: Tensors) -> Tensors:
        return {"y": np.round(inputs["x"])}

    def converted(inputs: Tensors) -> Tensors:
        return {"y": np.zeros_like(inputs["x"])}

    def found_on(*rows: list[float]) -> Comparison:
        items = ({"x": np.array([row], np.float32)} for row in rows)
        return compare(original, converted, batches_of(items, DOUBLE, 3), DOUBLE, batch_size=3)

    some, none = found_on([1.1, 0.9], [2, 1], [1, 2]), found_on([1.1, 0.9])

    assert (some.items, some.decided, some.agreements) == (3, {"y": 2}, {"y": 1})
    assert dict(lines_of(some))["agree in y"] == "1 (50.00%) of the 2 with a single best score"
    assert (none.decided, none.agreements) == ({"y": 0}, {"y": 0})
    assert dict(lines_of(none))["agree in y"] == "unknown: no file has a single best score"


def test_there_must_be_something_to_compare_on() -> None:
    with pytest.raises(ValueError, match="nothing to compare on"):
        compare(lambda inputs: inputs, lambda inputs: inputs, batches_of([], DOUBLE, 3), DOUBLE)
