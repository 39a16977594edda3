"""Pictures are videos of one frame; animated ones are videos."""

from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from facetell.errors import DamagedVideoError, FacetellError, LimitError, NotVideoError
from facetell.video import VideoReader, probe, shared_readers
from tests import media

PORTRAIT = media.view(media.person(), (160, 240), (225, 200), 360)


def only(path: Path) -> np.ndarray:
    with VideoReader(path) as video:
        (frame,) = video
    assert (frame.number, frame.time_s) == (0, 0.0)
    assert video.info.is_still
    assert (video.info.height, video.info.width) == frame.image.shape[:2]
    return frame.image


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif", ".avif", ".heic"])
def test_every_picture_format_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"portrait{suffix}"
    if suffix == ".heic":
        pillow_heif.from_pillow(Image.fromarray(PORTRAIT)).save(path, quality=95)
    else:
        media.write_picture(path, PORTRAIT)
    assert difference(only(path), PORTRAIT) < (14 if suffix == ".gif" else 5)


def test_the_contents_decide_and_not_the_name(tmp_path: Path) -> None:
    assert difference(only(media.write_picture(tmp_path / "a.png", PORTRAIT).rename(tmp_path / "a.mp4")), PORTRAIT) == 0


@pytest.mark.parametrize(("exif", "turn"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_exif_orientation_makes_a_photo_upright(exif: int, turn: int, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = exif
    stored = np.ascontiguousarray(np.rot90(PORTRAIT, turn))
    path = media.write_picture(tmp_path / "photo.jpg", stored, exif=tags, quality=95)
    assert difference(only(path), PORTRAIT) < 5
    assert probe(path).rotation == 90 * turn


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_lies_on_white(suffix: str, tmp_path: Path) -> None:
    alpha = np.full((240, 160, 1), 255, np.uint8)
    alpha[:100] = 0
    path = media.write_picture(tmp_path / f"cut{suffix}", np.concatenate([PORTRAIT, alpha], axis=2), lossless=True)
    image = only(path)
    assert (image[:100] == 255).all()
    assert difference(image[100:], PORTRAIT[100:]) == 0


def test_palette_grey_cmyk_and_sixteen_bits(tmp_path: Path) -> None:
    grey = PORTRAIT.mean(axis=2).astype(np.uint8)
    assert difference(only(media.write_picture(tmp_path / "grey.png", grey)), np.repeat(grey[..., None], 3, 2)) == 0
    deep = media.write_picture(tmp_path / "deep.png", grey.astype(np.uint16) * 257)
    assert difference(only(deep), np.repeat(grey[..., None], 3, 2)) == 0
    assert probe(deep).bit_depth == 16
    Image.fromarray(PORTRAIT).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert difference(only(tmp_path / "cmyk.jpg"), PORTRAIT) < 6
    Image.fromarray(PORTRAIT).quantize(128).save(tmp_path / "palette.png", transparency=0)
    assert only(tmp_path / "palette.png").shape == PORTRAIT.shape


def test_sixteen_bits_are_turned_upright_too(tmp_path: Path) -> None:
    grey = PORTRAIT.mean(axis=2).astype(np.uint8)
    tags = Image.Exif()
    tags[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(grey)).astype(np.uint16) * 257
    assert (
        difference(only(media.write_picture(tmp_path / "a.png", stored, exif=tags)), np.repeat(grey[..., None], 3, 2))
        == 0
    )


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_thirty_two_bits_are_refused_and_not_shown_black(kind: type, tmp_path: Path) -> None:
    Image.fromarray(PORTRAIT.mean(axis=2).astype(kind)).save(tmp_path / "deep.tif")
    with pytest.raises(NotVideoError, match="32 bits"):
        probe(tmp_path / "deep.tif")


def test_lab_colours_are_read_by_the_process_that_is_shut_in(tmp_path: Path) -> None:
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    converted = ImageCms.applyTransform(Image.fromarray(PORTRAIT), lab)
    assert converted is not None
    converted.save(tmp_path / "lab.tif")
    with shared_readers().open(tmp_path / "lab.tif") as reader:
        (frame,) = reader
    assert difference(frame.image, PORTRAIT) < 8


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animated_picture_is_a_video(suffix: str, tmp_path: Path) -> None:
    images = [Image.fromarray(image) for image in media.numbered_frames(10)]
    path = tmp_path / f"moving{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, lossless=True)
    info = probe(path)
    assert (info.frame_count, info.is_still, info.frame_rate) == (10, False, 10)
    with VideoReader(path, "every:3") as video:
        frames = list(video)
    assert [media.number_in(frame.image) for frame in frames] == [0, 3, 6, 9]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.3, 0.6, 0.9])


def test_a_damaged_picture_is_a_named_error(tmp_path: Path) -> None:
    path = media.write_picture(tmp_path / "photo.jpg", media.person())
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DamagedVideoError, match=r"photo\.jpg"):
        only(path)


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF0000WEBP"])
def test_a_picture_of_nothing_but_its_first_bytes_is_a_named_error(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(head + b"\0" * 64)
    with pytest.raises(FacetellError):
        probe(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (9000, 9000)).save(path)
    with pytest.raises(LimitError, match="9000×9000"):
        probe(path)
