"""Objects in Google Cloud Storage.

Through google-cloud-storage rather than through Beam's file system: it tells generations, and it reads an
object whose generation is known with one request.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

from transforms.errors import AccessDenied, StorageUnavailable, UnsupportedLocation
from transforms.records import FileRef, is_utf8, printable
from transforms.storage.base import check_size, missing
from transforms.storage.patterns import compile_pattern, literal_prefix

CONNECTIONS = 64
REQUEST_SECONDS = 60.0

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")

Result = TypeVar("Result")


class GcsStorage:
    """Objects by `gs://bucket/name`."""

    def stat(self, uri: str) -> FileRef:
        """See `Storage.stat`."""
        return self._stat(uri, None)

    def read(self, ref: FileRef, max_bytes: int) -> bytes:
        """See `Storage.read`; what is stored is returned, without decompression."""
        if ref.generation is None or ref.size is None:
            ref = self._stat(ref.uri, ref.generation)
        check_size(ref.uri, ref.size or 0, max_bytes)

        def download() -> bytes:
            content = _AtMost(ref.uri, max_bytes)
            blob = _object(ref.uri, ref.generation)
            blob.download_to_file(content, raw_download=True, timeout=REQUEST_SECONDS)
            return content.getvalue()

        return _translated(ref.uri, download)

    def stream(self, uri: str) -> BinaryIO:
        """See `Storage.stream`; of the generation that is the present one now."""
        generation = self.stat(uri).generation
        return cast(BinaryIO, _object(uri, generation).open("rb", raw_download=True))

    def glob(self, pattern: str) -> Iterator[FileRef]:
        """See `Storage.glob`."""
        matches = compile_pattern(pattern).match
        bucket, _ = _parse(pattern)
        _, prefix = _parse(literal_prefix(pattern))
        listing = {"prefix": prefix, "timeout": REQUEST_SECONDS}
        blobs = iter(_translated(pattern, lambda: _client().bucket(bucket).list_blobs(**listing)))
        while (blob := _translated(pattern, lambda: next(blobs, None))) is not None:
            uri = f"gs://{bucket}/{blob.name}"
            if matches(uri) and not uri.endswith("/"):  # consoles keep "folders" as empty objects
                yield FileRef(uri, generation=blob.generation, size=blob.size)

    def create(self, uri: str) -> BinaryIO:
        """See `Storage.create`; the object appears when the file is closed."""
        return cast(BinaryIO, _object(uri).open("wb", ignore_flush=True))

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`."""
        from google.api_core.exceptions import NotFound

        blob, moved = _object(source), _object(target)
        try:
            blob.bucket.copy_blob(blob, moved.bucket, moved.name)
        except NotFound:
            if not moved.exists():
                raise
        self.delete(source)

    def delete(self, uri: str) -> None:
        """See `Storage.delete`."""
        from google.api_core.exceptions import NotFound

        with contextlib.suppress(NotFound):
            _object(uri).delete()

    def reach(self, uri: str, seconds: float) -> None:
        """See that Cloud Storage answers, whatever it says: once, while all else here is patient.

        Args:
            uri: Of what is in a bucket, or is that bucket.
            seconds: How long to wait for the answer.

        Raises:
            StorageUnavailable: It does not.
            UnsupportedLocation: It is no name in Cloud Storage.
        """
        from google.api_core.exceptions import GoogleAPICallError
        from requests.exceptions import RequestException

        bucket, _ = _parse(uri)
        try:
            _client().get_bucket(bucket, timeout=seconds, retry=None)
        except GoogleAPICallError:  # it answers
            return
        except RequestException as error:
            raise StorageUnavailable(f"Cloud Storage does not answer ({type(error).__name__})") from error

    def _stat(self, uri: str, generation: int | None) -> FileRef:
        def ask() -> Any:
            blob = _object(uri, generation)
            blob.reload(timeout=REQUEST_SECONDS)
            return blob

        blob = _translated(uri, ask)
        return FileRef(uri, generation=blob.generation, size=blob.size)


class _AtMost(io.BytesIO):
    """Bytes in memory, no more than are allowed: the size that a message tells may be a lie."""

    def __init__(self, uri: str, max_bytes: int) -> None:
        super().__init__()
        self._uri = uri
        self._max_bytes = max_bytes

    def write(self, data: Any) -> int:
        check_size(self._uri, self.tell() + len(data), self._max_bytes)
        return super().write(data)


@functools.lru_cache(maxsize=1)
def _client() -> Any:
    """Make the client of this process, with a connection for each of many threads."""
    import google.cloud.storage
    from requests.adapters import HTTPAdapter

    client = google.cloud.storage.Client(project=None)
    client._http.mount("https://", HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS))
    return client


def _object(uri: str, generation: int | None = None) -> Any:
    bucket, name = _parse(uri)
    if not name:
        raise UnsupportedLocation(f"{uri} names no object; write gs://BUCKET/OBJECT")
    return _client().bucket(bucket).blob(name, generation=generation)


def _parse(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UnsupportedLocation(f"{uri} names no bucket; write gs://BUCKET/OBJECT")
    if not name.isascii() and not is_utf8(name):
        raise UnsupportedLocation(f"{printable(uri)} is not UTF-8, as names in Cloud Storage are")
    return bucket, name


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
