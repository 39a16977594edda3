"""What a long run has finished, safe on the disk before the next file is begun, so that a run cut short can go on."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from facetell.errors import OutputError
from facetell.report.json import verdict_from_dict, verdict_to_dict
from facetell.types import Verdict

try:
    import fcntl
except ImportError:  # Windows, which has no such locks
    fcntl = None

_MARK = b'{"schema": "facetell-journal/'  # how each begins, of whatever version
_SCHEMA = "facetell-journal/2"


class Journal:
    """One line of JSON per verdict or marked copy, in a file that is there as long as the run's report is not.

    It is locked until it is closed. What ended in an error is tried again. Behind each line stands a checksum of it and
    the header: where one is not as it was written, or breaks off, nothing of it counts. Pictures are not kept.

    Args:
        path: the journal; anything else that is there is left alone.
        settings: what verdicts depend on beside the file itself, as plain JSON types.

    Attributes:
        set_aside: where the journal of a run with other settings, that was there, is kept now.

    Raises:
        OutputError: it cannot be written, another run is writing it, or something else is there.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.set_aside: Path | None = None
        self._verdicts: dict[str, tuple[list[int] | None, Verdict]] = {}
        self._copies: dict[str, str] = {}
        self._length = 0
        self._header = json.dumps({"schema": _SCHEMA, "settings": settings}).encode() + b"\n"
        lines = self._open()
        try:
            if len(lines) > 1 and lines[0] != self._header:
                self.set_aside = self.keep()
                lines = self._open()
            if lines[:1] == [self._header]:
                self._length = len(self._header)
                self._take_in(lines[1:])
            self._file.truncate(self._length)
            if not self._length:
                self._write(self._header)
        except OSError as error:
            raise self._unwritten(error) from error

    @property
    def paths(self) -> set[str]:
        """The files that it has a verdict on, changed since or not."""
        return set(self._verdicts)

    def get(self, path: str) -> Verdict | None:
        """The verdict on this file, if there is one and the file has not changed since."""
        stamp, verdict = self._verdicts.get(path, (None, None))
        return verdict if verdict and stamp == stamp_of(path) else None

    def copy_of(self, path: str) -> str | None:
        """Where the marked copy that goes with the verdict on this file was written, if one was."""
        return self._copies.get(path)

    def add(self, verdict: Verdict, stamp: list[int] | None) -> None:
        """Keep a verdict, with its file's stamp from before it was read.

        Raises:
            OutputError: it cannot be written; what was added before is kept.
        """
        self._append({"stamp": stamp, "verdict": verdict_to_dict(verdict)})

    def add_copy(self, path: str, copy: str) -> None:
        """Keep where the marked copy of a file was written, for which there is a verdict; errors as of `add`."""
        self._append({"path": path, "copy": copy})

    def check(self) -> None:
        """That it is still where it was.

        Raises:
            OutputError: it is not; the error says where what was finished is now.
        """
        if not self._in_place():
            raise OutputError(f"{self.path} is gone.", self._rescue())

    def close(self) -> None:
        """Let go of it; it stays where it is."""
        self._file.close()

    def remove(self) -> None:
        """The report is written: there is nothing to go on from."""
        if fcntl is None:  # Windows deletes nothing that is open
            self._file.close()
        self.path.unlink(missing_ok=True)  # while it is locked: the next to have this name is another run's
        self._file.close()

    def keep(self) -> Path:
        """Close it and keep it under another name, which is returned.

        Raises:
            OutputError: it cannot be given one.
        """
        for number in itertools.count(1):
            place = Path(f"{self.path}.old{number if number > 1 else ''}")
            if not os.path.lexists(place):
                break
        if fcntl is None:  # Windows moves nothing that is open
            self._file.close()
        try:
            self.path.rename(place)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be kept as {place}: {error.strerror}.", "Move it away.") from error
        self._file.close()
        return place

    def _open(self) -> list[bytes]:
        """Open and lock it; its lines."""
        try:
            self._file = open(self.path, "a+b", buffering=0, opener=_open_no_link)  # noqa: SIM115  it stays open
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._no_journal() from error
            raise self._unwritten(error) from error
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise self._no_journal()
            self._file.seek(0)
            if not _MARK.startswith(self._file.read(len(_MARK))):  # it may break off there, or be empty
                raise self._no_journal()
            self._lock()
            self._file.seek(0)
            return io.BytesIO(self._file.readall()).readlines()
        except OSError as error:
            raise self._unwritten(error) from error

    def _lock(self) -> None:
        if fcntl is None:
            return
        busy = OutputError(f"Another run is writing {self.path}.", "Wait for it to end, or give another output file.")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError:  # a file system without locks
            return
        if not self._in_place():  # that run has ended since it was opened here
            raise busy

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._file.fileno()))
        except OSError:  # its folder is gone, closed or a file now
            return False

    def _no_journal(self) -> OutputError:
        return OutputError(
            f"{self.path}, where what is finished would be kept until the report is written, is something else.",
            "Move it away, or give another output file.",
        )

    def _unwritten(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path} cannot be written: {error.strerror}.", "Give another output file.")

    def _take_in(self, lines: list[bytes]) -> None:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            self._length += len(line)
            said, _, checksum = line[:-1].rpartition(b"\t")
            if checksum == self._checksum(said):
                entry = json.loads(said)
                if "copy" in entry:
                    self._copies[entry["path"]] = entry["copy"]
                else:
                    with suppress(LookupError, TypeError, ValueError):  # written by other code of the same version
                        self._take_in_verdict(entry)

    def _take_in_verdict(self, entry: dict[str, Any]) -> None:
        verdict = verdict_from_dict(entry["verdict"])
        if verdict.error is None:
            self._verdicts[verdict.path] = (entry["stamp"], verdict)
            self._copies.pop(verdict.path, None)  # which was of the verdict before

    def _checksum(self, said: bytes) -> bytes:
        return hashlib.sha256(self._header + said).hexdigest()[:32].encode()

    def _append(self, entry: dict[str, Any]) -> None:
        said = json.dumps(entry, allow_nan=False).encode()
        self.check()
        try:
            self._write(said + b"\t" + self._checksum(said) + b"\n")
        except OSError as error:
            with suppress(OSError):  # a line that is not whole is left out when it is read again
                self._file.truncate(self._length)
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}.",
                "What was finished is kept in it; run the same again to go on.",
            ) from error

    def _write(self, line: bytes) -> None:
        rest = line
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._length += len(line)

    def _rescue(self) -> str:
        """Write the journal's contents to a new file, for its folder has vanished under it; what to do now."""
        for folder in (None, os.curdir):  # None: the system's for temporary files
            try:
                handle, name = tempfile.mkstemp(prefix="facetell-", suffix=".journal", dir=folder)
            except OSError:  # there is no such folder
                continue
            try:
                with open(handle, "wb") as rescue:
                    self._file.seek(0)
                    rescue.write(self._file.read())
            except OSError:  # there is no room in it
                os.unlink(name)
                continue
            return f"What was finished is in {name}: put it back to go on."
        return "What was finished is lost: neither TMPDIR nor the working directory can be written."


def _open_no_link(path: str, flags: int) -> int:
    """Without waiting for a pipe's other end, or creating what a link leads to."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)


def stamp_of(path: str) -> list[int] | None:
    """Size and time of change of a file, by which it is known again; None if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
