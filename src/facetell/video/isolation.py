"""Files read in a process of its own: the owner's side, which never parses a byte of them.

The reading process (`facetell.video.worker`) is handed open files and gives back frames in shared memory. It serves
many files, one at a time; when it crashes, hangs or wants too much, that file has a named error, and a new process
serves the next.
"""

from __future__ import annotations

import json
import logging
import math
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_type_hints

import numpy as np

from facetell import errors
from facetell.errors import FacetellError, InputError, LimitError, ReaderCrashError, UsageError
from facetell.types import AudioInfo, Frame, Provenance, VideoInfo
from facetell.video import sandbox
from facetell.video.file import InputFile, opened
from facetell.video.limits import DEFAULT_LIMITS, Limits
from facetell.video.plans import DEFAULT_PLAN, Plan
from facetell.video.wire import Wire

if TYPE_CHECKING:
    from facetell.video.reader import VideoReader
    from facetell.video.sound import Samples

T = TypeVar("T")
AnyReader: TypeAlias = "IsolatedReader | VideoReader"
log = logging.getLogger(__name__)
SUPPORTED = os.name == "posix"

_START_S = 60.0  # until a new process must be ready
_DYING_S = 5.0
_SLOTS = 20  # at most, and at least two
_SLOT_BYTES = 24 * 2**20  # all slots together, unless two take more
_TOO_MUCH = 2**63  # for any number about a file
_ROOM = "Close other programs, or raise the limits that `ulimit -a` lists."
_WITHIN = "FACETELL_READER"  # set in a reading process
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR")
_BOOT = """
import json, sys
control, memory, sys.path, limits = json.loads(sys.argv[1])
from facetell.video.limits import Limits
from facetell.video.worker import main
main(control, memory, Limits(**limits))
"""


class ReaderPool:
    """Reading processes, started when needed and used again: make it once, open many files, also from several threads.

    Where the platform has none (Windows), files are read in this very process.

    Args:
        limits: on reading one file.
        start: start a process at once, so that it gets ready while other things are made.

    Attributes:
        missing: protections that this platform does not offer; known once a file was read.

    Raises:
        ReaderCrashError: `start` was asked for, and no process can be started.

    >>> with ReaderPool().open("clip.mp4", "uniform:20") as reader:  # doctest: +SKIP
    ...     print(reader.info, [frame.time_s for frame in reader])
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, start: bool = False) -> None:
        self.limits = limits
        self.missing: tuple[str, ...] = () if SUPPORTED else sandbox.ALL
        self._idle = [Worker(limits)] if start and SUPPORTED else []

    def open(
        self,
        path: str | os.PathLike[str] | InputFile,
        plan: str | Plan = DEFAULT_PLAN,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        pairs: bool = False,
        stop: Stop | None = None,
    ) -> AnyReader:
        """A reader of one file, as `VideoReader` with these arguments; by `stop` another thread can end its process.

        Raises:
            FileMissingError, NotVideoError, DamagedVideoError, UsageError: as `VideoReader` does.
            LimitError: more time, memory, pixels, frames or streams than allowed.
            ReaderCrashError: the reading process broke down.
        """
        how = {"start_s": start_s, "end_s": end_s, "pairs": pairs}
        if not SUPPORTED:
            return _within(path, plan, **how, limits=self.limits)
        return self._asked(path, stop, plan=str(plan), **how)

    def probe(self, path: str | os.PathLike[str] | InputFile) -> tuple[VideoInfo, Provenance]:
        """What a file is and what it says of its own making, without its frames; the same errors."""
        with self._asked(path) if SUPPORTED else _within(path, limits=self.limits) as reader:
            if isinstance(reader, IsolatedReader):
                list(reader)
            return reader.info, reader.provenance()

    def sound(self, path: str | os.PathLike[str] | InputFile) -> Iterator[Samples]:
        """A file's first sound, in step with its pictures, as `VideoReader.sound` gives it; the same errors."""
        with self._asked(path, sound=True) if SUPPORTED else _within(path, limits=self.limits) as reader:
            yield from reader.sound()

    def start(self) -> tuple[str, ...]:
        """Start a process, and say which protections this platform does not offer."""
        if SUPPORTED:
            worker = self._take()
            self._await(worker)
            self._idle.append(worker)
        return self.missing

    def close(self) -> None:
        """End the processes that wait for a file; whoever opens another one after that has a new one started."""
        with suppress(IndexError):
            while True:
                self._idle.pop().end()

    def _asked(
        self, path: str | os.PathLike[str] | InputFile, stop: Stop | None = None, **question: Any
    ) -> IsolatedReader:
        """A reader of a file that was handed over with this question."""
        with closing(opened(path)) as file:
            worker = self._take()
            if stop is not None:
                stop.concerns(worker)
            self._await(worker)
            return IsolatedReader(worker, file, question, self._idle.append)

    def _await(self, worker: Worker) -> None:
        worker.await_ready()
        self.missing = worker.missing

    def _take(self) -> Worker:
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:
                return Worker(self.limits)
            if worker.process.poll() is None:
                return worker
            worker.end()  # it died with nothing to do


@cache
def shared_readers(limits: Limits = DEFAULT_LIMITS) -> ReaderPool:
    """The reading processes, under these limits, of all who read now and then."""
    return ReaderPool(limits)


class Worker:
    """A reading process, perhaps not yet ready.

    Raises:
        ReaderCrashError: it cannot be started.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.missing: tuple[str, ...] = ()  # protections
        self._ready = False
        self._size = 0  # of the shared memory, bytes
        self._slots: list[np.ndarray] = []
        _check_python()
        with ExitStack() as unless_started:
            try:
                self._memory = _shared_memory()
                unless_started.callback(os.close, self._memory)
                left, right = socket.socketpair()
                with left, right:
                    own = unless_started.enter_context(socket.socket(fileno=_beyond_streams(left.fileno())))
                    other = _beyond_streams(right.fileno())
                with socket.socket(fileno=other):
                    self.process = _started(other, self._memory, limits)
            except OSError as error:
                raise ReaderCrashError(
                    f"The process that reads files cannot be started: {error.strerror or error}.", _ROOM
                ) from error
            unless_started.pop_all()
        self._wire = Wire(own, files=0)
        self.end = weakref.finalize(self, _end, self.process, own, self._memory)

    def await_ready(self) -> None:
        """Wait until the process has shut itself in.

        Raises:
            ReaderCrashError: it did not come so far.
        """
        if self._ready:
            return
        try:
            self.missing = tuple(map(str, self.hear(_START_S)["missing"]))
        except (TimeoutError, FacetellError) as error:
            self.end()
            raise ReaderCrashError("The process that reads files cannot be started.", "See --verbose.") from error
        self._ready = True

    def say(self, message: dict[str, Any], *files: int) -> None:
        with suppress(OSError):  # what became of the process shows when it is listened to
            self._wire.send(message, files)

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next message.

        Raises:
            TimeoutError: none came in this time.
            ValueError: something came that is no message.
            LimitError, ReaderCrashError: the process is gone.
        """
        got = self._wire.receive(seconds)
        if got is None:
            raise self._obituary()
        message, _ = got
        if not isinstance(message, dict):
            raise ValueError("no message")
        if "crash" in message:
            log.debug("in the reading process: %r", message["crash"])
            raise self._obituary()
        return message

    def make_slots(self, size: int) -> int:
        """Shared memory for frames of `size` bytes; how many there can be at once.

        Raises:
            OSError: the system gives none.
        """
        count = min(max(_SLOT_BYTES // size, 2), _SLOTS)
        if count * size > self._size:
            self._size = count * size
            os.ftruncate(self._memory, self._size)
        whole = np.frombuffer(mmap.mmap(self._memory, self._size, prot=mmap.PROT_READ), np.uint8)
        self._slots = [whole[slot * size : (slot + 1) * size] for slot in range(count)]
        return count

    def picture(self, slot: int, height: int, width: int, behind: int = 0) -> np.ndarray:
        """The (H, W, 3) uint8 picture in a slot, `behind` others like it; read only, and until the slot is free again.

        Raises:
            ValueError, IndexError, TypeError: there is no such picture.
        """
        if min(height, width) < 1:
            raise ValueError(f"a picture of {width}×{height}")
        size = height * width * 3
        return self._slots[slot][behind * size : (behind + 1) * size].reshape(height, width, 3)

    def samples(self, slot: int, count: int) -> np.ndarray:
        """The (n, 2) int16 samples in a slot; likewise."""
        if count < 1:
            raise ValueError(f"{count} samples")
        return self._slots[slot][: 4 * count].view(np.int16).reshape(count, 2)

    def _obituary(self) -> FacetellError:
        """What it died of."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_DYING_S)
        code = self.process.poll()
        self.end()
        if code is not None and -code == signal.SIGXCPU:
            return LimitError("It takes more processor time to read than is allowed.", "See --max-cpu.")
        cause = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return ReaderCrashError(f"The process that read it broke down ({cause}).", "It may be made to do harm.")


class Stop:
    """Ends the process that another thread waits for while it opens one file, or that it is about to wait for."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._called = False

    def __call__(self) -> None:
        self._called = True
        self._end()

    def concerns(self, worker: Worker) -> None:
        """This is the process, perhaps not yet ready."""
        self._worker = worker
        self._end()

    def _end(self) -> None:
        if self._called and self._worker is not None:  # whichever thread comes second sees both
            self._worker.process.kill()


class IsolatedReader:
    """Iterates over a file's sampled frames, which another process decodes; else as `VideoReader`.

    A frame's picture is read only, and lasts until the next frame is asked for.

    Args:
        worker: that process, ready.
        file: what is handed over to it.
        question: what is wanted of the file; there will be frames if there is a plan in it.
        done: takes the worker back when it is done with the file.

    Attributes:
        info: VideoInfo.
        wanted: as that of `VideoReader`; of the default plan, if none was asked for.
        corrupt_packets: packets the decoder refused, or patched up; known at the end.
    """

    def __init__(
        self, worker: Worker, file: InputFile, question: dict[str, Any], done: Callable[[Worker], None]
    ) -> None:
        self.name = file.name
        self.corrupt_packets = 0
        self._worker: Worker | None = worker
        self._done = done
        self._allowed = self._left = worker.limits.seconds + worker.limits.extra_seconds(file.size, None, None)
        worker.say({"name": self.name, "start": file.start, "size": file.size} | question, file.descriptor)
        with self._sense():
            message = self._hear(worker)
            self.info = _info(message["info"], worker.limits)
            self._origin = _origin(message["origin"])
            self.wanted = _whole(message["wanted"], 1, worker.limits.frames)
            extra = worker.limits.extra_seconds(0, self.info.duration_s, self.info.frame_count)
        self._allowed, self._left = self._allowed + extra, self._left + extra

    def provenance(self) -> Provenance:
        """What the file says of its own making."""
        return self._origin

    def __iter__(self) -> Iterator[Frame]:
        def frame(worker: Worker, message: dict[str, Any], number: int) -> Frame:
            if message["number"] != number or number == self.info.frame_count:
                raise ValueError(f"not frame {number}")
            place = message["slot"], *message["size"]
            after = worker.picture(*place, behind=1) if message["paired"] else None
            return Frame(number, _time(message), worker.picture(*place), after)

        return self._items(frame)

    def sound(self) -> Iterator[Samples]:
        """The file's first sound, if that was asked for; samples last until the next are."""

        def samples(worker: Worker, message: dict[str, Any], _: int) -> Samples:
            return _time(message), worker.samples(message["slot"], message["size"])

        return self._items(samples)

    def _items(self, made: Callable[[Worker, dict[str, Any], int], T]) -> Iterator[T]:
        """What lies in one slot after the other, made of that, the message about it and how many came before."""
        count = 0
        while (worker := self._worker) is not None:
            with self._sense():
                message, item = self._hear(worker), None
                if "memory" in message:
                    self._answer(worker, {"slots": self._slots(worker, message["memory"])})
                elif "slot" in message:
                    item = made(worker, message, count)
                    count += 1
                    if count > worker.limits.frames:
                        raise ValueError("no end")
                else:
                    self.corrupt_packets = _whole(message["corrupt_packets"], 0, 2**31 - 1)
                    self._worker = None
                    self._done(worker)
            if item is not None:
                yield item
                self._answer(worker, {"free": message["slot"]})

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process; one that is not done with the file is ended. May be called more than once."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _hear(self, worker: Worker) -> dict[str, Any]:
        """The next message, if it is no error, in what is left of the time for waiting."""
        try:
            with self._counted():
                message = worker.hear(self._left)
        except TimeoutError as error:
            self.close()
            allowed = f"{self._allowed:.0f}" if self._allowed >= 10 else f"{self._allowed:.2g}"
            raise LimitError(f"{self.name} takes more than {allowed} s to read.", "See --max-seconds.") from error
        except (LimitError, ReaderCrashError) as error:
            self._worker = None
            raise type(error)(f"{self.name} cannot be read: {error.message}", error.advice) from error
        if "error" in message:
            raise self._told(worker, message["error"])  # in no variable: error and frame would keep each other alive
        return message

    def _told(self, worker: Worker, fields: dict[str, str]) -> FacetellError:
        """The error that ends this file."""
        error = _error(fields)
        if isinstance(error, LimitError):  # it may be short of memory: not fit for another file
            self.close()
        else:
            self._worker = None
            self._done(worker)
        return error

    def _answer(self, worker: Worker, message: dict[str, Any]) -> None:
        with self._counted():  # a process that does not listen is waited for, too
            worker.say(message)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Time spent in here is time spent waiting."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._left -= time.monotonic() - start

    def _slots(self, worker: Worker, size: int) -> int:
        """How many slots of this size there are now."""
        if not 0 < size <= 6 * worker.limits.pixels:  # a pair of pictures, three bytes a pixel
            raise ValueError(f"a picture of {size} bytes")
        try:
            return worker.make_slots(size)
        except OSError as error:
            self.close()
            raise LimitError(
                f"{self.name} cannot be read: there is no memory for its frames: {error.strerror}.", _ROOM
            ) from error

    @contextmanager
    def _sense(self) -> Iterator[None]:
        """A process that makes no sense is ended: a file may have taken it over."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            self.close()
            raise ReaderCrashError(
                f"{self.name} cannot be read: the process that reads it makes no sense.", "It may be made to do harm."
            ) from error


def _within(path: str | os.PathLike[str] | InputFile, *args: Any, **options: Any) -> VideoReader:
    """A reader in this very process."""
    from facetell.video.reader import VideoReader

    return VideoReader(path, *args, **options)


def _check_python() -> None:
    """That `sys.executable` is Python, as far as can be known: any other program would be started again without end.

    Raises:
        ReaderCrashError: it is not.
    """
    cannot = "The process that reads files cannot be started: "
    if not sys.executable:  # as where Python is embedded in another program
        raise ReaderCrashError(
            f"{cannot}sys.executable does not say where Python is.",
            "Set it to the path of the Python that has facetell.",
        )
    if getattr(sys, "frozen", False) or _WITHIN in os.environ:
        raise ReaderCrashError(
            f"{cannot}{sys.executable} is a program made with Python, not Python.",
            "Let it run the command `facetell scan FILE --json -` of a Python that has facetell.",
        )


def _started(control: int, memory: int, limits: Limits) -> subprocess.Popen[bytes]:
    """A reading process that is handed these two descriptors, and sees as much of its surroundings as this one."""
    flags = {
        "-P": True,
        "-B": sys.dont_write_bytecode,
        "-E": sys.flags.ignore_environment,
        "-S": sys.flags.no_site,
        "-s": sys.flags.no_user_site,
    }
    path = [entry for entry in sys.path if isinstance(entry, str)]  # Python itself passes over anything else
    start = json.dumps([control, memory, path, asdict(limits)])
    return subprocess.Popen(
        [sys.executable, *(flag for flag, given in flags.items() if given), "-c", _BOOT, start],
        pass_fds=(control, memory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # libraries complain there, in strangers' words
        env={name: os.environ[name] for name in _KEPT if name in os.environ}
        | {"OPENBLAS_NUM_THREADS": "1", _WITHIN: "1"},
    )


def _shared_memory() -> int:
    """The descriptor of memory without a name."""
    with open(os.memfd_create("facetell")) if sys.platform == "linux" else tempfile.TemporaryFile() as file:
        return _beyond_streams(file.fileno())


def _beyond_streams(descriptor: int) -> int:
    """Another descriptor of the same, above those of the standard streams, which a new process has replaced."""
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def _end(process: subprocess.Popen[bytes], wire: socket.socket, memory: int) -> None:
    wire.close()
    os.close(memory)
    process.kill()
    process.wait()


def _info(fields: dict[str, Any], limits: Limits) -> VideoInfo:
    rate, audio = fields["frame_rate"], fields["audio"]
    info = _typed(
        VideoInfo(
            **fields
            | {
                "frame_rate": None if rate is None else _fraction(rate),
                "pixel_aspect": _fraction(fields["pixel_aspect"]),
                "audio": None if audio is None else _typed(AudioInfo(**audio)),
            }
        )
    )
    if not 1 <= info.width * info.height <= limits.pixels or info.rotation not in (0, 90, 180, 270):
        raise ValueError(f"a picture of {info.width}×{info.height}, turned by {info.rotation}")
    if info.frame_count is not None and not 1 <= info.frame_count <= limits.frames:
        raise ValueError(f"{info.frame_count} frames")
    return info


def _typed(made: T) -> T:
    """What was made of a message's fields, if each is of its type, and no number below 0 or without end."""
    for name, kind in get_type_hints(type(made)).items():
        value = getattr(made, name)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise TypeError(f"{name} of {type(value)}")
        if isinstance(value, int | float | Fraction) and not 0 <= value < _TOO_MUCH:
            raise ValueError(f"{name} out of range")
    return made


def _fraction(text: str) -> Fraction:
    """What `str` made of a fraction; nothing else that is one, such as 1e999999999, which takes for ever."""
    if not re.fullmatch(r"\d{1,20}(/\d{1,20})?", text):
        raise ValueError("no fraction")
    return Fraction(text)


def _origin(fields: dict[str, Any]) -> Provenance:
    encoder, created, device = fields["encoder"], fields["created"], fields["device"]
    tags, notes = dict(fields["tags"]), tuple(fields["notes"])
    named = [text for text in (encoder, created, device) if text is not None]
    if not all(isinstance(text, str) for text in (*named, *tags, *tags.values(), *notes)):
        raise TypeError("a tag that is no text")
    return Provenance(encoder, created, device, tags, notes)


def _whole(number: int, least: int, most: int) -> int:
    if type(number) is not int or not least <= number <= most:
        raise ValueError(f"{number} is no whole number from {least} to {most}")
    return number


def _time(message: dict[str, Any]) -> float:
    time_s = float(message["time_s"])
    if not math.isfinite(time_s):
        raise ValueError(f"a time of {time_s}")
    return time_s


def _error(fields: dict[str, str]) -> FacetellError:
    kind = getattr(errors, fields["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, InputError | UsageError)):
        raise ValueError(f"an error of type {fields['type']!r}")
    message, advice = fields["message"], fields["advice"]
    if not (isinstance(message, str) and isinstance(advice, str)):
        raise TypeError("an error without words")
    return kind(message, advice)
