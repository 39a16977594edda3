"""What a long run has finished, safe on the disk before the next file is begun, so that a run cut short can go on."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from facetell.errors import OutputError
from facetell.report.json import verdict_from_dict, verdict_to_dict
from facetell.types import Verdict

SCHEMA = "facetell-journal/1"
_GARBAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # what comes of it


class Journal:
    """One line of JSON per verdict, in a file that is there as long as the run's report is not.

    A journal of a run with other settings is begun anew; what ended in an error is tried again. Where one breaks off
    within a line, the lines before count; of a line that cannot be read, nothing does. Pictures are not kept.

    Args:
        path: the journal.
        settings: what verdicts depend on beside the file itself, as plain JSON types.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._verdicts: dict[str, tuple[list[int] | None, Verdict]] = {}
        header = json.dumps({"schema": SCHEMA, "settings": settings}).encode() + b"\n"
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  it stays open as long as the run
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}.", "Choose another folder.") from error
        self._file.seek(0)
        lines = io.BytesIO(self._file.read()).readlines()
        self._length = 0
        if lines[:1] == [header]:
            self._length = len(header)
            self._take_in(lines[1:])
        self._file.truncate(self._length)
        if not self._length:
            self._append(header)

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, path: str) -> Verdict | None:
        """The verdict on this file, if there is one and the file has not changed since."""
        stamp, verdict = self._verdicts.get(path, (None, None))
        return verdict if verdict and stamp == stamp_of(path) else None

    def add(self, verdict: Verdict, stamp: list[int] | None) -> None:
        """Keep a verdict, with its file's stamp from before it was read.

        Raises:
            OutputError: it cannot be written; what was added before is kept.
        """
        self._append(json.dumps({"stamp": stamp, "verdict": verdict_to_dict(verdict)}).encode() + b"\n")

    def remove(self) -> None:
        """The report is written: there is nothing to go on from."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _take_in(self, lines: list[bytes]) -> None:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            self._length += len(line)
            with suppress(*_GARBAGE):  # that file is judged anew
                entry = json.loads(line)
                verdict = verdict_from_dict(entry["verdict"])
                verdict_to_dict(verdict)  # its report can be written
                if verdict.error is None:
                    self._verdicts[verdict.path] = (entry["stamp"], verdict)

    def _append(self, line: bytes) -> None:
        if not self._in_place():
            raise OutputError(
                f"{self.path} is gone.", f"What was finished is in {self._rescue()}: put it back to go on."
            )
        try:
            rest = line
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # a line that is not whole is left out when it is read again
                self._file.truncate(self._length)
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}.",
                "What was finished is kept in it; run the same again to go on.",
            ) from error
        self._length += len(line)

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _rescue(self) -> str:
        """The journal's contents in a new file, for its folder has vanished under it."""
        handle, name = tempfile.mkstemp(prefix="facetell-", suffix=".journal")
        with open(handle, "wb") as rescue:
            self._file.seek(0)
            rescue.write(self._file.read())
        return name


def stamp_of(path: str) -> list[int] | None:
    """Size and time of change of a file, by which it is known again; None if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
