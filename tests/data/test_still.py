"""Stills out of folders and tars, whatever their bytes are."""

from __future__ import annotations

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from facetell.data.still import read_still
from facetell.errors import FileMissingError, InputError, LimitError
from facetell.video import Limits, ReaderPool, shared_readers

GREY = np.full((48, 64, 3), 90, np.uint8)


def written(folder: Path, name: str, kind: str) -> Path:
    path = folder / name
    path.write_bytes(cv2.imencode(kind, GREY)[1].tobytes())
    return path


@pytest.mark.parametrize(
    ("kind", "plain", "codec"),
    [(".jpg", True, "jpeg"), (".png", True, "png"), (".webp", True, "webp"), (".bmp", False, "bmp")],
)
def test_any_kind_of_picture(tmp_path: Path, kind: str, plain: bool, codec: str) -> None:
    path = written(tmp_path, f"a{kind}", kind)
    still = read_still(str(path), "", shared_readers())
    assert still.image.shape == GREY.shape
    assert np.abs(still.image.astype(int) - GREY).max() <= 2
    assert still.plain == plain
    assert still.encoded == path.read_bytes()
    assert still.codec == codec
    path.rename(tmp_path / "a.JPE")
    assert read_still(str(tmp_path / "a.JPE"), "", shared_readers()).codec == codec, "whatever the name"


def test_what_its_name_hides_is_read_apart(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jpg", ".tiff")
    assert not read_still(str(path), "", shared_readers()).plain


def test_inside_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(written(tmp_path, "a.bmp", ".bmp"), "faces/a.bmp")
    assert read_still(str(tmp_path / "a.tar"), "faces/a.bmp", shared_readers()).image.shape == GREY.shape
    with pytest.raises(FileMissingError, match=r"holds no faces/b\.bmp"):
        read_still(str(tmp_path / "a.tar"), "faces/b.bmp", shared_readers())


@pytest.mark.parametrize("content", [b"", b"no picture", cv2.imencode(".png", GREY)[1].tobytes()[:60]])
def test_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png"):
        read_still(str(tmp_path / "a.png"), "", shared_readers())


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    readers = ReaderPool(Limits(pixels=1000))
    with pytest.raises(LimitError, match=r"a\.png"):
        read_still(str(written(tmp_path, "a.png", ".png")), "", readers)


@pytest.mark.parametrize("kind", [".png", ".webp"])
def test_transparent_pictures_look_as_in_a_scan(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    alpha = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None], 48, 0)
    path.write_bytes(cv2.imencode(kind, np.dstack([GREY, alpha]))[1].tobytes())
    still = read_still(str(path), "", shared_readers())
    with shared_readers().open(path, "at:0") as reader:
        (scanned,) = (frame.image.copy() for frame in reader)
    assert np.array_equal(still.image, scanned)
    assert still.image[0, 0].tolist() == [255, 255, 255]
    assert not still.plain
