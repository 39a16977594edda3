"""Pictures are videos of one frame; animated ones are videos."""

import random
import struct
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from facetell.errors import DamagedVideoError, FacetellError, LimitError, NotVideoError
from facetell.video import VideoReader, probe, shared_readers
from facetell.video.stills import plain_size
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


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize(
    ("exif", "turn", "mirrored"),
    [
        *((1, 0, False), (3, 2, False), (6, 1, False), (8, 3, False)),
        *((2, 0, True), (4, 2, True), (5, 1, True), (7, 3, True)),
    ],
)
def test_exif_orientation_makes_a_photo_upright(
    exif: int, turn: int, mirrored: bool, suffix: str, tmp_path: Path
) -> None:
    tags = Image.Exif()
    tags[0x0112] = exif
    stored = np.ascontiguousarray(np.rot90(PORTRAIT[:, ::-1] if mirrored else PORTRAIT, turn))
    path = media.write_picture(tmp_path / f"photo{suffix}", stored, exif=tags, quality=95)
    assert difference(only(path), PORTRAIT) < 5
    assert probe(path).rotation == 90 * turn


@pytest.mark.parametrize(
    ("tag", "kind", "value"), [(0x0100, 2, b"abc\0"), (0x011A, 7, b"wxyz"), (0x0128, 2, b"2\0\0\0")]
)
def test_an_exif_tag_of_an_unusual_type_hinders_no_turn(tag: int, kind: int, value: bytes, tmp_path: Path) -> None:
    entries = sorted([(0x0112, 3, 1, b"\x06\0\0\0"), (tag, kind, 4, value)])
    fields = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + fields + bytes(4)
    stored = np.ascontiguousarray(np.rot90(PORTRAIT))
    path = media.write_picture(tmp_path / "photo.jpg", stored, exif=exif, quality=95)
    assert difference(only(path), PORTRAIT) < 5


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


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_of_sixteen_bits_a_colour_says_so(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    assert cv2.imwrite(str(path), np.full((40, 40, channels), 65535, np.uint16))
    assert probe(path).bit_depth == 16
    assert (only(path) == 255).all()
    text = PngImagePlugin.PngInfo()
    text.add_text("bit_depth", "16")
    assert probe(media.write_picture(tmp_path / "plain.png", PORTRAIT, pnginfo=text)).bit_depth == 8


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_a_heic_says_how_many_bits_it_has(bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    dtype, mode = (np.uint8, "RGB") if bits == 8 else (np.uint16, "RGB;16")
    pixels = np.full((64, 64, 3), np.iinfo(dtype).max, dtype)
    pillow_heif.from_bytes(mode, (64, 64), pixels.tobytes()).save(tmp_path / "a.heic", quality=90)
    assert probe(tmp_path / "a.heic").bit_depth == bits


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


def test_a_kind_of_picture_that_pillow_does_not_know_is_not_called_damaged(tmp_path: Path) -> None:
    floating = {339: (3, 3, 3)}  # the numbers of each colour
    path = media.write_picture(tmp_path / "photo.tif", PORTRAIT, tiffinfo=floating)
    with pytest.raises(NotVideoError, match="of a kind that facetell cannot read, or damaged") as caught:
        probe(path)
    assert "PNG or JPEG" in caught.value.advice
    assert "<" not in str(caught.value)


@pytest.mark.parametrize("length", [12, 20, 30, 45, 60, 2000])
def test_a_png_cut_off_anywhere_is_called_damaged_too(length: int, tmp_path: Path) -> None:
    path = media.write_picture(tmp_path / "photo.png", PORTRAIT)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises((NotVideoError, DamagedVideoError), match="damaged") as caught:
        only(path)
    assert "<" not in str(caught.value)


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


def test_the_picture_before_an_animation_is_no_part_of_it(tmp_path: Path) -> None:
    images = [Image.fromarray(image) for image in media.numbered_frames(5)]
    path = tmp_path / "moving.png"
    images[0].save(path, save_all=True, default_image=True, append_images=images[1:], duration=100)
    info = probe(path)
    assert (info.frame_count, info.frame_rate, info.duration_s) == (4, 10, pytest.approx(0.4))
    with VideoReader(path, "every:1") as video:
        frames = list(video)
    assert [media.number_in(frame.image) for frame in frames] == [1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_an_animation_cut_anywhere_or_with_wrong_bytes_is_frames_or_a_named_error(suffix: str, tmp_path: Path) -> None:
    images = [Image.fromarray(image) for image in media.portrait_frames(4, (64, 48))]
    path = tmp_path / f"moving{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=80)
    contents, rng = path.read_bytes(), random.Random(suffix)
    broken = [contents[: len(contents) * k // 40] for k in range(1, 40)]
    for _ in range(60):
        hurt = bytearray(contents)
        hurt[rng.randrange(len(hurt))] ^= rng.randrange(1, 256)
        broken.append(bytes(hurt))
    for damaged in broken:
        path.write_bytes(damaged)
        with suppress(FacetellError), VideoReader(path, ahead=0) as video:
            assert len(list(video)) >= 1


@pytest.mark.parametrize("error", [IndexError, KeyError, TypeError, AttributeError, ZeroDivisionError, struct.error])
def test_whatever_pillow_raises_for_a_broken_picture_is_named(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error("as its parsers do")

    path = media.write_picture(tmp_path / "photo.png", PORTRAIT)
    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(DamagedVideoError, match="as its parsers do"):
        probe(path)
    assert plain_size(path.read_bytes()) is None


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
