"""The files that an endpoint is asked about at launch, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.model_server import ModelServer, model_server
from emulators.rest_apis import MultipartApi
from options import SourceOptions, parse
from pipeline.sample_files import MAX_LISTED, first_files
from tests.pipeline.test_preflight import problems
from tests.transforms.predictors.remote.remote_models import counting
from transforms.errors import EmptyFile, ItemError, ListError
from transforms.records import FileBytes


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server(MultipartApi("/predict", counting(), "content")) as running:
        yield running
    assert running.violations == []


def found(*inputs: object) -> list[str | type]:
    """Return the contents of the first files, or the kinds of their errors."""
    flags = [flag for named in inputs for flag in ("--input", str(named))]
    source = parse([*flags, "--model", "m", "--output", "out"]).view_as(SourceOptions)
    return [_shown(sample) for sample in first_files(source, "bytes")]


def _shown(sample: FileBytes | ItemError) -> str | type:
    return type(sample) if isinstance(sample, ItemError) else (sample.content or b"").decode()


def told(server: ModelServer, folder: Path, *flags: object) -> list[str]:
    """Return what the checks tell of a run."""
    address = ("--endpoint", f"{server.address}/predict", "--endpoint_protocol", "multipart")
    kind = ("--input_kind", "bytes", "--item_input", "content")
    return problems(*address, *kind, "--output", folder / "out", *flags)


class TestFiles:
    def test_an_input_without_files_does_not_hide_the_others(self, tmp_path: Path) -> None:
        (tmp_path / "a.bin").write_text("a")
        assert found(f"{tmp_path}/*.png", tmp_path / "a.bin") == [ListError, "a"]

    def test_one_that_is_empty_is_no_file_to_ask_about(self, tmp_path: Path) -> None:
        (tmp_path / "a.bin").touch()
        (tmp_path / "b.bin").write_text("b")
        assert found(f"{tmp_path}/*.bin") == [EmptyFile, "b"]

    def test_there_is_an_end_to_them(self, tmp_path: Path) -> None:
        for number in range(MAX_LISTED + 1):
            (tmp_path / f"{number}.bin").write_text("x")
        assert len(found(f"{tmp_path}/*.bin")) == MAX_LISTED


class TestWithoutAFile:
    @pytest.mark.parametrize("name", ["*.png", "nothing.bin"])
    def test_an_input_that_names_none_is_told_once(
        self, server: ModelServer, tmp_path: Path, name: str
    ) -> None:
        (problem,) = told(server, tmp_path, "--input", tmp_path / name)
        assert problem.startswith(f"--input {tmp_path / name}: ")

    def test_without_any_the_outputs_must_be_told(self, server: ModelServer, tmp_path: Path) -> None:
        watch = ("--input", f"{tmp_path}/*.bin", "--watch", 5)
        (problem,) = told(server, tmp_path, *watch)
        assert "pass --output_schema" in problem
        assert told(server, tmp_path, *watch, "--output_schema", "length:int64") == []
        assert server.requests == 0
