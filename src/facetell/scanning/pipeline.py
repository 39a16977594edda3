"""A path becomes a verdict: decode, find faces, track them, score them, judge."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

import facetell
from facetell.detectors import Detector, load_detector
from facetell.errors import FacetellError, LimitError, UsageError
from facetell.faces.align import crop_face
from facetell.faces.detect import Detection, FaceDetector
from facetell.faces.flicker import flicker
from facetell.faces.quality import assess
from facetell.faces.track import Tracker
from facetell.scanning.scoring import ClipScoring, FrameScoring
from facetell.scanning.verdict import Rule, judge
from facetell.types import Coverage, ErrorInfo, Face, Frame, Label, Sample, Verdict
from facetell.video import Limits, ReaderPool, parse_plan
from facetell.video.file import InputFile
from facetell.video.isolation import AnyReader, Stop
from facetell.video.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

MOST_FACES = 64  # of a frame, that are looked at: a picture of thousands must not keep a scan busy for hours
log = logging.getLogger(__name__)
T = TypeVar("T")
Progress = Callable[[str, float], None]
"""Called after each frame with the path as given and the share of the video, 0…1, that has been looked at."""


class Scanner:
    """Everything a scan needs, made once and used for many files.

    Args:
        detector: a shipped detector's name, a detector file, or a `Detector`; None is the default one.
        plan: which frames to look at, such as "uniform:20"; None is 20 frames spread over the video, or, for a detector
            of clips, one run of as many faces as it needs.
        fpr: the share of real videos that may be called FAKE; one of the rates the detector has a threshold for. None
            is 0.01, or the smallest that it has.
        prior: the share of fakes that P(fake) assumes.
        start_s: look at the video from here on, seconds.
        end_s: … up to here.
        device: an ONNX Runtime provider by its short name, for the detector.
        thumbnails: how many of each person's most and least suspicious faces keep their picture in the verdict.
        progress: called after each frame.
        limits: on reading one file.

    Attributes:
        readers: what reads the files, under these limits.

    Raises:
        DetectorError: a detector that is unknown, altered or unfit.
        UsageError: a plan, rate, prior, time or device that cannot be used.
        ReaderCrashError: no process that reads files can be started.

    >>> with Scanner(fpr=0.01) as scanner:  # doctest: +SKIP
    ...     print(scanner.scan("clip.mp4").label)
    REAL
    """

    def __init__(
        self,
        detector: Detector | str | os.PathLike[str] | None = None,
        plan: str | None = None,
        fpr: float | None = None,
        prior: float = 0.5,
        start_s: float | None = None,
        end_s: float | None = None,
        device: str = "cpu",
        thumbnails: int = 3,
        progress: Progress | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        _check_span(start_s, end_s)
        self.readers = ReaderPool(limits, start=True)  # gets ready while the detector is loaded
        self.detector = detector if isinstance(detector, Detector) else load_detector(detector, device)
        card = self.detector.card
        self.plan = parse_plan(plan or ("uniform:20" if card.kind == "frame" else f"clips:1x{card.frames}@5"))
        self.rule = Rule.of(card, fpr, prior)
        self.start_s, self.end_s = start_s, None if end_s == float("inf") else end_s
        self.thumbnails = thumbnails
        self.progress = progress
        self._faces = FaceDetector()

    def __enter__(self) -> Scanner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that read files now, not when this object is collected; one more scan starts a new one."""
        self.readers.close()

    @property
    def settings(self) -> dict[str, str | float | None]:
        """What verdicts depend on beside the file itself."""
        return {
            "facetell": facetell.__version__,
            "detector": self.detector.info.sha256,
            "plan": str(self.plan),
            "false_positive_rate": self.rule.fpr,
            "prior": self.rule.prior,
            "start_s": self.start_s,
            "end_s": self.end_s,
        }

    def scan(self, path: StrOrBytesPath) -> Verdict:
        """Judge one file; what cannot be judged gives a verdict labelled ERROR that names the reason."""
        return self._judged(path, lambda: self._open(path))

    def scan_many(self, paths: Iterable[StrOrBytesPath]) -> Generator[Verdict, None, None]:
        """One verdict per file, in order, each as soon as it is known; the next file is opened and read meanwhile."""
        waiting: deque[tuple[StrOrBytesPath, Future[tuple[AnyReader, InputFile]], Stop]] = deque()

        def first() -> Verdict:
            given, opening, _ = waiting[0]  # stays there until it is judged
            verdict = self._judged(given, opening.result)
            waiting.popleft()
            return verdict

        with ThreadPoolExecutor(1) as ahead:
            try:
                for path in paths:
                    stop = Stop()
                    waiting.append((path, ahead.submit(self._open, path, stop), stop))
                    if len(waiting) > 1:
                        yield first()
                while waiting:
                    yield first()
            finally:  # whoever asks for no more leaves a file open, or one that is waited for
                for _, opening, stop in waiting:
                    opening.cancel()
                    stop()
                for _, opening, _ in waiting:
                    if not opening.cancelled() and opening.exception() is None:
                        reader, file = opening.result()
                        reader.close()
                        file.close()

    def _open(self, path: StrOrBytesPath, stop: Stop | None = None) -> tuple[AnyReader, InputFile]:
        """A reader of the file, and the very file, whatever may take its name meanwhile."""
        card = self.detector.card
        with ExitStack() as unless_opened:
            file = unless_opened.enter_context(closing(InputFile(path)))
            reader = self.readers.open(
                file.twin(),
                self.plan,
                start_s=self.start_s,
                end_s=self.end_s,
                pairs=bool(card.in_a_video),
                stop=stop,
            )
            unless_opened.pop_all()
        return reader, file

    def _judged(self, path: StrOrBytesPath, opened: Callable[[], tuple[AnyReader, InputFile]]) -> Verdict:
        name = os.fsdecode(path)
        watch = Stopwatch()
        verdict = Verdict(
            path=name,
            label=Label.ERROR,
            false_positive_rate=self.rule.fpr if self.rule.thresholds else None,
            provisional=self.detector.card.provisional,
            prior=self.rule.prior,
            sample=Sample(str(self.plan), self.start_s, self.end_s),
            detector=self.detector.info,
            seconds=watch.seconds,
        )
        try:
            self._scan(verdict, opened, watch)
        except (FacetellError, MemoryError) as error:
            log.debug("%s cannot be judged", name, exc_info=True)
            if isinstance(error, MemoryError):
                error = LimitError(f"{name} takes more memory to look at than there is.", "Scale it down first.")
            verdict.error = ErrorInfo(type(error).__name__, str(error))
        verdict.unprotected = self.readers.missing
        log.debug("%s: %s", name, ", ".join(f"{stage} {time_s:.3f} s" for stage, time_s in watch.seconds.items()))
        return verdict

    def _scan(self, verdict: Verdict, opened: Callable[[], tuple[AnyReader, InputFile]], watch: Stopwatch) -> None:
        """Fill in a verdict that still says ERROR; its label is set last."""
        with watch("probe"):
            reader, file = opened()
        with closing(file), reader, ThreadPoolExecutor(1) as pool:
            verdict.video, verdict.provenance = reader.info, reader.provenance()
            sha256 = pool.submit(file.sha256)
            card = self.detector.card
            if card.kind == "frame":
                scoring = FrameScoring(self.detector, self.thumbnails)
            else:
                scoring = ClipScoring(self.detector, self.thumbnails, self.plan)
            tracker, tally = Tracker(), Tally()
            for frame in watch.each("decode", reader):
                with watch("detect"):
                    found, crowd = largest_faces(self._faces.detect(frame.image))
                with watch("assess"):
                    faces = [self._assessed(frame, face) for face in found]
                with watch("track"):
                    tracker.add(frame, faces)
                if frame.after is not None and card.flicker is not None:
                    with watch("flicker"):
                        for face in faces:
                            face.flicker = flicker(frame.image, frame.after, face.points)
                with watch("crop"):
                    after = None if card.magnification is None else frame.after
                    crops = [
                        [crop_face(picture, face.points, face.box, card.geometry, card.input_size) for face in faces]
                        for picture in (frame.image, after)
                        if picture is not None
                    ]
                with watch("score"):
                    for face, *both in zip(faces, *crops, strict=True):
                        scoring.add(face, *both)
                tally.add(faces, crowd)
                if self.progress:
                    self.progress(verdict.path, self._share(frame.time_s, reader.info.duration_s))
            verdict.coverage = tally.coverage(reader.wanted, reader.corrupt_packets)
            with watch("track"):
                tracks = tracker.tracks()
            with watch("score"):
                people = scoring.people(tracks)
            with watch("hash"):  # what is left of it: the file is hashed while the frames are looked at
                verdict.sha256 = sha256.result()
        lost = verdict.coverage.frames_lost
        judgement = judge(people, tally.frames, self.rule, reader.info.bits_per_pixel, lost)
        verdict.p_fake, verdict.threshold = judgement.p_fake, judgement.threshold
        verdict.reasons, verdict.tracks = judgement.reasons, judgement.tracks
        verdict.doubt = judgement.doubt
        verdict.label = judgement.label

    def _assessed(self, frame: Frame, found: Detection) -> Face:
        quality = assess(frame.image, found, upright=self._faces.is_upright(frame.image, found))
        return Face(frame.number, frame.time_s, found.box, found.points, found.score, quality)

    def _share(self, time_s: float, duration_s: float | None) -> float:
        """How much of what is to be looked at lies before this time, 0…1."""
        start = self.start_s or 0.0
        end = min(time for time in (self.end_s, duration_s, float("inf")) if time is not None)
        return min(max((time_s - start) / (end - start), 0.0), 1.0) if end > start else 1.0


class Tally:
    """Counts what was looked at."""

    def __init__(self) -> None:
        self.frames = 0
        self._with_face = self._faces = self._unusable = 0
        self._problems: Counter[str] = Counter()

    def add(self, faces: list[Face], crowd: int) -> None:
        """One frame with its faces, and how many more it shows that are not looked at."""
        self.frames += 1
        self._with_face += bool(faces)
        self._faces += len(faces) + crowd
        self._unusable += sum(not face.usable for face in faces) + crowd
        self._problems.update(problem for face in faces if face.quality for problem in face.quality.problems)
        if crowd:
            self._problems[f"beyond the {MOST_FACES} largest of a frame"] += crowd

    def coverage(self, wanted: int, corrupt_packets: int) -> Coverage:
        return Coverage(
            frames_sampled=self.frames,
            frames_with_face=self._with_face,
            faces=self._faces,
            faces_unusable=self._unusable,
            problems=dict(self._problems.most_common()),
            corrupt_packets=corrupt_packets,
            frames_lost=max(wanted - self.frames, 0),
        )


class Stopwatch:
    """Wall-clock seconds by stage.

    >>> watch = Stopwatch()
    >>> with watch("nap"):
    ...     pass
    >>> list(watch.each("list", "ab")), list(watch.seconds)
    (['a', 'b'], ['nap', 'list'])
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The items, none of them None, with the time spent waiting for each."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, None)
            if item is None:
                return
            yield item


def largest_faces(found: list[Detection]) -> tuple[list[Detection], int]:
    """The faces of a frame that are looked at, and how many are not."""
    if len(found) <= MOST_FACES:
        return found, 0
    return sorted(found, key=lambda face: face.box[2] * face.box[3], reverse=True)[:MOST_FACES], len(found) - MOST_FACES


def _check_span(start_s: float | None, end_s: float | None) -> None:
    start = 0.0 if start_s is None else start_s
    if start < 0:
        raise UsageError(f"There is nothing to look at from {start:g} s on.", "Start must be 0 or more.")
    if not 0 <= start < (float("inf") if end_s is None else end_s):
        until = "the end" if end_s is None else f"{end_s:g} s"
        raise UsageError(f"From {start:g} s to {until} there is nothing to look at.", "Start must lie before end.")
