"""Files written whole or not at all, the folders for them, and their SHA-256."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facetell.errors import FileMissingError, OutputError


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, as 64 lower-case hex digits.

    Raises:
        FileMissingError: nothing readable at `path`.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileMissingError(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well and vanishes when it does not.

    The temporary file keeps the suffix, for writers that choose a format by it.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(target) as part:
    ...     _ = part.write_text("whole")
    >>> target.read_text()
    'whole'

    Raises:
        OutputError: the folder does not exist, is read-only or full.
    """
    target = Path(os.path.realpath(path))  # what a link leads to, not the link, is replaced
    if os.path.isdir(target):  # unlike Path's own, this does not raise for a name that is too long
        raise OutputError(f"{target} is a folder.", "Give the path of a file to write.")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{target} is no regular file.", "Give the path of a file to write.")
    part = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(4)}{target.suffix}")
    try:
        part.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror}.", "Choose a folder that exists and that you may write to."
        ) from error
    except (KeyboardInterrupt, SystemExit):  # a signal, which Python may hear of only once the file is there
        part.unlink(missing_ok=True)
        raise
    try:
        yield part
        part.replace(target)
    except OSError as error:
        hint = "Choose a shorter name." if error.errno == errno.ENAMETOOLONG else "Is the disk full?"
        if isinstance(error, PermissionError):
            hint = "Is it open in another program?"
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.", hint) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder among the system's temporary files, gone after the block.

    Raises:
        OutputError: there is no place for it, or none any more for what is put into it.
    """
    try:
        folder = tempfile.TemporaryDirectory()
    except OSError as error:
        raise _no_room(error) from error
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _no_room(error) from error


def _no_room(error: OSError) -> OutputError:
    return OutputError(
        f"There is no room for temporary files: {error.strerror or error}.",
        "Free some space, or set TMPDIR to another folder.",
    )


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder `path`, made if absent.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{os.fspath(path)} cannot be made a folder: {error.strerror}.", "Choose another folder."
        ) from error
    return Path(path)
