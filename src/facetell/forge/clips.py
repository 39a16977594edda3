"""Files in, files out: blend, swap and degrade for pictures and videos."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from facetell import __version__
from facetell.errors import ForgeError, UsageError
from facetell.faces.detect import FaceDetector
from facetell.files import temporary_folder
from facetell.forge import blend, degrade, masks, output, subject
from facetell.forge.presets import PRESETS, Preset
from facetell.forge.swap import Blending, swap
from facetell.types import Frame, VideoInfo
from facetell.video import Limits, ReaderPool, shared_readers
from facetell.video.limits import DEFAULT_LIMITS
from facetell.video.origin import FORGED_MARK

AnyPath = str | os.PathLike[str]
Forge = Callable[[Frame, np.ndarray | None], blend.Forged]  # a frame and its face's points, if it has one to forge


@dataclass(frozen=True, slots=True)
class Report:
    """What was done to a file."""

    path: Path
    frames: int
    forged: int  # of the frames
    what: str  # "blend of" a family, "swap" or the preset
    gaps: Mapping[str, int] = field(default_factory=dict)  # reason -> frames left as they were


def blend_file(
    source: AnyPath,
    target: AnyPath,
    *,
    family: str | None = None,
    seed: int = 0,
    mask: AnyPath | None = None,
    mark: bool = True,
    force: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """Blend the face of a picture or video with a changed copy of itself.

    Args:
        source: picture or video with one face.
        target: what to write: .png, .jpg for a picture, .mp4, .mov, .mkv for a video.
        family: one of `masks.FAMILIES`; None for a random one.
        seed: of all chance.
        mask: where to write the mask as grey levels; same kinds of file.
        mark: whether the picture says that it is forged; the metadata always does.
        force: whether what is there may be replaced.
        limits: on reading one file.

    Raises:
        ForgeError: no face, several faces, or one that cannot be forged, in a picture or in every frame of a video.
        UsageError, OutputError, InputError: as their names say.
    """
    if family is not None and family not in masks.FAMILIES:
        raise UsageError(f"There is no family {family!r}.", f"Choose one of: {', '.join(masks.FAMILIES)}.")
    rng = np.random.default_rng(seed)

    def prepare(frame: Frame, points: np.ndarray) -> tuple[Forge, str]:
        clip = blend.ClipBlend(frame.image, points, rng, family)
        return lambda frame, points: clip.apply(frame.image, points, frame.time_s), f"blend of {clip.family}"

    return _forge_file(source, target, f"seed {seed}", prepare, mask, mark, force, limits)


def swap_file(
    source: AnyPath,
    target: AnyPath,
    donor: AnyPath,
    *,
    blending: Blending = "seamless",
    mask: AnyPath | None = None,
    mark: bool = True,
    force: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """Put the face of `donor`, a picture or a video with one, into the head in `source`; as `blend_file`."""
    with shared_readers(limits).open(donor, "uniform:20") as reader:
        given = subject.follow(reader, FaceDetector(), os.fspath(donor))

    def prepare(frame: Frame, points: np.ndarray) -> tuple[Forge, str]:
        def put(frame: Frame, points: np.ndarray | None) -> blend.Forged:
            if points is None:
                return blend.untouched(frame.image, "swap")
            return swap(frame.image, points, given.frame.image, given.frame_points, blending)

        return put, "swap"

    return _forge_file(source, target, blending, prepare, mask, mark, force, limits, donor)


def degrade_file(
    source: AnyPath,
    target: AnyPath,
    preset: str | Preset = "messaging",
    *,
    crf: int | None = None,
    seed: int = 0,
    force: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """Send a picture or video the way a preset describes; faces are not looked for, and no visible mark is set.

    Args:
        source: picture or video.
        target: what to write.
        preset: a key of `PRESETS`, or one of your own.
        crf: instead of the preset's, 0 (lossless) to 51.
        seed: of the noise.
        force: whether what is there may be replaced.
        limits: on reading one file.

    Raises:
        ForgeError: a picture that is too small for the preset's encoder.
        UsageError, OutputError, InputError: as their names say.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise UsageError(f"There is no preset {preset!r}.", f"Choose one of: {', '.join(PRESETS)}.")
        name, preset = preset, PRESETS[preset]
    else:
        name = "own"
    if crf is not None:
        if not 0 <= crf <= 51:
            raise UsageError(f"A CRF of {crf} is none that an encoder knows.", "Choose 0 to 51.")
        preset = replace(preset, crf=crf)
    readers = shared_readers(limits)
    info, origin = readers.probe(source)
    path = output.check_target([source], target, info.is_still, force)
    comment = f"degraded by facetell {__version__}: {name}, {preset.codec} crf {preset.crf}"
    if any(FORGED_MARK in value for value in origin.tags.values()):
        comment = f"{FORGED_MARK}; {comment}"
    rng = np.random.default_rng(seed)
    if info.is_still:
        image = preset.apply(_still(readers, source), rng)
        for rate in (preset.first_crf, preset.crf):
            if rate is not None:
                (image,) = degrade.h264([image], rng, (rate, rate), codec=preset.codec)
        output.write_still(path, image, comment)
        return Report(path, 1, 0, name)
    with ExitStack() as stack:
        if preset.first_crf is not None:
            folder = stack.enter_context(temporary_folder())
            first = replace(preset, crf=preset.first_crf, first_crf=None)
            _encode(readers, source, folder / "first.mkv", info, first, rng, comment)
            preset, source = replace(preset, steps=(), scale=1.0), folder / "first.mkv"
        count = _encode(readers, source, path, info, preset, rng, comment)
    return Report(path, count, 0, name)


def _encode(
    readers: ReaderPool,
    source: AnyPath,
    path: Path,
    info: VideoInfo,
    preset: Preset,
    rng: np.random.Generator,
    comment: str,
) -> int:
    count = 0
    with ExitStack() as stack:
        writer = None
        for frame in stack.enter_context(readers.open(source, "every:1")):
            image = preset.apply(frame.image, rng)
            if writer is None:
                writer = stack.enter_context(
                    output.clip_writer(
                        path,
                        image.shape[1::-1],
                        info.frame_rate,
                        comment,
                        preset.codec,
                        preset.crf,
                        readers.sound(source),
                    )
                )
            writer.write(image, frame.time_s)
            count += 1
    return count


def _forge_file(
    source: AnyPath,
    target: AnyPath,
    detail: str,
    prepare: Callable[[Frame, np.ndarray], tuple[Forge, str]],
    mask: AnyPath | None,
    mark: bool,
    force: bool,
    limits: Limits,
    *donors: AnyPath,
) -> Report:
    """Find the face, forge it in every frame that shows it, write the file and its mask."""
    readers = shared_readers(limits)
    info, _ = readers.probe(source)
    path = output.check_target([source, *donors], target, info.is_still, force)
    mask_path = None if mask is None else output.check_target([source, *donors], mask, info.is_still, force)
    if mask_path and os.path.realpath(mask_path) == os.path.realpath(path):
        raise UsageError(f"{path} cannot hold both the forgery and its mask.", "Choose another name for the mask.")
    with readers.open(source, "every:1") as reader:
        face = subject.follow(reader, FaceDetector(), os.fspath(source))
    forge, what = prepare(face.frame, face.frame_points)
    comment = f"{FORGED_MARK} {__version__}: {what}, {detail}"
    gaps = Counter(face.gaps)

    def forged() -> Iterator[tuple[Frame, blend.Forged]]:
        with readers.open(source, "every:1") as reader:
            for frame, points in zip(reader, face.points, strict=True):
                try:
                    yield frame, forge(frame, points)
                except ForgeError:
                    if info.is_still:
                        raise
                    gaps["cut off"] += 1
                    yield frame, forge(frame, None)

    def shown(pair: blend.Forged) -> np.ndarray:
        return output.marked(pair.fake) if mark else pair.fake

    if info.is_still:
        (pair,) = (pair for _, pair in forged())
        output.write_still(path, shown(pair), comment)
        if mask_path:
            output.write_still(mask_path, _grey(pair.mask), comment)
        return Report(path, 1, 1, what)
    with ExitStack() as stack:
        size = (info.width, info.height)
        clip = stack.enter_context(
            output.clip_writer(path, size, info.frame_rate, comment, sound=readers.sound(source))
        )
        ground_truth = mask_path and stack.enter_context(
            output.clip_writer(mask_path, size, info.frame_rate, comment, crf=8)
        )
        for frame, pair in forged():
            clip.write(shown(pair), frame.time_s)
            if ground_truth:
                ground_truth.write(_grey(pair.mask), frame.time_s)
        count, left = len(face.points), sum(gaps.values())
        if left == count:  # said in here, so that neither file takes its place
            reasons = ", ".join(f"{number} {reason}" for reason, number in gaps.items())
            raise ForgeError(
                f"No frame of {os.fspath(source)} could be forged: {reasons}.",
                "Choose one with the whole face in it.",
            )
    return Report(path, count, count - left, what, dict(gaps))


def _still(readers: ReaderPool, source: AnyPath) -> np.ndarray:
    with readers.open(source, "every:1") as reader:
        (image,) = (frame.image.copy() for frame in reader)
    return image


def _grey(mask: np.ndarray) -> np.ndarray:
    return np.rint(mask * 255).astype(np.uint8)
