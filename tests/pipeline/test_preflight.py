"""What is checked before the start: the model, the inputs and the outputs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from options import parse
from pipeline import preflight
from pipeline.exit_codes import DONE, WRONG_USAGE
from tests.conftest import IMAGES, MODEL, run
from tests.transforms.toy_models import save_toys
from transforms.errors import UsageError


def problems(*flags: object) -> list[str]:
    """Return what the checks tell of a command line that is understood."""
    options = parse([*map(str, flags)])
    try:
        preflight.check(options)
    except UsageError as error:
        return error.problems
    return []


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def needed(tmp_path: Path) -> tuple[object, ...]:
    """Flags with nothing wrong about them."""
    return ("--input", IMAGES[0], "--model", MODEL, "--output", tmp_path / "out")


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_toys(tmp_path_factory.mktemp("models") / "toys")


def test_what_is_right_passes_and_leaves_no_file(needed: tuple[object, ...], tmp_path: Path) -> None:
    assert problems(*needed) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_model_the_inputs_and_the_outputs_are_all_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = problems(
        *("--input", IMAGES[0], "--input", "nothing/*.png", "--input", "@nothing.csv"),
        *("--model", "nowhere", "--output", tmp_path / "file", "--dead_letters", tmp_path / "file" / "below"),
    )
    beginnings = (
        "--model nowhere",
        "--input nothing/*.png",
        "--input @nothing.csv",
        "--output",
        "--dead_letters",
    )
    assert [problem.startswith(told) for problem, told in zip(told, beginnings, strict=True)] == [True] * 5


class TestModel:
    def test_a_signature_that_it_lacks_is_told_with_those_that_it_has(
        self, needed: tuple[object, ...]
    ) -> None:
        (problem,) = problems(*needed, "--signature", "from_byte")
        outputs = "-> (label: int64 [?], probability: float32 [?], scores: float32 [?, 10])"
        assert [line.strip() for line in problem.splitlines()] == [
            f"--model {MODEL} has no signature 'from_byte'; pass --signature with one that it has:",
            f"from_bytes(image_bytes: string [?]) {outputs}",
            f"from_images(images: float32 [?, 8, 8, 1]) {outputs}",
            "preprocess(image_bytes: string [?]) -> (images: float32 [?, 8, 8, 1])",
            f"serving_default(filenames: string [?]) {outputs}",
        ]

    @pytest.mark.parametrize(
        ("signature", "told"),
        [
            ("numbers", "takes images as numbers; say how they were prepared when the model was trained"),
            ("undecided", "pass --input_kind names or --input_kind bytes"),
            ("waves", "cannot be written: no output format holds complex64"),
        ],
    )
    def test_a_signature_that_cannot_be_served_is_told_with_the_remedy(
        self, needed: tuple[object, ...], toys: str, signature: str, told: str
    ) -> None:
        (problem,) = problems(*needed, "--model", toys, "--signature", signature)
        assert told in problem

    def test_the_input_kind_decides_where_the_names_do_not(
        self, needed: tuple[object, ...], toys: str
    ) -> None:
        assert problems(*needed, "--model", toys, "--signature", "undecided", "--input_kind", "bytes") == []

    def test_a_damaged_model_is_told(self, needed: tuple[object, ...], tmp_path: Path) -> None:
        (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 100)
        (problem,) = problems(*needed, "--model", tmp_path)
        assert "saved_model.pb is damaged" in problem


class TestInputs:
    def test_only_the_input_without_a_file_is_told(self, needed: tuple[object, ...], digits: Path) -> None:
        (problem,) = problems(*needed, "--input", f"{digits}/*.jpg", "--input", f"{digits}/*.png")
        assert problem.startswith(f"--input {digits}/*.jpg: no file matches")

    def test_a_folder_is_told_with_the_glob_for_its_files(
        self, needed: tuple[object, ...], digits: Path
    ) -> None:
        (problem,) = problems(*needed, "--input", digits)
        assert problem.endswith(f"is a folder; to predict on the files in it, give {digits}/*")

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("names.csv", b"", "is empty"),
            ("names.csv", b"uri,label\n", "is empty"),
            ("names.txt", b"\n \n", "is empty"),
            ("names.csv", b"name,label\na.png,1\n", "has no column 'uri', only name, label"),
            ("names.txt.gz", b"a.png\n", "cannot be read"),
        ],
    )
    def test_a_list_that_gives_no_names_is_told(
        self, needed: tuple[object, ...], tmp_path: Path, name: str, content: bytes, told: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        (problem,) = problems(*needed, "--input", f"@{tmp_path / name}")
        assert problem.startswith(f"--input @{tmp_path / name}: the list {tmp_path / name} {told}")

    def test_a_list_whose_first_line_names_no_file_is_no_reason_to_refuse(
        self, needed: tuple[object, ...], tmp_path: Path
    ) -> None:
        (tmp_path / "names.jsonl").write_text('{"label": 3}\n')
        assert problems(*needed, "--input", f"@{tmp_path}/names.jsonl") == []

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names outside UTF-8")
    def test_a_name_that_is_not_utf8_is_told(self, tmp_path: Path) -> None:
        name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
        shutil.copy(IMAGES[0], name)
        done = run("--input", name, "--model", MODEL, output=tmp_path / "out")
        assert done.code == WRONG_USAGE, done.complaints
        assert "UTF-8" in done.complaints


class TestRunner:
    def test_one_that_does_not_exist_is_told_before_the_start(
        self, needed: tuple[object, ...], tmp_path: Path
    ) -> None:
        done = run(*needed[:4], "--runner", "DirectRuner", output=tmp_path / "out")
        assert done.code == WRONG_USAGE, done.complaints
        assert "DirectRuner" in done.complaints
        assert "Traceback" not in done.complaints


class TestOutputs:
    @pytest.mark.parametrize("below", ["file", "file/below", "file/run1-"])
    def test_one_that_cannot_be_written_is_told(
        self, needed: tuple[object, ...], tmp_path: Path, below: str
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        (problem,) = problems(*needed, "--output", tmp_path / below)
        assert problem.startswith(f"--output: {tmp_path}/file")
        assert "cannot be written" in problem
        assert problem.endswith("give a folder that you may write to")

    @pytest.mark.parametrize("out", ["out", "out[1]", "out*", "a b%20"])
    def test_an_earlier_run_is_refused_and_overwriting_deletes_its_files_only(
        self, digits: Path, tmp_path: Path, out: str
    ) -> None:
        flags = ("--input", f"{digits}/*.png", "--model", MODEL)
        folder = tmp_path / out
        others = ("predictions-old-", "dead_letters-", "x")
        for other in others:  # runs that share the folder, under names that look alike
            assert run(*flags, output=folder / other).code == DONE
        theirs = names(folder)
        assert run(*flags, output=folder).code == DONE

        again = run(*flags, output=folder)
        assert again.code == WRONG_USAGE
        assert "an earlier run has left" in again.complaints

        (folder / "predictions-notes.txt").write_text("mine")
        (folder / "predictions-20260101.jsonl").write_text("mine")
        (folder / ".incomplete-predictions-20260101T000000-0123456789ab.jsonl").write_text("broken off")
        kept = {*theirs, "predictions-notes.txt", "predictions-20260101.jsonl"}
        before = names(folder)
        overwritten = run(*flags, "--overwrite", output=folder)
        assert overwritten.code == DONE, overwritten.complaints
        assert names(folder) & before == kept | {"summary.json"}
        assert len(names(folder) - before) == 1

    def test_dead_letters_of_an_earlier_run_elsewhere_are_refused_too(
        self, needed: tuple[object, ...], tmp_path: Path, digits: Path
    ) -> None:
        (digits / "empty.png").touch()
        flags = ("--input", f"{digits}/*.png", "--model", MODEL, "--dead_letters", tmp_path / "letters")
        assert run(*flags, output=tmp_path / "first").code == DONE
        again = run(*flags, output=tmp_path / "second")
        assert again.code == WRONG_USAGE
        assert f"{tmp_path}/letters/dead_letters-" in again.complaints
        (tmp_path / "letters" / "dead_letters-notes.txt").write_text("mine")
        before = names(tmp_path / "letters")
        assert run(*flags, "--overwrite", output=tmp_path / "second").code == DONE
        assert names(tmp_path / "letters") & before == {"dead_letters-notes.txt"}
        assert len(names(tmp_path / "letters") - before) == 1
        assert {"summary.json"} < names(tmp_path / "first")

    def test_a_summary_that_is_there_is_not_replaced_unasked(
        self, needed: tuple[object, ...], tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "summary.json").write_text("mine")
        (problem,) = problems(*needed)
        assert f"{tmp_path}/out/summary.json" in problem
        assert "--overwrite" in problem

    def test_overwriting_nothing_is_no_error(self, needed: tuple[object, ...]) -> None:
        assert problems(*needed, "--overwrite") == []
