"""What a reading process and its owner say to each other: JSON, one message a line, and open files beside it.

Nothing that comes back is ever run or unpickled: a reading process that was taken over can lie about its file, no more.
"""

from __future__ import annotations

import json
import math
import socket
import time
from typing import Any

MAX_MESSAGE = 4 * 2**20  # bytes
_CHUNK = 2**16
_FILES = 4


class Wire:
    """One end of a socket.

    Args:
        end: the socket.
        files: how many may come at once; the kernel closes what comes beyond.

    >>> left, right = (Wire(end) for end in socket.socketpair())
    >>> left.send({"frame": 1})
    >>> right.receive()
    ({'frame': 1}, [])
    """

    def __init__(self, end: socket.socket, files: int = _FILES) -> None:
        self.socket = end
        self._most_files = files
        self._buffer = b""
        self._files: list[int] = []

    def send(self, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
        """A message whose fractions become texts.

        Raises:
            OSError: the other end is gone, or takes nothing in the socket's time.
        """
        line = json.dumps([message, len(files)], default=str).encode("ascii") + b"\n"
        sent = socket.send_fds(self.socket, [line], files) if files else 0
        self.socket.sendall(line[sent:])

    def receive(self, seconds: float | None = None) -> tuple[dict[str, Any], list[int]] | None:
        """The next message with the files that came along; None when the other end is gone.

        Args:
            seconds: until it must have come whole; None: no limit.

        Raises:
            TimeoutError: it did not.
            ValueError: something other than a message came.
        """
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if b"\n" in self._buffer:
                return self._first()
            if len(self._buffer) > MAX_MESSAGE:
                raise ValueError("a message without end")
            if seconds is not None:
                self.socket.settimeout(left)
            try:
                data, files, _, _ = socket.recv_fds(self.socket, _CHUNK, self._most_files)
            except ConnectionError:
                return None
            if not data:
                return None
            self._buffer += data
            self._files += files
        raise TimeoutError

    def _first(self) -> tuple[dict[str, Any], list[int]]:
        """Take the first message out of what came."""
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message, count = json.loads(line)
            files, self._files = self._files[:count], self._files[count:]
        except (TypeError, RecursionError) as error:
            raise ValueError("no message") from error
        return message, files
