"""What happens to a picture or a video on its way to a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.error import FFmpegError

from facetell.errors import ForgeError
from facetell.forge import pixels

Damage = Callable[[np.ndarray], np.ndarray]
Codec = Literal["h264", "h265"]
ENCODERS: dict[Codec, str] = {"h264": "libx264", "h265": "libx265"}
_DECODERS: dict[Codec, str] = {"h264": "h264", "h265": "hevc"}
_FRAMES = 4  # of the clip that `h264` makes of a picture


def augment_pair(images: Sequence[np.ndarray], rng: np.random.Generator, strength: float = 0.5) -> list[np.ndarray]:
    """The same random damage to every picture of a pair, so that only the forgery tells them apart.

    Brightness, contrast, saturation, hue, gamma, low light, grey, beauty smoothing, loss of resolution, blur,
    sharpening, noise, and JPEG once or twice. Cropping and mirroring are left to the caller, who has masks to move too.

    Args:
        images: (H, W, 3) uint8 RGB, all of one size.
        rng: where all chance comes from.
        strength: 0 is mild (JPEG 45–100 in half the cases, shrinking to no less than half in a fifth), 1 is strong
            (JPEG 30–100 in nine of ten, shrinking to a quarter in half).

    Returns:
        New pictures of the same size.

    Raises:
        ForgeError: the pictures differ in size.

    >>> one = np.full((32, 32, 3), 90, np.uint8)
    >>> a, b = augment_pair([one, one], np.random.default_rng(0), strength=1)
    >>> bool((a == b).all()), a.shape
    (True, (32, 32, 3))
    """
    if len({image.shape for image in images}) > 1:
        raise ForgeError("The pictures of a pair differ in size.", "Crop them alike first.")
    damages = draw_damages(rng, images[0].shape[:2], strength)
    return [_suffer(image, damages) for image in images]


def draw_damages(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> list[Damage]:
    """The steps of `augment_pair` for pictures of (H, W), in order; each is a function of one picture."""
    damages: list[Damage] = []

    def between(mild: float, strong: float) -> float:
        return mild + (strong - mild) * strength

    def sometimes(mild: float, strong: float) -> bool:
        return rng.random() < between(mild, strong)

    if sometimes(0.6, 0.9):
        damages.append(_draw_tone(rng, strength))
    if sometimes(0.03, 0.08):
        width, tolerance = rng.uniform(1.5, 3.5), rng.uniform(8, between(18, 32))
        damages.append(lambda image: beauty(image, width, tolerance))
    if sometimes(0.2, 0.5):
        factor = rng.uniform(between(0.5, 0.25), 1.0)
        down, up = int(rng.choice(pixels.DOWN)), int(rng.choice(pixels.UP))
        damages.append(lambda image: pixels.lose_detail(image, factor, down, up))
    if sometimes(0.08, 0.25):
        damages.append(_draw_blur(rng, between(0.9, 2.2)))
    if sometimes(0.08, 0.2):
        amount, radius = rng.uniform(0.2, between(0.6, 1.2)), rng.uniform(0.7, 2.0)
        damages.append(lambda image: pixels.sharpen(image, amount, radius))
    if sometimes(0.12, 0.35):
        damages.append(noise(shape, rng.uniform(1, between(4, 12)), rng))
    if sometimes(0.5, 0.9):
        for _ in range(1 + sometimes(0.1, 0.3)):
            damages.append(_jpeg(int(rng.integers(round(between(45, 30)), 101))))
    return damages


def h264(
    images: Sequence[np.ndarray],
    rng: np.random.Generator,
    crf: tuple[int, int] = (20, 40),
    codec: Codec = "h264",
) -> list[np.ndarray]:
    """Pictures as they look inside an H.264 (or H.265) video: the last, predicted frame of a short clip made from each.

    The camera pans and zooms slightly until the last frame shows the still as it is, so nothing has to be moved back.
    All pictures get the same motion, CRF and preset.

    Args:
        images: (H, W, 3) uint8 RGB, all of one size, at least 16 pixels a side.
        rng: where all chance comes from.
        crf: lowest and highest constant rate factor (x264: 0 is lossless, 23 usual, 51 worst).
        codec: the video codec.

    Returns:
        New pictures of the same size.

    Raises:
        ForgeError: the encoder takes no pictures of this size.

    >>> image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    >>> (coded,) = h264([image], np.random.default_rng(0), crf=(40, 40))
    >>> coded.shape, bool((coded != image).any())
    ((64, 64, 3), True)
    """
    rate = int(rng.integers(crf[0], crf[1] + 1))
    preset = ("ultrafast", "superfast", "veryfast")[rng.integers(3)]
    motion = rng.uniform(-1.5, 1.5, 2)  # pixels a frame
    zoom = rng.uniform(-0.006, 0.006)  # a frame
    results = []
    for image in images:
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        clip = [_moved(even, motion * left, 1 + zoom * left) for left in range(_FRAMES - 1, -1, -1)]
        results.append(_code(clip, rate, preset, codec)[-1][:height, :width])
    return results


def noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> Damage:
    """Sensor noise for pictures of (H, W), `sigma` grey levels: fine in brightness, coarse and weaker in colour.

    >>> damage = noise((32, 32), 5, np.random.default_rng(0))
    >>> 4 < damage(np.full((32, 32, 3), 128, np.uint8)).std() < 7
    np.True_
    """
    height, width = shape
    fine = rng.standard_normal((height, width, 1), np.float32)
    coarse = rng.standard_normal(((height + 1) // 2, (width + 1) // 2, 3), np.float32)
    field = fine + 0.5 * cv2.resize(coarse, (width, height))
    field = np.rint(field * np.float32(sigma)).astype(np.int16)
    return lambda image: cv2.add(image, field, dtype=cv2.CV_8U)


def beauty(image: np.ndarray, sigma: float, tolerance: float) -> np.ndarray:
    """A beauty filter: blurred by `sigma` pixels where the luma varies less than `tolerance` grey levels; edges stay.

    >>> beauty(np.full((16, 16, 3), 90, np.uint8), 2, 10)[0, 0].tolist()
    [90, 90, 90]
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), sigma)

    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    average = mean(luma)
    variance = np.maximum(mean(luma * luma) - average * average, 0)
    keep = mean(variance / (variance + tolerance**2))  # 0 on skin, 1 on edges
    return cv2.blendLinear(image, mean(image), keep, 1 - keep)


def _draw_tone(rng: np.random.Generator, strength: float) -> Damage:
    reach = 0.4 + 0.6 * strength
    dark = rng.random() < 0.03 + 0.05 * strength
    grey = rng.random() < 0.02 + 0.03 * strength
    matrix = pixels.colour_matrix(
        shift=0.0 if grey else rng.uniform(-12, 12, 3) * reach,
        brightness=rng.uniform(-0.15, 0.15) * reach,
        contrast=1 + rng.uniform(-0.3, 0.25) * reach,
        saturation=0.0 if grey else 1 + rng.uniform(-0.5, 0.4) * reach,
        hue_deg=rng.uniform(-15, 15) * reach,
    )
    gamma = np.exp(rng.uniform(-0.35, 0.35) * reach)
    light = rng.uniform(0.3, 0.6) if dark else 1.0
    curve = np.clip(255 * light * (np.arange(256) / 255) ** gamma, 0, 255).round().astype(np.uint8)
    return lambda image: cv2.LUT(pixels.recolour(image, matrix), curve)


def _draw_blur(rng: np.random.Generator, widest: float) -> Damage:
    if rng.random() < 0.7:
        sigma = rng.uniform(0.3, widest)
        return lambda image: cv2.GaussianBlur(image, (0, 0), sigma)
    kernel = _streak(int(rng.integers(1, 2 + round(widest))) * 2 + 1, rng.uniform(0, np.pi))
    return lambda image: cv2.filter2D(image, -1, kernel)


def _streak(length: int, angle: float) -> np.ndarray:
    """The kernel of a moving camera: a line of `length` pixels (odd) at an angle in radians."""
    kernel = np.zeros((length, length), np.float32)
    half = length // 2
    dx, dy = half * np.cos(angle), half * np.sin(angle)
    cv2.line(kernel, (round(half - dx), round(half - dy)), (round(half + dx), round(half + dy)), (1.0,))
    return kernel / kernel.sum()


def _jpeg(quality: int) -> Damage:
    return lambda image: pixels.jpeg(image, quality)


def _suffer(image: np.ndarray, damages: Sequence[Damage]) -> np.ndarray:
    for damage in damages:
        image = damage(image)
    return image.copy() if not damages else image


def _moved(image: np.ndarray, offset: np.ndarray, scale: float) -> np.ndarray:
    height, width = image.shape[:2]
    x, y = offset + (1 - scale) * np.array([width, height]) / 2
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _code(clip: Sequence[np.ndarray], rate: int, preset: str, codec: Codec) -> list[np.ndarray]:
    """A clip after encoding: only its first frame is coded by itself, the others are predicted from those before."""
    height, width = clip[0].shape[:2]
    encoder: Any = av.CodecContext.create(ENCODERS[codec], "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(rate), "preset": preset, "tune": "zerolatency"}
    if codec == "h265":
        encoder.options |= {"x265-params": "log-level=error:pools=1"}
    decoder: Any = av.CodecContext.create(_DECODERS[codec], "r")
    decoder.thread_count = 1
    packets = []
    try:
        for number, image in enumerate(clip):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
    except FFmpegError as error:
        raise ForgeError(
            f"A picture of {width} × {height} pixels cannot be encoded as {codec}: {error.strerror}.",
            "Choose a larger one.",
        ) from error
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    return [frame.to_ndarray(format="rgb24") for frame in decoded]
