"""Files by name, wherever they are: on this machine, in Cloud Storage, on any file system that Beam knows.

Importing this imports neither Beam nor a Google client; each is loaded with the first name that needs it.
"""

from transforms.storage.access import (
    create,
    delete,
    exists,
    glob,
    is_local,
    join,
    move,
    read,
    stat,
    storage_of,
    stream,
)
from transforms.storage.base import Storage
from transforms.storage.patterns import escape, is_pattern

__all__ = [
    "Storage",
    "create",
    "delete",
    "escape",
    "exists",
    "glob",
    "is_local",
    "is_pattern",
    "join",
    "move",
    "read",
    "stat",
    "storage_of",
    "stream",
]
