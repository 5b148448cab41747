"""What goes wrong costs itself only, and says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.exit_codes import DONE, TOO_MANY_DEAD_LETTERS, WRONG_USAGE
from tests.conftest import DIGITS, IMAGES, MAX_FILE_BYTES, MODEL, ROOT, BadFile, Run, run

PROCESSES = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")


def check_outcomes(done: Run, bad_files: Sequence[BadFile]) -> None:
    assert done.code == DONE, done.complaints
    assert sorted(row["uri"] for row in done.predictions) == [str(path) for path in IMAGES]
    letters = {row["uri"]: (row["stage"], row["error"]) for row in done.dead_letters}
    assert letters == {bad.uri: (bad.stage, bad.error) for bad in bad_files}
    assert len(done.dead_letters) == len(bad_files)


@pytest.mark.parametrize(
    ("signature", "batch_size"),
    [
        ("from_bytes", 1),
        ("from_bytes", 7),
        ("from_bytes", 32),
        ("serving_default", 7),
        ("serving_default", 32),
    ],
)
def test_bad_files_cost_themselves_only(
    mixed_list: Path, bad_files: Sequence[BadFile], tmp_path: Path, signature: str, batch_size: int
) -> None:
    done = run(
        *("--input", f"@{mixed_list}", "--model", MODEL, "--signature", signature),
        *("--max_batch_size", batch_size, "--max_file_bytes", MAX_FILE_BYTES),
        output=tmp_path,
    )
    check_outcomes(done, bad_files)
    assert done.summary["dead_letters"] == {
        "decode/DecodeError": 4,
        "read/EmptyFile": 1,
        "read/FileMissing": 1,
        "read/FileTooLarge": 1,
        "read/NotAFile": 1,
    }


def test_bad_files_cost_themselves_only_with_two_worker_threads(
    mixed_list: Path, bad_files: Sequence[BadFile], tmp_path: Path
) -> None:
    done = run(
        *("--input", f"@{mixed_list}", "--model", MODEL, "--max_file_bytes", MAX_FILE_BYTES),
        *("--direct_num_workers", 2, "--direct_running_mode", "multi_threading"),
        output=tmp_path,
    )
    check_outcomes(done, bad_files)
    assert done.summary["model_loads"] == 1


def test_bad_files_cost_themselves_only_with_two_worker_processes(
    mixed_list: Path, bad_files: Sequence[BadFile], tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "pipeline", "--input", f"@{mixed_list}", "--model", str(MODEL)),
        *("--signature", "from_bytes", "--max_file_bytes", str(MAX_FILE_BYTES), "--output", str(tmp_path)),
        *PROCESSES,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    check_outcomes(Run(done.returncode, done.stdout, done.stderr, tmp_path), bad_files)
    assert json.loads((tmp_path / "summary.json").read_text())["model_loads"] == 2


@pytest.mark.parametrize("signature", ["serving_default", "from_bytes"])
def test_awkward_names_are_predicted(tmp_path: Path, signature: str) -> None:
    names = [
        "a b.png",
        "100%.png",
        "%20.png",
        "line\nbreak.png",
        "数字 é.png",
        "[1].png",
        "q'\".png",
        "*.png",
        "#?&=.png",
        "a,b.png",
        " .png",
        "back\\slash.png",
    ]
    folder = tmp_path / "files"
    folder.mkdir()
    for name in names:
        shutil.copy(IMAGES[0], folder / name)
    quoted = [str(folder / name).replace('"', '""') for name in names]
    (tmp_path / "names.csv").write_text("uri\n" + "".join(f'"{name}"\n' for name in quoted))

    for source, output_format in ((f"@{tmp_path}/names.csv", "csv"), (f"{folder}/*", "jsonl")):
        flags = ("--model", MODEL, "--signature", signature, "--output_format", output_format)
        done = run("--input", source, *flags, output=tmp_path / output_format)
        assert done.code == DONE, done.complaints
        assert sorted(row["uri"] for row in done.predictions) == sorted(str(folder / name) for name in names)


def test_a_name_given_twice_is_predicted_twice_under_one_id(digits: Path, tmp_path: Path) -> None:
    one = str(next(digits.iterdir()))
    done = run("--input", one, "--input", one, "--model", MODEL, output=tmp_path / "out")
    assert [row["uri"] for row in done.predictions] == [one, one]
    assert len({row["prediction_id"] for row in done.predictions}) == 1


def test_a_line_without_a_uri_is_a_dead_letter(tmp_path: Path) -> None:
    lines = [json.dumps({"uri": str(IMAGES[0])}), '{"label": 3}', "no json"]
    (tmp_path / "names.jsonl").write_text("\n".join(lines))
    done = run("--input", f"@{tmp_path}/names.jsonl", "--model", MODEL, output=tmp_path / "out")
    assert len(done.predictions) == 1
    assert [(row["stage"], row["payload"]) for row in done.dead_letters] == [
        ("parse", '{"label": 3}'),
        ("parse", "no json"),
    ]


class TestBeforeTheStart:
    """Nothing is started, and everything wrong is told at once."""

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--model", DIGITS / "images"], "is no model"),
            (["--model", "nowhere"], "there is no file or folder of that name"),
            (["--signature", "nope"], "from_bytes(image_bytes: string [?]) -> (label: int64 [?]"),
            (["--input", "nothing/*.png"], "no file matches nothing/*.png"),
            (["--input", "@nothing.txt"], "the list nothing.txt cannot be read"),
            (["--max_batch_size", "0"], "--max_batch_size must be a whole number of at least 1; got '0'"),
            (["--max_batch_sise", "3"], "unknown flag --max_batch_sise; did you mean --max_batch_size?"),
            (["--output_format", "xml"], "--output_format must be one of jsonl, csv, parquet; got 'xml'"),
            (["other.png"], "'other.png' belongs to no flag; put a glob in quotes"),
            (["--min_batch_size", "33"], "--min_batch_size 33 is above --max_batch_size 32"),
            (["--max_dead_letter_ratio", "1.5"], "must be a number from 0 to 1; got '1.5'"),
        ],
        ids=lambda value: " ".join(map(str, value[:1])) if isinstance(value, list) else "",
    )
    def test_it_is_told_with_the_value_and_the_remedy(
        self, digits: Path, tmp_path: Path, flags: list[object], message: str
    ) -> None:
        done = run("--input", f"{digits}/*.png", "--model", MODEL, *flags, output=tmp_path / "out")
        assert done.code == WRONG_USAGE
        assert message in done.complaints
        assert not list((tmp_path / "out").glob("predictions-*"))

    def test_an_output_that_cannot_be_written(self, digits: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        done = run("--input", f"{digits}/*.png", "--model", MODEL, output=tmp_path / "file")
        assert done.code == WRONG_USAGE
        assert "cannot be written" in done.complaints

    def test_all_that_is_wrong_is_told_at_once(self, tmp_path: Path) -> None:
        done = run(
            "--inptu", "x", "--read_threads", "none", "--output_format", "xml", output=tmp_path / "out"
        )
        for told in (
            "--inptu",
            "--input is missing",
            "--model is missing",
            "--read_threads",
            "--output_format",
        ):
            assert told in done.complaints


class TestEarlierOutput:
    def test_it_is_refused(self, digits: Path, tmp_path: Path) -> None:
        flags = ("--input", f"{digits}/*.png", "--model", MODEL)
        assert run(*flags, output=tmp_path / "out").code == DONE
        again = run(*flags, output=tmp_path / "out")
        assert again.code == WRONG_USAGE
        assert "--overwrite" in again.complaints

    def test_overwriting_deletes_it_and_nothing_else(self, digits: Path, tmp_path: Path) -> None:
        flags = ("--input", f"{digits}/*.png", "--model", MODEL)
        first = {path.name for path in run(*flags, output=tmp_path / "out").output.iterdir()}
        (tmp_path / "out" / "predictions-notes.txt").write_text("mine")
        again = run(*flags, "--overwrite", output=tmp_path / "out")
        assert again.code == DONE, again.complaints
        names = {path.name for path in again.output.iterdir()}
        assert names & first == {"summary.json"}
        assert names > {"summary.json", "predictions-notes.txt"}
        assert again.summary["predictions"] == 3


def test_too_many_dead_letters_end_with_their_own_code(digits: Path, tmp_path: Path) -> None:
    (digits / "empty.png").touch()
    flags = ("--input", f"{digits}/*.png", "--model", MODEL, "--max_dead_letter_ratio")
    assert run(*flags, 0.25, output=tmp_path / "enough").code == DONE
    done = run(*flags, 0.2, output=tmp_path / "too many")
    assert done.code == TOO_MANY_DEAD_LETTERS
    assert (len(done.predictions), len(done.dead_letters)) == (3, 1)
    assert done.summary["dead_letters"] == {"read/EmptyFile": 1}


def test_dead_letters_go_where_they_are_sent_and_names_may_have_a_prefix(
    digits: Path, tmp_path: Path
) -> None:
    (digits / "empty.png").touch()
    flags = ("--input", f"{digits}/*.png", "--model", MODEL)
    done = run(*flags, "--dead_letters", f"{tmp_path}/letters", output=tmp_path / "out")
    assert len(list((tmp_path / "letters").glob("dead_letters-*"))) == 1
    assert not done.dead_letters

    assert main([*map(str, flags), "--output", f"{tmp_path}/run1-"]) == DONE
    kinds = {path.name.partition("-202")[0] for path in tmp_path.glob("run1-*")}
    assert kinds == {"run1-predictions", "run1-dead_letters", "run1-summary.json"}
