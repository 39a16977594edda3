"""The reading process: opens what it is handed, one file after the other, and gives back frames in shared memory.

Started by `facetell.video.isolation`. Whatever goes wrong beyond a named error ends this process, and its owner
starts another.
"""

from __future__ import annotations

import mmap
import signal
import socket
import traceback
from contextlib import closing
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from facetell.errors import FacetellError, LimitError
from facetell.video import sandbox, stills
from facetell.video.file import InputFile
from facetell.video.limits import Limits
from facetell.video.plans import DEFAULT_PLAN
from facetell.video.reader import VideoReader
from facetell.video.wire import Wire

# Modules that libraries load when they first need them; once this process is shut in, they cannot.
_LATER = ("av.subtitles.codeccontext", "av.subtitles.stream", "av.subtitles.subtitle", "PIL.ImageCms")
_REHEARSALS = ("rehearsal.mp4", "rehearsal.png")  # three grey frames with silence, and a grey picture with EXIF


class Memory:
    """The frames' way out: slots of one size in memory shared with the owner.

    Args:
        wire: to the owner, who makes the memory large enough and says when a slot may be used again.
        file: descriptor of the shared memory.
    """

    def __init__(self, wire: Wire, file: int) -> None:
        self._wire, self._file = wire, file
        self._slots: list[np.ndarray] = []
        self._free: list[int] = []

    def put(self, *arrays: np.ndarray) -> int:
        """Copy a picture and what belongs to it, or samples, one behind the other into a free slot; its number."""
        size = sum(array.nbytes for array in arrays)
        if not self._slots or size > self._slots[0].nbytes:
            while len(self._free) < len(self._slots):
                self._free.append(self._answer("free"))
            self._wire.send({"memory": size})
            self._map(self._answer("slots"), size)
        if not self._free:
            self._free.append(self._answer("free"))
        slot = self._free.pop(0)
        start = 0
        for array in arrays:
            part = self._slots[slot][start : start + array.nbytes]
            part.view(array.dtype).reshape(array.shape)[...] = array
            start += array.nbytes
        return slot

    def all_free(self) -> None:
        """A new file: its owner has taken all frames of the last one."""
        self._free = list(range(len(self._slots)))

    def _map(self, count: int, size: int) -> None:
        self._slots.clear()
        whole = np.frombuffer(mmap.mmap(self._file, count * size), np.uint8)
        self._slots = [whole[slot * size : (slot + 1) * size] for slot in range(count)]
        self._free = list(range(count))

    def _answer(self, key: str) -> int:
        answer = self._wire.receive()
        if answer is None:
            raise SystemExit  # the owner is gone
        return answer[0][key]


def main(control: int, memory: int, limits: Limits) -> None:
    """Serve files until the owner goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    wire = Wire(socket.socket(fileno=control))
    frames = Memory(wire, memory)
    limits = replace(limits, memory_mb=sandbox.allowed_memory(limits.memory_mb))  # what errors are to name
    try:
        rehearse()
        wire.send({"missing": sandbox.enter(limits.memory_mb)})
        while request := wire.receive():
            question, files = request
            if "free" in question:
                continue  # the last slot of the file before
            with closing(InputFile(question["name"], files[0], question["start"], question["size"])) as file:
                _serve(wire, frames, file, question, limits)
    except Exception:  # pragma: boundary  nobody else can see it
        wire.send({"crash": traceback.format_exc()})
        raise


def rehearse() -> None:
    """Read a small file of each kind, so that whatever the libraries load on the way is there."""
    stills.load_formats()
    for name in _LATER:
        import_module(name)
    for name in _REHEARSALS:
        with VideoReader(Path(__file__).with_name(name), ahead=0) as reader:
            reader.provenance()
            list(reader)
            list(reader.sound())


def _serve(wire: Wire, frames: Memory, file: InputFile, question: dict[str, Any], limits: Limits) -> None:
    try:
        _read(wire, frames, file, question, limits)
    except FacetellError as error:
        problem = error
    except MemoryError:
        problem = LimitError(
            f"{file.name} takes more than {limits.memory_mb} MiB of memory.", "See --max-memory and your own `ulimit`."
        )
    else:
        return
    wire.send({"error": {"type": type(problem).__name__, "message": problem.message, "advice": problem.advice}})


def _read(wire: Wire, frames: Memory, file: InputFile, question: dict[str, Any], limits: Limits) -> None:
    frames.all_free()
    sandbox.limit_processor(limits.cpu_seconds + limits.extra_seconds(file.size, None, None))
    how = {key: question[key] for key in ("start_s", "end_s", "pairs") if key in question}
    plan = question.get("plan")
    with VideoReader(file, plan or DEFAULT_PLAN, **how, ahead=0, limits=limits) as reader:
        info = reader.info
        sandbox.limit_processor(limits.cpu_seconds + limits.extra_seconds(file.size, info.duration_s, info.frame_count))
        wire.send({"info": asdict(info), "origin": asdict(reader.provenance()), "wanted": reader.wanted})
        for time_s, samples in reader.sound() if question.get("sound") else ():
            wire.send({"slot": frames.put(samples), "time_s": time_s, "size": len(samples)})
        for frame in reader if plan else ():
            arrays = [frame.image] if frame.after is None else [frame.image, frame.after]
            place = {"slot": frames.put(*arrays), "size": frame.image.shape[:2], "paired": len(arrays) == 2}
            wire.send(place | {"number": frame.number, "time_s": frame.time_s})
            del frame, arrays  # the next frame is about to want their memory
        wire.send({"corrupt_packets": reader.corrupt_packets})
