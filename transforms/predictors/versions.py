"""Numbered versions of a model, laid out as TensorFlow Serving has them.

    digits/
        1/          saved_model.pb  variables/  assets/
        2/          saved_model.pb  variables/  assets/
        20240131/   digits.keras

A folder that is a model itself has no versions, whatever else is in it. Which version is used is told by
`choose_version`; which are complete, by `completeness`. A version is never changed once it is complete: to
go back to an older model, give it a new number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from transforms import storage
from transforms.errors import ModelError, ReadError
from transforms.predictors.base import Predictor
from transforms.predictors.completeness import READABLE, SAVED_MODEL, incompleteness, models_among
from transforms.predictors.local import LocalPredictor
from transforms.records import FileRef

_NUMBER = re.compile(r"[0-9]+")


def _unchanged(predictor: Predictor) -> Predictor:
    return predictor


@dataclass(frozen=True)
class Version:
    """One version of a model, as it was when it was listed.

    Attributes:
        number: The name of its folder.
        folder: That folder.
        files: All that is in it; two listings are equal when nothing has changed between them.
    """

    number: int
    folder: str
    files: tuple[FileRef, ...]

    @property
    def path(self) -> str:
        """The model: the folder of a SavedModel, or the single file in the folder."""
        models = models_among(self._named)
        return self.folder if SAVED_MODEL in models else storage.join(self.folder, models[0])

    def incompleteness(self) -> str | None:
        """Tell what is missing; None for a complete version, which alone has a `path`."""
        return incompleteness(self._named)

    @property
    def _named(self) -> dict[str, FileRef]:
        prefix = storage.join(self.folder, "")
        return {file.uri.removeprefix(prefix): file for file in self.files}


@dataclass(frozen=True)
class VersionedModel:
    """A model that may have versions, and how one of them becomes a predictor.

    Attributes:
        model: The folder that holds the versions, or a model without any.
        open_path: Makes a predictor of a version's path; `open_model`, with what it needs to know.
        finish: Puts around that predictor what else a job wants, its postprocessing say.
    """

    model: str
    open_path: Callable[[str], LocalPredictor]
    finish: Callable[[Predictor], Predictor] = _unchanged

    def open(self, version: Version | None) -> Predictor:
        """Make a predictor of a version; of the model itself where it has none. Nothing is loaded yet.

        Its `model` is the folder that holds the versions, its `model_version` the version's number.

        Raises:
            ModelError: The model cannot be read, or cannot be fed.
        """
        if version is None:
            return self.finish(self.open_path(self.model))
        opened = self.open_path(version.path)
        return self.finish(replace(opened, model=self.model, model_version=str(version.number)))

    def newer_than(self, number: int) -> list[Version]:
        """List the versions with a higher number, complete or not, the newest first."""
        return [version for version in find_versions(self.model) if version.number > number]


def find_versions(model: str) -> list[Version]:
    """List the numbered folders in a folder, the newest first.

    Raises:
        ReadError: The folder cannot be listed.
    """
    found = [Version(int(name), storage.join(model, name), files) for name, files in _numbered(model)]
    return sorted(found, key=lambda version: (version.number, version.folder), reverse=True)


def choose_version(model: str, number: int | None = None) -> Version | None:
    """Choose the newest complete version of a model, or the one that is asked for.

    Args:
        model: A folder, local or on any file system that the project reads.
        number: Which version; None for the newest complete one.

    Returns:
        The version; None where the model has no versions.

    Raises:
        ModelError: There is no such version, or it is not complete.
    """
    try:
        versions = _versions(model)
    except ReadError as error:
        raise ModelError(f"--model {model}: {error}") from error
    if not versions and number is None:
        return None
    return _first_complete(model, _asked_for(model, versions, number))


def _versions(model: str) -> list[Version]:
    return [] if _is_model(model) else find_versions(model)


def _is_model(model: str) -> bool:
    """Tell whether a folder is a model itself, or holds files that are."""
    prefix = storage.join(model, "")
    if storage.exists(f"{prefix}{SAVED_MODEL}"):
        return True
    files = {file.uri.removeprefix(prefix): file for file in storage.glob(f"{storage.escape(prefix)}*")}
    return bool(models_among(files))


def _asked_for(model: str, versions: list[Version], number: int | None) -> list[Version]:
    if number is None:
        return versions
    found = [version for version in versions if version.number == number]
    if not found:
        numbers = ", ".join(str(version.number) for version in reversed(versions))
        has = f"the versions {numbers}" if versions else "no versions, that is folders named 1, 2, ..."
        raise ModelError(f"--model_version {number}: --model {model} has {has}")
    return found


def _first_complete(model: str, versions: list[Version]) -> Version:
    problems = []
    for version in versions:
        problem = version.incompleteness()
        if problem is None:
            return version
        problems.append(f"\n    {version.number}: {problem}")
    raise ModelError(f"--model {model} has no complete version:{''.join(problems)}")


def _numbered(model: str) -> Iterator[tuple[str, tuple[FileRef, ...]]]:
    """List the numbered folders of a folder by name, with their files."""
    if storage.is_local(model):
        # One by one, because a version may be a link to a folder elsewhere.
        for name in _local_folders(model):
            yield name, tuple(storage.glob(storage.join(storage.escape(storage.join(model, name)), "**")))
        return
    files: dict[str, list[FileRef]] = {}
    prefix = storage.join(model, "")
    for file in storage.glob(f"{storage.escape(prefix)}**"):
        name, slash, _ = file.uri.removeprefix(prefix).partition("/")
        if slash and _NUMBER.fullmatch(name):
            files.setdefault(name, []).append(file)
    yield from ((name, tuple(found)) for name, found in files.items())


def _local_folders(model: str) -> list[str]:
    try:
        with os.scandir(model) as entries:
            return sorted(entry.name for entry in entries if _NUMBER.fullmatch(entry.name) and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ModelError(f"--model {model} cannot be listed: {error.strerror}; {READABLE}") from error
