"""`beam-predict fetch`: a model, copied to a folder from which workers take it instead of downloading it.

deploy/model.Dockerfile puts such a folder into an image. Jobs name the model by its place in the bucket all
the same: as long as it is unchanged there, the copy is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from options import ModelOptions
from options.flags import Flag, FlagGroup, Invalid, Text
from pipeline.exit_codes import DONE
from pipeline.model_command import ChosenModel, choose_model, make_parser, parse, view
from transforms import storage
from transforms.errors import ModelError, ReadError, UsageError
from transforms.predictors.cache_folders import CACHE_VARIABLE, cache_folder, can_be_made_in
from transforms.predictors.local_copy import keep_copy

_FOLDER = Flag(
    "folder",
    "Where the copy is kept, beside others; made where it is missing. Processes that have it as "
    f"{CACHE_VARIABLE} find the copy. Not given: ${CACHE_VARIABLE}, or else a folder for temporary files.",
    Text("FOLDER"),
)
_EXAMPLE = "gs://my-bucket/models/digits"
_WHICH = tuple(flag for flag in ModelOptions.FLAGS if flag.name in ("model", "model_version"))


def main(arguments: Sequence[str]) -> int:
    """Copy the model that a command line names, and print where it is.

    Returns:
        The exit code: 0 when the copy is there.

    Raises:
        UsageError: The flags are wrong, the model cannot be found, or the folder cannot be written.
        ModelError: The model cannot be copied.
        SystemExit: The help was asked for, and printed.
    """
    parser = make_parser(
        prog="beam-predict fetch",
        description="Copy a model from a bucket to a folder, which an image or a machine may have with it.",
        usage="%(prog)s --model gs://BUCKET/MODEL [--model_version N] [--folder FOLDER]",
        groups={"The copy": [_FOLDER]},
        model_flags=_WHICH,
    )
    values, problems = parse(parser, arguments)
    model, asked = view(values, ModelOptions), values[_FOLDER.name]
    problems += [*_model_problems(model), *_FOLDER.problems(asked), *_local_model(model)]
    if not isinstance(asked, Invalid):
        problems += _folder_problems(asked)
    if problems:
        raise UsageError(problems)
    chosen, folder = _chosen(model), (Path(asked) if asked else cache_folder()).absolute()
    _tell(model.model, chosen, keep_copy(chosen.found.path, folder), folder)
    return DONE


def _model_problems(model: ModelOptions) -> list[str]:
    if model.model is None:
        return [f"--model is missing: pass --model {_EXAMPLE}", *FlagGroup.validate(model)]
    return model.validate()


def _local_model(model: ModelOptions) -> Iterator[str]:
    if FlagGroup.given(model, "model") and storage.is_local(model.model):
        yield (
            f"--model {model.model} is on this machine already, so there is nothing to fetch; give its place "
            f"in a bucket, such as {_EXAMPLE}"
        )


def _folder_problems(asked: str | None) -> Iterator[str]:
    """Tell why no copies can be made in a folder, or in that of the environment."""
    told = f"--folder {asked}" if asked else f"{CACHE_VARIABLE}={os.environ.get(CACHE_VARIABLE)}"
    folder = asked or os.environ.get(CACHE_VARIABLE)
    if not folder:
        return
    if not storage.is_local(folder):
        yield f"{told} is no folder of this machine; give one that is, such as --folder models"
        return
    try:
        # Whoever an image runs as can read it, unlike a folder for temporary files.
        Path(folder).mkdir(parents=True, exist_ok=True)
        if not can_be_made_in(Path(folder)):
            yield f"{told} cannot be written; give a folder that can, such as --folder models"
    except (OSError, ModelError) as error:
        yield f"{told} cannot be used: {error}"


def _chosen(model: ModelOptions) -> ChosenModel:
    try:
        return choose_model(model)
    except (ModelError, ReadError) as error:
        raise UsageError([str(error)]) from error


def _tell(model: str, chosen: ChosenModel, path: str, folder: Path) -> None:
    place = Path(path)
    files = [file for file in place.rglob("*") if file.is_file()] if place.is_dir() else [place]
    size = sum(file.stat().st_size for file in files)
    version = f" version {chosen.version.number}" if chosen.version else ""
    print(f"{model}{version}: {path}")
    print(f"  {size:,} bytes in {len(files)} {'file' if len(files) == 1 else 'files'}")
    print(f"  used with {CACHE_VARIABLE}={folder} by every --model {model} until that changes")
