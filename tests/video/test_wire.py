"""What two processes say to each other comes whole, in time, or not at all."""

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from facetell.video.wire import Wire


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    left, right = socket.socketpair()
    with left, right:
        yield Wire(left), Wire(right, files=0)


def test_messages_come_one_by_one(ends: tuple[Wire, Wire]) -> None:
    for number in range(3):
        ends[0].send({"number": number, "text": "ä\n"})
    assert [ends[1].receive(5) for _ in range(3)] == [({"number": number, "text": "ä\n"}, []) for number in range(3)]
    ends[0].socket.close()
    assert ends[1].receive() is None


def test_files_come_along_with_their_message(ends: tuple[Wire, Wire]) -> None:
    read, write = os.pipe()
    ends[1].send({"a": 1}, (read,))
    ends[1].send({"b": 2})
    message, (file,) = ends[0].receive(5) or ({}, [])
    assert message == {"a": 1}
    os.write(write, b"through")
    assert os.read(file, 99) == b"through"
    assert ends[0].receive(5) == ({"b": 2}, [])
    for each in (read, write, file):
        os.close(each)


def test_files_that_are_not_wanted_are_not_taken(ends: tuple[Wire, Wire]) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(9):
        ends[0].send({"a": 1}, (0, 0, 0))
        assert ends[1].receive(5) == ({"a": 1}, [])
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(
    "noise", [b"\xff\n", b"{}\n", b"5\n", b"[{}, 'a']\n", b'[{}, "a"]\n', b"[" * 100_000 + b"\n"], ids=range(6)
)
def test_what_is_no_message(noise: bytes, ends: tuple[Wire, Wire]) -> None:
    threading.Thread(target=ends[0].socket.sendall, args=[noise]).start()
    with pytest.raises(ValueError, match=r"."):
        ends[1].receive(5)


def test_a_message_must_have_come_whole_in_time(ends: tuple[Wire, Wire]) -> None:
    def drip() -> None:
        for byte in b'[{"a": 1}, 0]\n':
            time.sleep(0.1)
            ends[0].socket.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(TimeoutError):
        ends[1].receive(0.4)
    thread.join()
    with pytest.raises(TimeoutError):
        ends[1].receive(0)
    assert ends[1].receive(5) == ({"a": 1}, [])
