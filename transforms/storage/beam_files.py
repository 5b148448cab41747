"""Files anywhere else that Beam knows: HDFS, Amazon S3, Azure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from transforms.errors import ReadError, StorageUnavailable, UnsupportedLocation
from transforms.records import FileRef
from transforms.storage.base import check_generation, check_size, missing
from transforms.storage.patterns import is_pattern


class BeamStorage:
    """Files by any name that Beam's `FileSystems` take."""

    def stat(self, uri: str) -> FileRef:
        """See `Storage.stat`."""
        try:
            return _ref(_file_system(uri).metadata(uri))
        except OSError as error:
            raise _read_error(uri, error) from error

    def read(self, ref: FileRef, max_bytes: int) -> bytes:
        """See `Storage.read`; only the present generation can be read."""
        present = self.stat(ref.uri)
        check_generation(ref, present)
        check_size(ref.uri, present.size or 0, max_bytes)
        try:
            with self.stream(ref.uri) as file:
                content = file.read(max_bytes + 1)
        except OSError as error:
            raise _read_error(ref.uri, error) from error
        check_size(ref.uri, len(content), max_bytes)
        return content

    def stream(self, uri: str) -> BinaryIO:
        """See `Storage.stream`."""
        from apache_beam.io.filesystem import CompressionTypes

        try:
            # By default Beam would decompress what is called .gz
            opened = _file_system(uri).open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
        except OSError as error:
            raise _read_error(uri, error) from error
        return cast(BinaryIO, opened)

    def glob(self, pattern: str) -> Iterator[FileRef]:
        """See `Storage.glob`."""
        try:
            matched = _file_system(pattern).match([pattern])
        except OSError as error:
            raise _read_error(pattern, error) from error
        for result in matched:
            yield from map(_ref, result.metadata_list)

    def create(self, uri: str) -> BinaryIO:
        """See `Storage.create`."""
        from apache_beam.io.filesystem import CompressionTypes

        file_system = _file_system(uri)
        folder = file_system.split(uri)[0]
        if file_system.has_dirs() and not file_system.exists(folder):
            file_system.mkdirs(folder)
        return cast(BinaryIO, file_system.create(uri, compression_type=CompressionTypes.UNCOMPRESSED))

    def move(self, source: str, target: str) -> None:
        """See `Storage.move`."""
        file_system = _file_system(source)
        if file_system.exists(source) or not file_system.exists(target):
            file_system.rename([source], [target])

    def delete(self, uri: str) -> None:
        """See `Storage.delete`."""
        if is_pattern(uri):  # of which some file systems would delete every match
            raise OSError(f"{uri} cannot be deleted: it has wildcards")
        file_system = _file_system(uri)
        if file_system.exists(uri):
            file_system.delete([uri])


def _file_system(uri: str) -> Any:
    from apache_beam.io.filesystems import FileSystems

    try:
        return FileSystems.get_filesystem(uri)
    except ValueError as error:
        raise UnsupportedLocation(f"no file system is known for {uri}; {_KNOWN}") from error


_KNOWN = "local paths and gs:// are built in, others come with Beam's extras (pip install 'apache-beam[aws]')"


def _ref(metadata: Any) -> FileRef:
    changed = metadata.last_updated_in_seconds
    generation = int(changed * 1e6) if changed else None
    return FileRef(metadata.path, generation=generation, size=metadata.size_in_bytes)


def _read_error(uri: str, error: OSError) -> ReadError:
    if isinstance(error, FileNotFoundError) or "does not exist" in str(error) or "not found" in str(error):
        return missing(uri)
    return StorageUnavailable(f"{uri}: {error}")
