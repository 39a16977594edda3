"""A stranger's file, opened once and read from anywhere, also by a process that may open none itself."""

from __future__ import annotations

import io
import os
import stat
from typing import Any, BinaryIO

from facetell.errors import FileMissingError, NotVideoError

AGAIN = "Fetch the file again."
_NO_FILE = "Give the files in it, or a folder with videos or pictures."
_SUFFIXES = (  # of what is taken for a video or picture in a folder
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".asf"),
    *(".ogv", ".3gp", ".3g2", ".mxf", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif"),
)


def open_regular(path: str | os.PathLike[str]) -> int:
    """The descriptor of a readable, regular file with something in it.

    Raises:
        FileMissingError: nothing there, or not a regular file, or not readable.
        NotVideoError: an empty file.
    """
    name = os.fspath(path)
    try:
        # Opening a pipe without O_NONBLOCK would wait for a writer.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise FileMissingError(f"{name} does not exist.", "Check the path.") from error
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # where folders cannot even be opened
            raise FileMissingError(
                f"{name} is a folder.", "Give the files in it, or a folder with videos or pictures."
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise FileMissingError(f"{name} cannot be read: {reason}.", "Check the path and its permissions.") from error
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return file
    os.close(file)
    if stat.S_ISDIR(status.st_mode):
        raise FileMissingError(f"{name} is a folder.", _NO_FILE)
    if not stat.S_ISREG(status.st_mode):
        raise FileMissingError(f"{name} is not a regular file.", "Save the video to a file first.")
    raise NotVideoError(f"{name} is empty.", AGAIN)


class InputFile:
    """A file that is open for reading.

    Args:
        path: where it is.
        descriptor: of the file, if it was opened before; `path` is then nothing but its name.
        start, size: the bytes that matter, for a file that lies within another; by default all.

    Raises:
        FileMissingError, NotVideoError: nothing to read there.
    """

    def __init__(
        self, path: str | os.PathLike[str], descriptor: int | None = None, start: int = 0, size: int | None = None
    ) -> None:
        self.name = os.fspath(path)
        self.descriptor = open_regular(path) if descriptor is None else descriptor
        self.start = start
        self.size = os.fstat(self.descriptor).st_size - start if size is None else size

    def open(self) -> BinaryIO:
        """A reader from the start, with a position of its own; it must not outlive the file."""
        if not hasattr(os, "preadv"):  # Windows
            return open(self.name, "rb")
        return io.BufferedReader(_At(self))

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start` on."""
        with self.open() as reader:
            reader.seek(start)
            return reader.read(length)

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _At(io.RawIOBase):
    """A descriptor read from a position of one's own, so that several readers do not move each other."""

    def __init__(self, file: InputFile) -> None:
        self.name = file.name  # formats that are told apart by their suffix alone need it
        self._descriptor, self._start, self._size, self._at = file.descriptor, file.start, file.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._descriptor, [room], self._start + self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at


def files_in(path: str) -> list[str]:
    """The videos and pictures in a folder and the folders in it, by their suffix, in order of name; else the path.

    Hidden files are left out. A folder that cannot be listed, or holds none, stands for itself: it is no file.

    >>> files_in("clip.mp4")
    ['clip.mp4']
    """
    if not os.path.isdir(path):
        return [path]
    found: list[str] = []
    closed: list[OSError] = []
    been: set[str] = set()  # links may lead round in a circle, or twice to one folder
    for folder, folders, names in os.walk(path, onerror=closed.append, followlinks=True):
        if (real := os.path.realpath(folder)) in been:
            folders.clear()
            continue
        been.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen = [name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(".")]
        found += [os.path.join(folder, name) for name in seen]
    found += [os.fspath(error.filename) for error in closed]
    return sorted(found) or [path]


def opened(given: str | os.PathLike[str] | InputFile) -> InputFile:
    """The file at a path; one that is open already stays as it is."""
    return given if isinstance(given, InputFile) else InputFile(given)
