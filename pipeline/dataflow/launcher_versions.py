"""Whether workers have the versions of the launching process: what is pickled here is unpickled there."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence

import apache_beam

from options.dataflow_checks import is_beams_own
from pipeline.dataflow.checklist import NotChecked
from pipeline.dataflow.image_versions import BEAM, PACKAGE, PYTHON, Image, MissingImage, labels_of

_TITLES = {PYTHON: "Python", BEAM: "Apache Beam", PACKAGE: "beam-predict"}


def versions() -> Mapping[str, str]:
    """Return the versions of this process, by the labels that an image has for them."""
    return {
        PYTHON: ".".join(platform.python_version_tuple()[:2]),
        BEAM: apache_beam.__version__,
        PACKAGE: importlib.metadata.version("beam-predict"),
    }


def image_problems(name: str, token: str | None) -> Sequence[str]:
    """Ask an image's registry for its versions, and compare them with those of this process.

    Args:
        name: The image's.
        token: An access token of Google's.

    Raises:
        NotChecked: They are not told.
    """
    try:
        told = labels_of(Image.parse(name), token)
    except ValueError as error:
        return [f"--sdk_container_image {error}"]
    except MissingImage as error:
        return [
            f"--sdk_container_image {name}: its registry shows no such image ({error}); build and push it, "
            "check the name, or ask for roles/artifactregistry.reader"
        ]
    return differences(name, told)


def differences(image: str, told: Mapping[str, str]) -> Sequence[str]:
    """Compare what an image tells with this process.

    Raises:
        NotChecked: What it tells is the same, but it does not tell all.
    """
    found = {**told, PYTHON: ".".join(told.get(PYTHON, "").split(".")[:2])}
    wrong = [
        f"--sdk_container_image {image} has {_TITLES[label]} {found[label]}, the launching process {here}; "
        "build it anew with deploy/Dockerfile, or launch with its versions"
        for label, here in versions().items()
        if found.get(label) and found[label] != here
    ]
    silent = [_TITLES[label] for label in versions() if not found.get(label)]
    if silent and not wrong:
        raise NotChecked(f"{image} has no label that tells its version of {', '.join(silent)}")
    return wrong


def differences_by_name(image: str) -> Iterator[str]:
    """Compare an image that Beam publishes, and whose name tells its versions, with this process."""
    match = re.search(r"beam_python(3\.\d+)_sdk(?::([^@]+))?", image) if is_beams_own(image) else None
    if match is None:
        return
    here = versions()
    for label, there in ((PYTHON, match.group(1)), (BEAM, match.group(2))):
        if there is not None and there != here[label]:
            yield (
                f"--sdk_container_image {image} has {_TITLES[label]} {there}, the launching process "
                f"{here[label]}; take beam_python{here[PYTHON]}_sdk:{here[BEAM]}"
            )
