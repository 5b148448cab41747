"""What strangers may have read."""

from __future__ import annotations

import pytest

from transforms.allowed_places import AllowedPlaces
from transforms.errors import PlaceNotAllowed
from transforms.records import DeadLetter

ANYWHERE_REMOTE = AllowedPlaces()
BUCKET = AllowedPlaces(("gs://bucket",))
FOLDERS = AllowedPlaces(("gs://bucket/photos/", "gs://other/in", "/data/in"))


def is_allowed(uri: str, places: AllowedPlaces) -> bool:
    try:
        places.check(uri)
    except PlaceNotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/a.png",
        "s3://bucket/a.png",
        "hdfs://host/a.png",
        "gs://bucket/..a/b..png/...",
        "gs://b/數.png",
    ],
)
def test_by_default_all_that_is_remote_is_allowed(uri: str) -> None:
    assert is_allowed(uri, ANYWHERE_REMOTE)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "a.png",
        "/etc/passwd",
        "./a.png",
        "~/a.png",
        "C:\\a.png",
        "\\\\host\\share\\a.png",
        "//host/a.png",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "FILE:///etc/passwd",
        "File://localhost/etc/passwd",
        " gs://bucket/a.png",
        "gs:/bucket/a.png",
        "gs:bucket",
        "://bucket/a.png",
    ],
)
def test_nothing_on_this_machine_is(uri: str) -> None:
    assert not is_allowed(uri, ANYWHERE_REMOTE)
    assert not is_allowed(uri, BUCKET)


@pytest.mark.parametrize("places", [ANYWHERE_REMOTE, BUCKET, FOLDERS])
@pytest.mark.parametrize(
    "rest",
    [
        "../a.png",
        "x/../a.png",
        "x/..",
        "..",
        "x/../../evil/a.png",
        "%2e%2e/a.png",
        "x/%2E./a.png",
        "x%2f..%2fa.png",
        "x\\..\\a.png",
    ],
)
def test_two_dots_lead_nowhere(places: AllowedPlaces, rest: str) -> None:
    assert not is_allowed(f"gs://bucket/photos/{rest}", places)


@pytest.mark.parametrize("places", [ANYWHERE_REMOTE, BUCKET, FOLDERS])
@pytest.mark.parametrize("sign", ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\x9b", "\u2028"])
def test_control_characters_are_in_no_name(places: AllowedPlaces, sign: str) -> None:
    assert not is_allowed(f"gs://bucket/photos/a{sign}.png", places)
    assert not is_allowed(f"gs://bucket/photos/a.png{sign}", places)
    assert not is_allowed(f"{sign}gs://bucket/photos/a.png", places)


@pytest.mark.parametrize("uri", ["gs://bucket", "gs://bucket/", "gs://bucket/a.png", "gs://bucket/x/a.png"])
def test_a_bucket_allows_what_is_in_it(uri: str) -> None:
    assert is_allowed(uri, BUCKET)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket-evil/a.png",
        "gs://bucket.evil/a.png",
        "gs://bucket@evil/a.png",
        "gs://bucket\\evil/a.png",
        "gs://bucket%2fa.png",
        "gs://bucke/a.png",
        "gs://Bucket/a.png",
        "GS://bucket/a.png",
        "s3://bucket/a.png",
        "gs://evil/gs://bucket/a.png",
        "gs:///bucket/a.png",
        "gs://bücket/a.png",
    ],
)
def test_a_look_alike_is_another_place(uri: str) -> None:
    assert not is_allowed(uri, BUCKET)


@pytest.mark.parametrize(
    "uri", ["gs://bucket/photos/a.png", "gs://other/in", "gs://other/in/a.png", "/data/in/a.png"]
)
def test_folders_allow_what_is_below_them(uri: str) -> None:
    assert is_allowed(uri, FOLDERS)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/a.png",
        "gs://bucket/photos2/a.png",
        "gs://other/inside.png",
        "/data/in.png",
        "/data/in/../a",
    ],
)
def test_folders_allow_nothing_beside_them(uri: str) -> None:
    assert not is_allowed(uri, FOLDERS)


def test_a_scheme_can_be_a_prefix() -> None:
    only_gs = AllowedPlaces(("gs://",))
    assert is_allowed("gs://any/a.png", only_gs)
    assert not is_allowed("s3://any/a.png", only_gs)


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [
        ("", "is no absolute place"),
        ("data", "is no absolute place"),
        ("bucket/photos", "is no absolute place"),
        ("file:///data", "has a scheme that is not read"),
        ("gs://bucket/../other", "leads elsewhere"),
        ("gs://bucket\n", "control characters"),
    ],
)
def test_a_prefix_that_allows_nothing_or_anything_is_refused(prefix: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AllowedPlaces((prefix,))


def test_what_is_refused_is_told_with_the_stage_parse() -> None:
    with pytest.raises(PlaceNotAllowed) as caught:
        BUCKET.check("gs://bucket-evil/a.png")
    letter = DeadLetter.of(caught.value)
    assert (letter.stage, letter.error, letter.payload) == (
        "parse",
        "PlaceNotAllowed",
        "gs://bucket-evil/a.png",
    )
    assert letter.message == "the name is not under gs://bucket (--allowed_prefix): 'gs://bucket-evil/a.png'"
    assert not letter.retryable
