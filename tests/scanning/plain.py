"""Reading without any shortcut, to hold the fast way against: every frame is decoded, on one thread, and counted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import av
import numpy as np

from facetell.types import Frame, Provenance
from facetell.video import Plan, VideoReader, parse_plan
from facetell.video.picture import Renderer, orientation_of


class PlainReaders:
    """Takes the place of a `ReaderPool`."""

    missing = ()

    def open(
        self,
        path: str | os.PathLike[str],
        plan: str | Plan,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> PlainReader:
        assert start_s is None
        assert end_s is None
        return PlainReader(str(path), parse_plan(plan) if isinstance(plan, str) else plan)


class PlainReader:
    """The frames that a plan asks for, and nothing in their place."""

    corrupt_packets = 0

    def __init__(self, path: str, plan: Plan) -> None:
        self.path = path
        with VideoReader(path) as reader:
            self.info = reader.info
        self.chosen = set(plan.choose(np.array([frame.time or 0.0 for frame in self._decoded()])).tolist())

    def provenance(self) -> Provenance:
        return Provenance()

    def _decoded(self) -> Iterator[av.VideoFrame]:
        with av.open(self.path) as container:
            (stream,) = container.streams.video
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            yield from container.decode(stream)

    def __iter__(self) -> Iterator[Frame]:
        render, start_s, taken = None, 0.0, 0
        for number, frame in enumerate(self._decoded()):
            if render is None:
                render, start_s = Renderer(orientation_of(frame), self.info.pixel_aspect), frame.time or 0.0
            if number in self.chosen:
                yield Frame(taken, (frame.time or 0.0) - start_s, render(frame))
                taken += 1

    def __enter__(self) -> PlainReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass
