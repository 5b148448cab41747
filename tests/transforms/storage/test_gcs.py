"""Objects in Cloud Storage, on a real server of the same protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.storage.names import AWKWARD_NAMES
from transforms import storage
from transforms.errors import AccessDenied, FileMissing, FileTooLarge, ReadError, UnsupportedLocation
from transforms.records import FileRef
from transforms.storage import gcs
from transforms.storage.gcs import GcsStorage


def put(bucket: Any, name: str, content: bytes = b"content") -> str:
    bucket.blob(name).upload_from_string(content)
    return f"gs://{bucket.name}/{name}"


def listed(pattern: str) -> list[str]:
    return sorted(ref.uri for ref in GcsStorage().glob(pattern))


@pytest.fixture
def requests_made(gcs_client: Any) -> list[str]:
    """Return a list of the requests that the process's client has sent since."""
    made: list[str] = []

    def note(response: Any, *_args: Any, **_options: Any) -> None:
        made.append(f"{response.request.method} {response.request.path_url}")

    gcs_client._http.hooks["response"].append(note)
    return made


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Let Google's libraries find no credentials, without a search for them on the network."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    gcs._client.cache_clear()
    yield
    gcs._client.cache_clear()


class TestGenerations:
    def test_an_overwritten_object_has_another_generation(self, bucket: Any) -> None:
        uri = put(bucket, "a.png", b"one")
        before = GcsStorage().stat(uri)
        put(bucket, "a.png", b"three")
        after = GcsStorage().stat(uri)
        assert before == FileRef(uri, generation=before.generation, size=3)
        assert after == FileRef(uri, generation=after.generation, size=5)
        assert before.generation != after.generation

    def test_the_generation_is_that_of_the_service(self, bucket: Any) -> None:
        uri = put(bucket, "a.png")
        assert GcsStorage().stat(uri).generation == bucket.get_blob("a.png").generation

    def test_the_old_generation_of_an_overwritten_object_is_missing(self, bucket: Any) -> None:
        uri = put(bucket, "a.png", b"one")
        old = GcsStorage().stat(uri)
        put(bucket, "a.png", b"two")
        with pytest.raises(FileMissing):
            GcsStorage().read(old, 100)

    def test_it_is_missing_when_only_the_generation_is_known_too(self, bucket: Any) -> None:
        uri = put(bucket, "a.png", b"one")
        old = GcsStorage().stat(uri).generation
        put(bucket, "a.png", b"two")
        with pytest.raises(FileMissing):
            GcsStorage().read(FileRef(uri, generation=old), 100)

    def test_without_a_generation_the_present_content_is_read(self, bucket: Any) -> None:
        uri = put(bucket, "a.png", b"one")
        put(bucket, "a.png", b"two")
        assert storage.read(uri, 100) == b"two"


class TestRead:
    def test_an_object_whose_generation_and_size_are_known_costs_one_request(
        self, bucket: Any, requests_made: list[str]
    ) -> None:
        ref = GcsStorage().stat(put(bucket, "a.png"))
        requests_made.clear()
        assert GcsStorage().read(ref, 100) == b"content"
        assert len(requests_made) == 1
        assert f"generation={ref.generation}" in requests_made[0]

    def test_an_object_that_is_too_large_is_not_downloaded(
        self, bucket: Any, requests_made: list[str]
    ) -> None:
        uri = put(bucket, "a.png", b"12345")
        requests_made.clear()
        with pytest.raises(FileTooLarge, match="has 5 bytes; at most 4 "):
            GcsStorage().read(FileRef(uri), 4)
        assert len(requests_made) == 1  # of what it is, not of what is in it
        assert "alt=media" not in requests_made[0]

    def test_an_object_of_a_known_size_that_is_too_large_costs_no_request(
        self, bucket: Any, requests_made: list[str]
    ) -> None:
        ref = GcsStorage().stat(put(bucket, "a.png", b"12345"))
        requests_made.clear()
        with pytest.raises(FileTooLarge):
            GcsStorage().read(ref, 4)
        assert requests_made == []

    @pytest.mark.parametrize("allowed", [4, 100_000])
    def test_a_size_that_is_a_lie_gets_no_more_into_memory(self, bucket: Any, allowed: int) -> None:
        uri = put(bucket, "a.png", b"x" * 1_000_000)
        ref = GcsStorage().stat(uri)
        with pytest.raises(FileTooLarge, match=f"{uri} has .* at most {allowed:,} "):
            GcsStorage().read(FileRef(uri, ref.generation, size=3), allowed)

    def test_an_object_as_large_as_allowed_is_read(self, bucket: Any) -> None:
        assert storage.read(put(bucket, "a.png", b"12345"), 5) == b"12345"

    def test_an_empty_object_is_read(self, bucket: Any) -> None:
        assert storage.read(put(bucket, "a.png", b""), 5) == b""

    def test_what_is_stored_compressed_is_not_decompressed(self, bucket: Any) -> None:
        uri = put(bucket, "a.png.gz", b"\x1f\x8b not really")
        assert storage.read(uri, 100) == b"\x1f\x8b not really"


class TestWhatIsNotThere:
    @pytest.mark.parametrize("name", ["nothing.png", "folder", "folder/", "folder/a.png/", "x" * 2_000])
    def test_it_is_missing(self, bucket: Any, name: str) -> None:
        put(bucket, "folder/a.png")
        uri = f"gs://{bucket.name}/{name}"
        with pytest.raises(FileMissing, match=f"there is no file {uri}"):
            GcsStorage().stat(uri)
        with pytest.raises(FileMissing):
            storage.read(uri, 100)
        assert not storage.exists(uri)

    def test_a_deleted_object_is_missing(self, bucket: Any) -> None:
        ref = GcsStorage().stat(put(bucket, "a.png"))
        bucket.delete_blob("a.png")
        with pytest.raises(FileMissing):
            GcsStorage().read(ref, 100)

    def test_everything_in_a_missing_bucket_is_missing(self, gcs_client: Any) -> None:
        with pytest.raises(FileMissing, match=r"gs://no-such-bucket/a\.png"):
            GcsStorage().stat("gs://no-such-bucket/a.png")
        with pytest.raises(ReadError, match="gs://no-such-bucket/"):
            list(GcsStorage().glob("gs://no-such-bucket/*"))

    @pytest.mark.parametrize("uri", ["gs://", "gs:///a.png"])
    @pytest.mark.parametrize("ask", [GcsStorage().stat, lambda uri: list(GcsStorage().glob(uri))])
    def test_a_name_without_a_bucket_is_refused(
        self, gcs_client: Any, ask: Callable[[str], Any], uri: str
    ) -> None:
        with pytest.raises(UnsupportedLocation, match="write gs://BUCKET/OBJECT"):
            ask(uri)

    @pytest.mark.parametrize("uri", ["gs://BUCKET", "gs://BUCKET/"])
    def test_a_bucket_without_an_object_is_refused(self, bucket: Any, uri: str) -> None:
        with pytest.raises(ReadError, match=bucket.name):
            GcsStorage().stat(uri.replace("BUCKET", bucket.name))

    @pytest.mark.parametrize("uri", ["gs://*/a.png", "gs://-bad/a.png", "gs://bad bucket!/a.png"])
    @pytest.mark.parametrize("ask", [GcsStorage().stat, lambda uri: list(GcsStorage().glob(uri))])
    def test_a_name_that_no_bucket_can_have_is_refused(
        self, gcs_client: Any, ask: Callable[[str], Any], uri: str
    ) -> None:
        with pytest.raises(ReadError, match="gs://"):
            ask(uri)

    @pytest.mark.parametrize("pattern", ["gs://*/a.png", "gs://buck*/a.png", "gs://bucke[t]/*", "gs://buc**"])
    def test_a_pattern_for_buckets_is_refused(self, gcs_client: Any, pattern: str) -> None:
        """Not taken for one of the bucket before the wildcard, which may be another's."""
        with pytest.raises(UnsupportedLocation, match="write gs://BUCKET/OBJECT"):
            list(GcsStorage().glob(pattern))

    def test_a_name_that_is_not_utf8_is_refused(self, bucket: Any) -> None:
        with pytest.raises(ReadError):
            GcsStorage().stat(f"gs://{bucket.name}/\udcff.png")


def test_without_credentials_access_is_denied(no_credentials: None) -> None:
    uri = "gs://bucket/a.png"
    for ask in (
        lambda: GcsStorage().stat(uri),
        lambda: GcsStorage().read(FileRef(uri, generation=1, size=1), 100),
        lambda: list(GcsStorage().glob("gs://bucket/*")),
    ):
        with pytest.raises(AccessDenied, match="gs://bucket/"):
            ask()


class TestGlob:
    @pytest.fixture
    def tree(self, bucket: Any) -> str:
        for name in ("a.png", "b.png", "c.txt", "sub/a.png", "sub/deep/d.png", "other/a.png"):
            put(bucket, name)
        return f"gs://{bucket.name}"

    def test_a_star_stops_at_a_slash(self, tree: str) -> None:
        assert listed(f"{tree}/*.png") == [f"{tree}/a.png", f"{tree}/b.png"]
        assert listed(f"{tree}/*/a.png") == [f"{tree}/other/a.png", f"{tree}/sub/a.png"]

    def test_two_stars_cross_slashes(self, tree: str) -> None:
        names = ["a.png", "b.png", "other/a.png", "sub/a.png", "sub/deep/d.png"]
        assert listed(f"{tree}/**.png") == [f"{tree}/{name}" for name in names]

    def test_a_question_mark_is_one_character_and_no_slash(self, tree: str) -> None:
        assert listed(f"{tree}/?.png") == [f"{tree}/a.png", f"{tree}/b.png"]
        assert listed(f"{tree}/su??a.png") == []

    def test_brackets_are_one_of_their_characters_and_no_slash(self, tree: str) -> None:
        assert listed(f"{tree}/[bc].*") == [f"{tree}/b.png", f"{tree}/c.txt"]
        assert listed(f"{tree}/sub[!x]a.png") == []

    def test_only_what_may_match_is_listed(self, tree: str, requests_made: list[str]) -> None:
        listed(f"{tree}/sub/*.png")
        assert len(requests_made) == 1
        assert "prefix=sub%2F" in requests_made[0]

    def test_the_objects_have_their_sizes_and_generations(self, tree: str) -> None:
        (ref,) = GcsStorage().glob(f"{tree}/b.p*")
        assert ref == GcsStorage().stat(f"{tree}/b.png")

    def test_the_folders_that_consoles_make_are_not_listed(self, bucket: Any) -> None:
        put(bucket, "folder/", b"")
        uri = put(bucket, "folder/a.png")
        assert listed(f"gs://{bucket.name}/**") == [uri]
        assert listed(f"gs://{bucket.name}/folder/*") == [uri]

    def test_many_pages_are_listed(
        self,
        bucket: Any,
        gcs_client: Any,
        requests_made: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        uris = [put(bucket, f"{number}.png") for number in range(5)]
        list_resource = gcs_client._list_resource
        monkeypatch.setattr(
            gcs_client,
            "_list_resource",
            lambda *args, **options: list_resource(*args, **{**options, "page_size": 2}),
        )
        requests_made.clear()
        assert listed(f"gs://{bucket.name}/*") == uris
        assert len(requests_made) >= 3


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_an_awkward_name_is_written_found_read_moved_and_deleted(bucket: Any, name: str) -> None:
    uri, moved = f"gs://{bucket.name}/folder/{name}", f"gs://{bucket.name}/folder/moved {name}"
    with storage.create(uri) as file:
        file.write(b"content")
    assert listed(f"gs://{bucket.name}/**") == [uri]
    assert listed(f"gs://{bucket.name}/folder/*") == [uri]
    assert storage.stat(uri).size == 7
    assert storage.read(uri, 7) == b"content"
    storage.move(uri, moved)
    assert listed(f"gs://{bucket.name}/**") == [moved]
    storage.delete(moved)
    assert not storage.exists(moved)


class TestCreateMoveDelete:
    def test_an_object_appears_when_its_file_is_closed(self, bucket: Any) -> None:
        uri = f"gs://{bucket.name}/a.txt"
        file = storage.create(uri)
        file.write(b"content")
        file.flush()
        assert not storage.exists(uri)
        file.close()
        assert storage.read(uri, 100) == b"content"

    def test_an_object_in_a_missing_bucket_cannot_be_made(self, gcs_client: Any) -> None:
        with pytest.raises(Exception, match="404"):
            storage.create("gs://no-such-bucket/a.txt").close()

    def test_an_object_of_many_chunks_is_written_whole(self, bucket: Any) -> None:
        content = bytes(range(256)) * (45 << 12)  # 45 MiB; a chunk has 40
        uri = f"gs://{bucket.name}/large"
        with storage.create(uri) as file:
            file.write(content)
        assert storage.read(uri, len(content)) == content

    def test_moving_twice_is_like_moving_once(self, bucket: Any) -> None:
        source, target = put(bucket, "a"), f"gs://{bucket.name}/b"
        storage.move(source, target)
        storage.move(source, target)
        assert listed(f"gs://{bucket.name}/**") == [target]

    def test_a_move_that_was_broken_off_is_finished(self, bucket: Any) -> None:
        source, target = put(bucket, "a"), put(bucket, "b")  # copied, and not yet deleted
        storage.move(source, target)
        assert listed(f"gs://{bucket.name}/**") == [target]

    def test_moving_nothing_is_an_error(self, bucket: Any) -> None:
        with pytest.raises(Exception, match="404"):
            storage.move(f"gs://{bucket.name}/a", f"gs://{bucket.name}/b")

    def test_deleting_twice_is_like_deleting_once(self, bucket: Any) -> None:
        uri = put(bucket, "a")
        storage.delete(uri)
        storage.delete(uri)
        assert not storage.exists(uri)
