"""Data sets made up for the tests: trees of every layout, whose files need not be videos to be listed."""

from __future__ import annotations

import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests import media


def files(root: Path, *names: str) -> Path:
    """A tree with these files, one byte each."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def as_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def as_text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@cache
def face_jpeg(who: int = 0, changed: bool = False, side: int = 224) -> bytes:
    """A face that fills its picture, as JPEG; `changed` alters the mouth."""
    picture = media.view(media.person(who), (side, side), (511 - 225 if who % 2 else 225, 125), 190).copy()
    if changed:
        mouth = picture[int(0.62 * side) : int(0.8 * side), int(0.35 * side) : int(0.65 * side)]
        mouth[:] = mouth[:, ::-1] // 2
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def face_tar(root: Path, *, pairs: int = 3, extra: dict[str, bytes] | None = None) -> Path:
    """`train.tar` and `train.csv` as DFDC face crops come: `pairs` originals r0 … and their fakes f0 …"""
    root.mkdir(parents=True, exist_ok=True)
    pictures = {f"r{k}": face_jpeg(k) for k in range(pairs)} | {f"f{k}": face_jpeg(k, True) for k in range(pairs)}
    pictures |= extra or {}
    with tarfile.open(root / "train.tar", "w") as tar:
        for name, data in pictures.items():
            add_member(tar, f"faces_224/{name}.jpg", data)
    lines = ["videoname,original_width,original_height,label,original,part,split"]
    lines += [f"r{k}.mp4,300,300,REAL,,{k},train" for k in range(pairs)]
    lines += [f"f{k}.mp4,300,300,FAKE,r{k}.mp4,{k},train" for k in range(pairs)]
    lines += [f"{name}.mp4,300,300,REAL,,-1,train" for name in extra or {}]
    as_text(root / "train.csv", *lines)
    return root


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    import io

    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def changed_mouth(frame: np.ndarray) -> np.ndarray:
    """A frame of `media.portrait_frames` with another mouth region: darker and mirrored in a band around the middle."""
    fake = frame.copy()
    height, width = frame.shape[:2]
    band = fake[int(0.4 * height) : int(0.56 * height), int(0.4 * width) : int(0.6 * width)]
    band[:] = band[:, ::-1] // 2 + 40
    return fake


def video_pairs(root: Path, pairs: int = 1, frames: int = 12, fps: int = 30) -> Path:
    """`real/` and `fake/` with clips of the same names."""
    for label in ("real", "fake"):
        (root / label).mkdir(parents=True, exist_ok=True)
    for who in range(pairs):
        real = list(media.portrait_frames(frames, who=who))
        media.write_video(root / "real" / f"v{who}.mp4", real, fps=fps)
        media.write_video(root / "fake" / f"v{who}.mp4", [changed_mouth(frame) for frame in real], fps=fps)
    return root
