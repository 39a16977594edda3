"""A stranger's file, opened once and read from anywhere, also by a process that may open none itself."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facetell.errors import FileMissingError, LimitError, NotVideoError

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

AGAIN = "Fetch the file again."
_TURN = threading.Lock()
_SUFFIXES = (  # of what is taken for a video or picture in a folder
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".flv", ".f4v", ".wmv"),
    *(".asf", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".ts", ".m2t", ".mts", ".m2ts", ".ogv", ".ogm", ".mxf"),
    *(".gxf", ".rm", ".rmvb", ".wtv", ".nut", ".dv", ".ivf", ".obu", ".h264", ".264", ".h265", ".265", ".hevc"),
    *(".mjpeg", ".mjpg", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".hif", ".avif"),
)


def open_regular(path: StrOrBytesPath) -> int:
    """The descriptor of a readable, regular file with something in it.

    Raises:
        FileMissingError: nothing there, or not a regular file, or not readable.
        NotVideoError: an empty file.
    """
    name = os.fsdecode(path)
    try:
        # Opening a pipe without O_NONBLOCK would wait for a writer.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        elsewhere = name == "-" or "://" in name
        advice = "Only files are read: save the video to one first." if elsewhere else "Check the path."
        raise FileMissingError(f"{name} does not exist.", advice) from error
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # where folders cannot even be opened
            raise _folder_error(name) from error
        reason = getattr(error, "strerror", None) or error
        raise FileMissingError(f"{name} cannot be read: {reason}.", "Check the path and its permissions.") from error
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return file
    os.close(file)
    if stat.S_ISDIR(status.st_mode):
        raise _folder_error(name)
    if not stat.S_ISREG(status.st_mode):
        raise FileMissingError(f"{name} is not a regular file.", "Save the video to a file first.")
    raise NotVideoError(f"{name} is empty.", AGAIN)


def _folder_error(folder: str) -> FileMissingError:
    """Why this folder, given where a file belongs, is none that can stand for the files in it."""
    try:
        os.listdir(folder)
    except OSError as error:
        return FileMissingError(
            f"The folder {folder} cannot be read: {error.strerror}.", "Check the path and its permissions."
        )
    _, left_out = files_in(folder)
    advice = passed_over(folder, left_out) if left_out else "Give the files in it, or a folder with videos or pictures."
    return FileMissingError(f"{folder} is a folder.", advice)


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
        self, path: StrOrBytesPath, descriptor: int | None = None, start: int = 0, size: int | None = None
    ) -> None:
        self.name = os.fsdecode(path)
        self.descriptor = open_regular(path) if descriptor is None else descriptor
        self.start = start
        self.size = os.fstat(self.descriptor).st_size - start if size is None else size

    def open(self) -> io.BufferedReader:
        """A reader from the start, with a position of its own; it must not outlive the file."""
        return io.BufferedReader(_At(self))

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start` on."""
        with self.open() as reader:
            reader.seek(start)
            return reader.read(length)

    def twin(self) -> InputFile:
        """The very same file once more, to be closed by itself.

        Raises:
            LimitError: too many files are open.
        """
        try:
            return InputFile(self.name, os.dup(self.descriptor), self.start, self.size)
        except OSError as error:
            raise LimitError(
                f"{self.name} cannot be read: {error.strerror}.", "Close some, or raise `ulimit -n`."
            ) from error

    def sha256(self) -> str:
        """The SHA-256 of its bytes, as 64 lower-case hex digits.

        Raises:
            FileMissingError: they cannot be read.
        """
        try:
            with self.open() as reader:
                return hashlib.file_digest(reader, "sha256").hexdigest()
        except OSError as error:
            raise FileMissingError(f"{self.name} cannot be read: {error.strerror}.") from error

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def read_into(descriptor: int, room: memoryview, start: int) -> int:
    """Fill `room`, or as much as the file gives, with its bytes from `start` on; how many came. Safe in threads."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [room], start)
    with _TURN:  # Windows: a descriptor has one position for all
        os.lseek(descriptor, start, os.SEEK_SET)
        data = os.read(descriptor, len(room))
    room[: len(data)] = data
    return len(data)


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
        count = read_into(self._descriptor, room, self._start + self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at


def files_in(path: str, but: str | None = None) -> tuple[list[str], int]:
    """The videos and pictures in a folder and the folders in it, by their suffix, in order of name; else the path.

    Hidden files are left out. A folder that cannot be listed, or holds none, stands for itself: it is no file.

    Args:
        path: a folder or anything else.
        but: a folder that is not looked into, wherever it lies.

    Returns:
        The paths, and how many files that are not hidden were left out for their suffix.

    >>> files_in("clip.mp4")
    (['clip.mp4'], 0)
    """
    if not os.path.isdir(path):
        return [path], 0
    barred = None if but is None else os.path.realpath(but)
    left_out = 0
    found: list[str] = []
    closed: list[OSError] = []
    been: set[str] = set()  # links may lead round in a circle, or twice to one folder
    for folder, folders, names in os.walk(path, onerror=closed.append, followlinks=True):
        real = os.path.realpath(folder)
        if real in been or (barred is not None and Path(real).is_relative_to(barred)):
            folders.clear()
            continue
        been.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen = [name for name in names if not name.startswith(".")]
        fitting = [os.path.join(folder, name) for name in seen if name.lower().endswith(_SUFFIXES)]
        left_out += len(seen) - len(fitting)
        found += fitting
    found += [os.fspath(error.filename) for error in closed]
    return sorted(found) or [path], left_out


def passed_over(folder: str, number: int) -> str:
    """That `files_in` left out so many files of a folder, and what to do about it.

    >>> passed_over("box", 3)
    '3 files in box were left out for their suffix; name them to scan them.'
    """
    if number == 1:
        return f"1 file in {folder} was left out for its suffix; name it to scan it."
    return f"{number:,} files in {folder} were left out for their suffix; name them to scan them."


def opened(given: str | os.PathLike[str] | InputFile) -> InputFile:
    """The file at a path; one that is open already stays as it is."""
    return given if isinstance(given, InputFile) else InputFile(given)
