"""Pictures inside a plain tar, read at random without unpacking it."""

from __future__ import annotations

import os
import tarfile
from functools import lru_cache
from pathlib import Path, PurePosixPath

from facetell.errors import DataError, FileMissingError


@lru_cache(maxsize=16)
def members(path: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, length) of every file in an uncompressed tar.

    Raises:
        FileMissingError: nothing readable there.
        DataError: not an uncompressed tar, or one with links, devices, absolute names or names that leave the folder.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            found = {}
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise DataError(
                        f"{path} holds the name {member.name!r}, which leaves the folder.", "Do not trust it."
                    )
                if not (member.isfile() or member.isdir()):
                    raise DataError(f"{path} holds a link or device, {member.name!r}.", "Pack plain files only.")
                if member.isfile():
                    found[str(name)] = (member.offset_data, member.size)
            return found
    except tarfile.TarError as error:
        raise DataError(f"{path} is not an uncompressed tar: {error}.", "Unpack a compressed one first.") from error
    except OSError as error:
        raise FileMissingError(f"{path} cannot be read: {error.strerror}.") from error


def read_bytes(path: str, member: str = "") -> bytes:
    """A file's bytes; with `member`, those of that file inside the tar at `path`.

    Raises:
        FileMissingError: no such file or member.
        DataError: as `members`.
    """
    try:
        if not member:
            return Path(path).read_bytes()
        offset, length = members(path)[member]
        with open(path, "rb") as file:
            return os.pread(file.fileno(), length, offset)
    except KeyError:
        raise FileMissingError(f"{path} holds no {member}.") from None
    except OSError as error:
        raise FileMissingError(f"{path} cannot be read: {error.strerror}.") from error
