"""What a frame looks like once decoded: upright, square, in true colours, without combs, in standard dynamic range."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorTrc

from facetell.video import VideoReader, probe
from facetell.video.picture import Orientation, Renderer, orientation_of, to_sdr
from tests import media

COLOURS = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 150, 120)]


def first_image(path: Path) -> np.ndarray:
    with VideoReader(path, "uniform:1") as video:
        return next(iter(video)).image


def stripes(size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(np.array([COLOURS], dtype=np.uint8), size, interpolation=cv2.INTER_NEAREST)


def middles(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.array([image[height // 2, (2 * k + 1) * width // 12] for k in range(6)]).astype(int)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rotation_makes_the_frame_upright(degrees: int, suffix: str, tmp_path: Path) -> None:
    upright = media.view(media.person(), (160, 240), (225, 200), 360)
    stored = np.ascontiguousarray(np.rot90(upright, degrees // 90))  # anticlockwise, as a phone held sideways stores it
    path = media.write_video(tmp_path / f"clip{suffix}", [stored] * 2, rotation=degrees)
    info = probe(path)
    assert (info.rotation, info.width, info.height) == (degrees, 160, 240)
    image = first_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 6


def test_a_mirrored_display_matrix_is_undone(tmp_path: Path) -> None:
    upright = media.view(media.person(), (160, 240), (225, 200), 360)
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 240, "yuv420p"
        stream.set_display_rotation(0, hflip=True)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(upright[:, ::-1]))))
        out.mux(stream.encode())
    assert np.abs(first_image(path).astype(int) - upright).mean() < 6


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (Orientation(), (0, 0)),
        (Orientation(swap=True, mirror=True), (0, -1)),
        (Orientation(mirror=True, flip=True), (-1, -1)),
        (Orientation(swap=True, flip=True), (-1, 0)),
    ],
)
def test_orientations_move_the_corner_where_a_turn_clockwise_does(
    orientation: Orientation, corner: tuple[int, int]
) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 0] = 255
    assert orientation.apply(image)[corner].max() == 255
    assert np.array_equal(orientation.apply(image), np.rot90(image, -orientation.rotation // 90))


def test_a_frame_without_a_display_matrix_is_upright() -> None:
    assert orientation_of(av.VideoFrame(16, 16, "yuv420p")) == Orientation()


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(16, 11), (262, 144)), (Fraction(8, 9), (180, 162)), (1000, (180, 144))]
)
def test_pixels_become_square_and_none_are_lost(aspect: Fraction, size: tuple[int, int], tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mkv", media.numbered_frames(2, (180, 144)), pixel_aspect=Fraction(aspect))
    info = probe(path)
    assert (info.width, info.height) == size
    assert first_image(path).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("range_", [1, 2])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_colours_are_true_for_every_matrix_and_range(matrix: int, range_: int, tmp_path: Path) -> None:
    path = media.write_video(
        tmp_path / "clip.mp4",
        [stripes((384, 64))] * 2,
        colour={"colorspace": matrix, "color_range": range_},
        options={"crf": "4"},
    )
    assert np.abs(middles(first_image(path)) - COLOURS).max() <= 4


@pytest.mark.parametrize("size", [(384, 64), (1280, 720)])
def test_an_unstated_matrix_is_guessed_from_the_size(size: tuple[int, int], tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", [stripes(size)] * 2, options={"crf": "4"})
    assert np.abs(middles(first_image(path)) - COLOURS).max() <= 4


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    images = [stripes((384, 64))] * 6  # of two, libx265 sometimes gives a packet that cannot be written
    path = media.write_video(tmp_path / "clip.mp4", images, codec="libx265", pix_fmt="yuv420p10le")
    assert probe(path).bit_depth == 10
    assert np.abs(middles(first_image(path)) - COLOURS).max() <= 8


@pytest.mark.parametrize(
    ("transfer", "white", "grey"), [(ColorTrc.SMPTE2084, 0.58, 0.38), (ColorTrc.ARIB_STD_B67, 0.75, 0.38)]
)
def test_hdr_levels_of_bt2408_become_ordinary_ones(transfer: ColorTrc, white: float, grey: float) -> None:
    """Reference white (203 cd/m²) and a grey card (26 cd/m²) look as in SDR: 90 to 95 %, about 42 %."""
    levels = np.array([0, grey, white, 1.0]) * 65535
    image = np.repeat(levels.astype(np.uint16)[None, :, None], 3, axis=2)
    black, card, paper, peak = to_sdr(image, transfer)[0, :, 1].astype(int)
    assert black == 0
    assert card == pytest.approx(0.42 * 255, abs=6)
    assert 0.90 * 255 <= paper <= 0.95 * 255
    assert 250 <= peak <= 255


@pytest.mark.parametrize("transfer", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67])
def test_greys_stay_grey_and_rise_steadily(transfer: ColorTrc) -> None:
    ramp = np.repeat(np.arange(0, 65536, 64, dtype=np.uint16)[None, :, None], 3, axis=2)
    out = to_sdr(ramp, transfer)[0].astype(int)
    assert (np.ptp(out, axis=1) <= 1).all()
    assert (np.diff(out[:, 0]) >= 0).all()


def test_an_hdr_clip_is_neither_washed_out_nor_burnt(tmp_path: Path) -> None:
    """A portrait put into PQ by the inverse of the documented curve comes back as it was."""
    portrait = media.view(media.person(), (320, 240), (225, 150), 300)
    light = np.minimum((portrait / 255.0) ** 2.4, 0.6) * 203 / 10000  # below the knee, where the curve is the identity
    light = cv2.transform(
        light, np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    )
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    signal = ((c1 + c2 * light**m1) / (1 + c3 * light**m1)) ** m2
    y = signal @ np.array([0.2627, 0.6780, 0.0593])
    planes = [y, (signal[..., 2] - y) / 1.8814, (signal[..., 0] - y) / 1.4746]
    yuv = [
        planes[0] * 876 + 64,
        cv2.resize(planes[1], (160, 120)) * 896 + 512,
        cv2.resize(planes[2], (160, 120)) * 896 + 512,
    ]
    stored = np.concatenate([plane.ravel() for plane in yuv]).round().astype(np.uint16).reshape(360, 320)
    path = media.write_video(
        tmp_path / "hdr.mp4",
        [stored] * 6,
        codec="libx265",
        pix_fmt="yuv420p10le",
        input_format="yuv420p10le",
        colour={"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1},
        options={"crf": "8"},
    )
    info = probe(path)
    assert (info.transfer, info.bit_depth) == ("smpte2084", 10)
    expected = np.minimum(portrait, round(0.6 ** (1 / 2.4) * 255)).astype(int)
    assert np.abs(first_image(path) - expected).mean() < 5


def combed(count: int) -> Iterator[np.ndarray]:
    """A bright bar that has moved on in every second line."""
    for number in range(count):
        image = np.full((240, 320, 3), 40, np.uint8)
        image[0::2, 20 + 8 * number : 60 + 8 * number] = 220
        image[1::2, 32 + 8 * number : 72 + 8 * number] = 220
        yield image


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("mpeg2video", ".mpg")])
def test_interlaced_video_loses_its_combs(codec: str, suffix: str, tmp_path: Path) -> None:
    path = media.write_video(tmp_path / f"clip{suffix}", combed(10), codec=codec, interlaced=True)
    assert probe(path).interlaced
    image = first_image(path).astype(int)
    assert image.shape == (240, 320, 3)
    assert np.abs(np.diff(image[8:-8], axis=0)).mean() < 1
    assert image.max() > 200


def test_progressive_video_is_left_as_it_is(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", combed(4))
    assert not probe(path).interlaced
    assert np.abs(np.diff(first_image(path).astype(int), axis=0)).mean() > 5


@pytest.mark.parametrize("form", ["yuv420p", "rgb24", "gray"])
def test_whoever_draws_on_a_picture_leaves_the_decoded_frame_alone(form: str) -> None:
    frame = av.VideoFrame.from_ndarray(stripes((64, 40)), "rgb24").reformat(format=form, dst_colorspace="itu601")
    render = Renderer(Orientation(), Fraction(1))
    image, after = render(frame), render.after(frame, frame)
    assert after is not None
    assert np.array_equal(image, frame.to_ndarray(format="rgb24", src_colorspace="itu601"))
    assert np.array_equal(after, image)
    before = frame.to_ndarray().copy()
    image[...], after[...] = 7, 7
    assert np.array_equal(frame.to_ndarray(), before)
