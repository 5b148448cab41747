"""Which storage holds a name."""

from __future__ import annotations

import pytest

from transforms import storage
from transforms.storage.beam_files import BeamStorage
from transforms.storage.gcs import GcsStorage
from transforms.storage.local import LocalStorage


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("a.png", LocalStorage),
        ("/folder/a.png", LocalStorage),
        ("folder/gs://a.png", LocalStorage),
        ("gs:/a.png", LocalStorage),
        ("", LocalStorage),
        ("gs://bucket/a.png", GcsStorage),
        ("hdfs://host/a.png", BeamStorage),
        ("s3://bucket/a.png", BeamStorage),
    ],
)
def test_the_scheme_tells_the_storage(uri: str, kind: type) -> None:
    assert isinstance(storage.storage_of(uri), kind)
    assert storage.is_local(uri) == (kind is LocalStorage)


@pytest.mark.parametrize("name", ["*.png", "a?.png", "[ab].png", "gs://bucket/**", "sub/*/a.png"])
def test_wildcards_make_a_pattern(name: str) -> None:
    assert storage.is_pattern(name)


@pytest.mark.parametrize("name", ["a.png", "100%.png", "a]b", "{a,b}", ""])
def test_other_signs_make_none(name: str) -> None:
    assert not storage.is_pattern(name)


@pytest.mark.parametrize(
    ("folder", "joined"),
    [
        ("model", "model/x"),
        ("model/", "model/x"),
        ("gs://bucket", "gs://bucket/x"),
        ("gs://bucket/model/", "gs://bucket/model/x"),
        ("/", "/x"),
        ("", "x"),
    ],
)
def test_a_folder_and_a_name_join_to_a_name(folder: str, joined: str) -> None:
    assert storage.join(folder, "x") == joined
