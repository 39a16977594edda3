"""Pictures inside a plain tar, read at random without unpacking it."""

from __future__ import annotations

import tarfile
from contextlib import closing
from functools import lru_cache
from pathlib import Path, PurePosixPath

from facetell.errors import DataError, FileMissingError
from facetell.video.file import InputFile, open_regular


@lru_cache(maxsize=64)  # a table may name the files of many tars in any order
def members(path: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, length) of every file in an uncompressed tar.

    Raises:
        FileMissingError: nothing readable there.
        DataError: not an uncompressed tar, or one with links, devices, sparse files, absolute names or names that
            leave the folder.
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
                if member.issparse():  # its bytes do not lie there as they are, and its size may be anything
                    raise DataError(f"{path} holds a sparse file, {member.name!r}.", "Pack it without --sparse.")
                if member.isfile():
                    found[str(name)] = (member.offset_data, member.size)
            return found
    except tarfile.TarError as error:
        raise DataError(f"{path} is not an uncompressed tar: {error}.", "Unpack a compressed one first.") from error
    except OSError as error:
        raise FileMissingError(f"{path} cannot be read: {error.strerror}.") from error


def open_file(path: str, member: str = "") -> InputFile:
    """A file, or that file inside the tar at `path`, open for a reader.

    Raises:
        FileMissingError, NotVideoError: no such file or member, or nothing in it.
        DataError: as `members`.
    """
    if not member:
        return InputFile(path)
    place = _place(path, member)
    return InputFile(member, open_regular(path), *place)


def read_bytes(path: str, member: str = "") -> bytes:
    """A file's bytes; with `member`, those of that file inside the tar at `path`.

    Raises:
        FileMissingError: no such file or member.
        DataError: as `members`.
    """
    try:
        if not member:
            return Path(path).read_bytes()
        with closing(open_file(path, member)) as file:
            return file.read(0, file.size)
    except OSError as error:
        raise FileMissingError(f"{path} cannot be read: {error.strerror}.") from error


def _place(path: str, member: str) -> tuple[int, int]:
    """Where in the tar at `path` a file begins, and its length."""
    try:
        return members(path)[member]
    except KeyError:
        raise FileMissingError(f"{path} holds no {member}.") from None
