"""What a file says of its own making: tags, marks and oddities, for a person to weigh. None of it enters a score."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import BinaryIO

import av
from PIL import ExifTags

from facetell.types import Provenance, VideoInfo
from facetell.video import stills
from facetell.video.file import InputFile, opened
from facetell.video.source import Source

FORGED_MARK = "forged by facetell"  # written into the comment of everything that facetell forges
_CREATED = ("com.apple.quicktime.creationdate", "creation_time", "date", "datetimeoriginal", "datetime")
_MAKERS = ("com.apple.quicktime.make", "com.android.manufacturer", "make", "manufacturer")
_MODELS = ("com.apple.quicktime.model", "com.android.model", "model")
_ENCODERS = ("encoder", "com.apple.quicktime.software", "software", "writing_application", "encoding_tool")
_TAGS, _TAG_LENGTH = 200, 1000
_PARTS = 10_000  # boxes or chunks of a file that are looked through
_SOME_BYTES = 2**20

_GENERATORS = (
    "AnimateDiff|[Ss]table ?[Dd]iffusion|ComfyUI|comfyui|AUTOMATIC1111|Midjourney|DALL.?E|Runway|Gen-[234]|Sora|Veo|"
    "Pika|Kling|Luma|Hailuo|HeyGen|Synthesia|D-ID|DeepFaceLab|DeepFaceLive|FaceSwap|FaceFusion|roop|Reface|Avatarify|SimSwap|"
    "Wav2Lip|LivePortrait|SadTalker|OpenAI|Firefly"
)
_EDITORS = (
    "Premiere|After Effects|Photoshop|Lightroom|GIMP|DaVinci|Final Cut|iMovie|CapCut|InShot|VN Editor|Kdenlive|Shotcut|"
    "OpenShot|Vegas|Filmora|Camtasia|Blender|HandBrake|Snapseed|FaceApp|Facetune|BeautyPlus|Meitu|Canva|Clipchamp"
)
_WRITERS = {r"^Lavf|^Lavc|FFmpeg": "FFmpeg", r"produced by Google": "Google, as downloads from YouTube are"}
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.1, "Embedding manifests into BMFF files"
_AI_SOURCE = re.compile(rb"(composite[wW]ith[tT]|t)rainedAlgorithmicMedia")  # IPTC digital source types


def provenance(path: str | os.PathLike[str], info: VideoInfo) -> Provenance:
    """Read the tags of a file and say in plain sentences what they show.

    Args:
        path: the file.
        info: what `probe` said of it.

    Raises:
        FileMissingError, NotVideoError, DamagedVideoError, LimitError.
    """
    with closing(opened(path)) as file:
        if stills.is_picture(file):
            return of_picture(file)
        with closing(Source(file)) as source:
            source.scan()
            return of_video(source, info)


def of_video(source: Source, info: VideoInfo) -> Provenance:
    """The same, of a video whose packets were read."""
    tags, notes = _video_tags(source), _oddities(source, info)
    found = _named(tags)
    if info.variable_frame_rate and not found.device:
        notes.append(
            "The frame rate varies, but no phone or camera is named: perhaps a recording of a screen or a call."
        )
    notes = [*_marks(tags), *_credentials(source.file), *notes]
    if not found.device and not found.created:
        notes.append("Neither camera nor time of recording is named, as is usual after an upload or a re-encoding.")
    return replace(found, notes=tuple(notes))


def of_picture(file: InputFile) -> Provenance:
    """The same, of a picture."""
    tags = _picture_tags(file)
    return replace(_named(tags), notes=(*_marks(tags), *_credentials(file)))


def _named(tags: dict[str, str]) -> Provenance:
    """Encoder, time and device, as far as the tags name them."""
    lower = {key.lower(): value for key, value in tags.items()}
    device = " ".join(dict.fromkeys(filter(None, (_first(lower, _MAKERS), _first(lower, _MODELS)))))
    return Provenance(_first(lower, _ENCODERS), _first(lower, _CREATED), device or None, tags)


def _first(tags: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((tags[name] for name in names if tags.get(name)), None)


def _clean(tags: Mapping[str, object]) -> dict[str, str]:
    texts = {
        str(key)[:80]: str(value).replace("\0", "").strip()[:_TAG_LENGTH] for key, value in islice(tags.items(), _TAGS)
    }
    return {key: text for key, text in texts.items() if text}


def _video_tags(source: Source) -> dict[str, str]:
    tags = {**source.stream.metadata, **source.container.metadata}
    if settings := _encoder_settings(source):
        tags["encoder_settings"] = settings
    return _clean(tags)


def _encoder_settings(source: Source) -> str | None:
    """What x264 and x265 write into the first packet of a stream."""
    found = re.search(rb"x26[45][ (-][\x20-\x7e]{8,}", source.head)
    return found[0].decode("ascii") if found else None


def _picture_tags(file: InputFile) -> dict[str, str]:
    with stills.opened(file) as image:
        exif = image.getexif()
        tags: dict[str, object] = {
            str(ExifTags.TAGS.get(key, key)): value
            for key, value in (*exif.items(), *exif.get_ifd(ExifTags.IFD.Exif).items())
            if isinstance(value, str | int | float)
        }
        tags |= {str(key): value for key, value in image.info.items() if isinstance(value, str)}
        if comment := image.info.get("comment"):
            tags["comment"] = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else comment
    return _clean(tags)


def _marks(tags: Mapping[str, str]) -> Iterator[str]:
    """Names of known programs within the tags."""
    text = "\n".join(value for key, value in tags.items() if key != "encoder_settings")
    if FORGED_MARK in text:
        yield "The file says of itself that it was forged by facetell."
    for pattern, kind in ((_GENERATORS, "a generator of synthetic media"), (_EDITORS, "an editing program")):
        if found := re.search(rf"\b({pattern})\b", text):
            yield f"The tags mention {found[0]}, the name of {kind}."
    if {"parameters", "workflow", "prompt"} & tags.keys():
        yield "The tags hold a prompt or workflow, as generators of synthetic pictures write them."
    for pattern, name in _WRITERS.items():
        if any(re.search(pattern, value) for value in tags.values()):
            yield f"The file was last written by {name}: it is not a camera's original."


def _oddities(source: Source, info: VideoInfo) -> list[str]:
    notes = []
    stated, found = source.stream.frames, (info.frame_count or 0) + source.hidden + source.empty_packets
    if stated and abs(stated - found) > 1:
        notes.append(f"The header promises {stated} frames, {found} are there: the file was cut off or altered.")
    if source.hidden:
        notes.append(f"{source.hidden} frames are in the file but not shown: it was trimmed without encoding it anew.")
    if source.restarts:
        notes.append("The clock starts again within the file: recordings were joined. Times are counted from frames.")
    length = info.duration_s or 0.0
    lengths = [("container", (source.container.duration or 0) / av.time_base)]
    for stream in source.container.streams.audio[:1]:
        lengths.append(("sound", float((stream.duration or 0) * (stream.time_base or 0))))
    for name, seconds in lengths:
        if seconds and abs(seconds - length) > max(0.5, 0.05 * length):
            notes.append(f"The {name} says it lasts {seconds:.2f} s, but the picture lasts {length:.2f} s.")
    return notes


def _credentials(given: InputFile) -> Iterator[str]:
    """Content credentials (C2PA) by their presence alone; their signatures are not checked."""
    with given.open() as file:
        head = file.read(_SOME_BYTES)
        manifest = next((_read(file, *span) for span in _manifests(file)), b"")
    if manifest:
        yield "The file carries content credentials (C2PA); facetell did not check their signature."
    if _AI_SOURCE.search(manifest) or _AI_SOURCE.search(head):
        yield "The file's own metadata calls it made, wholly or in part, by a trained algorithm."


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    if start >= 2**63:  # what a file may say, but no position can be
        return b""
    file.seek(start)
    return file.read(min(length, _SOME_BYTES))


def _manifests(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Start and length of the parts of an MP4, HEIC, AVIF, JPEG, PNG or WebP that hold a C2PA manifest."""
    head = _read(file, 0, 12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
        for kind, start, length in islice(_boxes(file), _PARTS):
            if kind == b"uuid" and _read(file, start, 16) == _C2PA_BOX:
                yield start, length
    elif head[:2] == b"\xff\xd8":
        for kind, start, length in _jpeg_segments(file):
            if kind == 0xEB and b"jumb" in _read(file, start, 64):
                yield start, length
    elif head[:4] == b"\x89PNG":
        for kind, start, length in islice(_png_chunks(file), _PARTS):
            if kind == b"caBX":
                yield start, length
    elif head[:4] == b"RIFF":
        for kind, start, length in islice(_riff_chunks(file), _PARTS):
            if kind == b"C2PA":
                yield start, length


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of the contents of the boxes at the top of an ISO base media file."""
    at = 0
    while len(head := _read(file, at, 16)) >= 8:
        size, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(head[8:], "big"), 16
        if size < skip:  # 0: to the end of the file; anything else is broken
            return
        yield kind, at + skip, size - skip
        at += size


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    at = 2
    while len(head := _read(file, at, 4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        length = int.from_bytes(head[2:], "big")
        yield head[1], at + 4, length - 2
        at += 2 + length


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while len(head := _read(file, at, 8)) == 8:
        length = int.from_bytes(head[:4], "big")
        yield head[4:], at + 8, length
        at += 12 + length  # a check sum follows


def _riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while len(head := _read(file, at, 8)) == 8:
        length = int.from_bytes(head[4:], "little")
        yield head[:4], at + 8, length
        at += 8 + length + length % 2
