"""Objects in Google Cloud Storage.

Through google-cloud-storage rather than through Beam's file system: it tells generations, and it reads an
object whose generation is known with one request.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

from transforms.errors import AccessDenied, StorageUnavailable, UnsupportedLocation
from transforms.records import FileRef
from transforms.storage.base import check_size, literal_prefix, missing

CONNECTIONS = 64
REQUEST_SECONDS = 60.0

Result = TypeVar("Result")


class GcsStorage:
    """Objects by `gs://bucket/name`."""

    def stat(self, uri: str) -> FileRef:
        """See `Storage.stat`."""
        blob = _translated(uri, lambda: _bucket(uri).get_blob(_name(uri), timeout=REQUEST_SECONDS))
        if blob is None:
            raise missing(uri)
        return FileRef(uri, generation=blob.generation, size=blob.size)

    def read(self, ref: FileRef, max_bytes: int) -> bytes:
        """See `Storage.read`; what is stored is returned, without decompression."""
        if ref.generation is None or ref.size is None:
            ref = self.stat(ref.uri)
        check_size(ref.uri, ref.size or 0, max_bytes)
        blob = _bucket(ref.uri).blob(_name(ref.uri), generation=ref.generation)
        return cast(
            bytes,
            _translated(ref.uri, lambda: blob.download_as_bytes(raw_download=True, timeout=REQUEST_SECONDS)),
        )

    def glob(self, pattern: str) -> Iterator[FileRef]:
        """See `Storage.glob`."""
        from apache_beam.io.filesystem import FileSystem

        matches = re.compile(FileSystem.translate_pattern(pattern)).match
        prefix = literal_prefix(pattern)
        bucket = _bucket(pattern)
        blobs = iter(bucket.list_blobs(prefix=_name(prefix), timeout=REQUEST_SECONDS))
        while (blob := _translated(pattern, lambda: next(blobs, None))) is not None:
            uri = f"gs://{bucket.name}/{blob.name}"
            if matches(uri) and not uri.endswith("/"):  # consoles keep "folders" as empty objects
                yield FileRef(uri, generation=blob.generation, size=blob.size)

    def create(self, uri: str) -> BinaryIO:
        """See `Storage.create`; the object appears when the file is closed."""
        return cast(BinaryIO, _bucket(uri).blob(_name(uri)).open("wb", ignore_flush=True))

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`."""
        from google.api_core.exceptions import NotFound

        bucket = _bucket(source)
        try:
            bucket.copy_blob(bucket.blob(_name(source)), _bucket(target), _name(target))
        except NotFound:
            if not _bucket(target).blob(_name(target)).exists():
                raise
        self.delete(source)

    def delete(self, uri: str) -> None:
        """See `Storage.delete`."""
        from google.api_core.exceptions import NotFound

        with contextlib.suppress(NotFound):
            _bucket(uri).delete_blob(_name(uri))


@functools.lru_cache(maxsize=1)
def _client() -> Any:
    """Make the client of this process, with a connection for each of many threads."""
    import google.cloud.storage
    from requests.adapters import HTTPAdapter

    client = google.cloud.storage.Client(project=None)
    client._http.mount("https://", HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS))
    return client


def _bucket(uri: str) -> Any:
    bucket, _, _ = uri.removeprefix("gs://").partition("/")
    if not bucket:
        raise UnsupportedLocation(f"{uri} names no bucket; write gs://BUCKET/OBJECT")
    return _client().bucket(bucket)


def _name(uri: str) -> str:
    return uri.removeprefix("gs://").partition("/")[2]


def _translated(uri: str, request: Callable[[], Result]) -> Result:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        return request()
    except exceptions.NotFound as error:
        raise missing(uri) from error
    except (exceptions.Forbidden, exceptions.Unauthorized, GoogleAuthError) as error:
        raise AccessDenied(f"{uri} may not be read: {_first_line(error)}") from error
    except (exceptions.GoogleAPIError, RequestException) as error:
        raise StorageUnavailable(f"{uri}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
