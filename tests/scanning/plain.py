"""Reading without any shortcut, to hold the fast way against: every frame is decoded, on one thread, and counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, pairwise

import av
import numpy as np

from facetell.types import Frame, Provenance
from facetell.video import Plan, VideoReader, parse_plan
from facetell.video.file import InputFile
from facetell.video.isolation import Stop
from facetell.video.picture import Renderer, orientation_of


class PlainReaders:
    """Takes the place of a `ReaderPool`."""

    missing = ()

    def open(
        self,
        file: InputFile,
        plan: str | Plan,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        pairs: bool = False,
        stop: Stop | None = None,
    ) -> PlainReader:
        assert start_s is end_s is stop is None
        file.close()
        plan = parse_plan(plan) if isinstance(plan, str) else plan
        return PlainReader(os.fspath(file.name), plan, pairs)


class PlainReader:
    """The frames that a plan asks for, and nothing in their place."""

    corrupt_packets = 0

    def __init__(self, path: str, plan: Plan, pairs: bool) -> None:
        self.path, self.pairs = path, pairs
        with VideoReader(path) as reader:
            self.info = reader.info
        self.chosen = set(plan.choose(np.array([frame.time or 0.0 for frame in self._decoded()])).tolist())
        self.wanted = len(self.chosen)

    def provenance(self) -> Provenance:
        return Provenance()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        with av.open(self.path) as container:
            (stream,) = container.streams.video
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            yield from container.decode(stream)

    def __iter__(self) -> Iterator[Frame]:
        first, taken = next(self._decoded()), 0
        render, start_s = Renderer(orientation_of(first), self.info.pixel_aspect), first.time or 0.0
        for number, (frame, next_one) in enumerate(pairwise(chain(self._decoded(), [None]))):
            assert frame is not None
            time_s = (frame.time or 0.0) - start_s
            if number in self.chosen:
                after = render.after(frame, next_one) if self.pairs and next_one is not None else None
                yield Frame(taken, time_s, render(frame), after)
                taken += 1

    def __enter__(self) -> PlainReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass
