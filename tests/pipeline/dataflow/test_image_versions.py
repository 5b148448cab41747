"""Names of images, and which registry has them."""

from __future__ import annotations

import pytest

from pipeline.dataflow.image_versions import Image

DOCKER_HUB = "registry-1.docker.io"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("eu.gcr.io/p/predict", ("eu.gcr.io", "p/predict", "latest")),
        ("localhost:5000/a/b:1", ("localhost:5000", "a/b", "1")),
        ("localhost/a", ("localhost", "a", "latest")),
        ("quay.io/one:1", ("quay.io", "one", "1")),
        ("apache/beam_python3.11_sdk:2.77.0", (DOCKER_HUB, "apache/beam_python3.11_sdk", "2.77.0")),
        ("python", (DOCKER_HUB, "library/python", "latest")),
        ("docker.io/me/image:1", (DOCKER_HUB, "me/image", "1")),
        ("docker.io/python:3.12", (DOCKER_HUB, "library/python", "3.12")),
        ("index.docker.io/me/image:1", (DOCKER_HUB, "me/image", "1")),
        ("index.docker.io/python", (DOCKER_HUB, "library/python", "latest")),
        (f"docker.io/me/image@sha256:{'a' * 64}", (DOCKER_HUB, "me/image", f"sha256:{'a' * 64}")),
        (f"gcr.io/p/i@sha256:{'a' * 64}", ("gcr.io", "p/i", f"sha256:{'a' * 64}")),
    ],
)
def test_names_of_images_are_read_as_docker_reads_them(name: str, parts: tuple[str, str, str]) -> None:
    image = Image.parse(name)
    assert (image.registry, image.name, image.reference) == parts


@pytest.mark.parametrize("name", ["", "docker.io/", "gcr.io/p/Upper:1", "gcr.io/p/a b", "gcr.io/p/i:"])
def test_what_is_no_name_of_an_image_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="write REGISTRY/NAME:TAG"):
        Image.parse(name)
