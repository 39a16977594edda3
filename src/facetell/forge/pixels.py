"""Small changes to whole pictures that blending and degrading share. Pictures are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np

# The exact one takes the nearest of the pixels' centres; OpenCV's plain INTER_NEAREST would move the picture.
DOWN = (cv2.INTER_NEAREST_EXACT, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)
UP = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)  # the others would leave blocks that no player shows
_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([_LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def colour_matrix(
    shift: np.ndarray | float = 0.0,
    brightness: float = 0.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue_deg: float = 0.0,
) -> np.ndarray:
    """A change of colour as one (3, 4) matrix for `recolour`.

    Args:
        shift: added to each channel, in grey levels.
        brightness: added to all channels, as a share of white.
        contrast: factor about middle grey.
        saturation: factor on the distance from grey of the same luma.
        hue_deg: turn of the hue.

    >>> colour_matrix(brightness=0.1)[:, 3].round(1).tolist()
    [25.5, 25.5, 25.5]
    """
    turn = np.deg2rad(hue_deg)
    chroma = saturation * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    yiq = np.eye(3)
    yiq[1:, 1:] = chroma
    linear = contrast * _FROM_YIQ @ yiq @ _TO_YIQ
    offset = np.broadcast_to(shift, 3) + 255 * brightness + 127.5 * (1 - contrast)
    return np.column_stack([linear, offset])


def recolour(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The picture with `colour_matrix` applied, clipped to 0…255."""
    return cv2.transform(image, matrix)


def sharpen(image: np.ndarray, amount: float, sigma: float) -> np.ndarray:
    """Unsharp masking: `amount` times the difference from the blurred picture is added.

    >>> sharpen(np.full((4, 4, 3), 90, np.uint8), 1.0, 1.0)[0, 0].tolist()
    [90, 90, 90]
    """
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), sigma), -amount, 0)


def lose_detail(image: np.ndarray, factor: float, down: int, up: int) -> np.ndarray:
    """The picture scaled down by `factor` (0…1) and back up, with OpenCV's interpolations `down` and `up`."""
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(cv2.resize(image, size, interpolation=down), (width, height), interpolation=up)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG compression at a quality of 1…100 (chroma at half resolution)."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a line above
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def restore(image: np.ndarray, factor: float, amount: float) -> np.ndarray:
    """The picture as a face restorer leaves a small face: fine texture lost, skin smoothed, edges sharpened again.

    Args:
        image: (H, W, 3) uint8 RGB.
        factor: of the scaling down and back up that takes the texture away, 0…1.
        amount: of the unsharp masking that follows.

    >>> restore(np.full((32, 32, 3), 90, np.uint8), 0.5, 1.0)[0, 0].tolist()
    [90, 90, 90]
    """
    coarse = lose_detail(image, factor, cv2.INTER_AREA, cv2.INTER_CUBIC)
    return sharpen(cv2.bilateralFilter(coarse, 5, 25, 3), amount, 1.2)


def decoder_kernel(rng: np.random.Generator) -> np.ndarray:
    """A (4, 4) float32 kernel for `regenerate`: a trained decoder's, close to linear interpolation, never quite it."""
    linear = np.array([1, 3, 3, 1]) / 4
    kernel = np.outer(linear, linear) * (1 + rng.uniform(0, 0.03) * rng.standard_normal((4, 4)))
    return (kernel * (4 / kernel.sum())).astype(np.float32)


def regenerate(image: np.ndarray, scale: float, kernel: np.ndarray) -> np.ndarray:
    """The picture as if it came out of a decoder: no detail above its grid, and the grid's own faint chequers.

    Transposed convolutions with stride 2 leave such patterns (Odena et al., "Deconvolution and Checkerboard Artifacts",
    Distill 2016), and copies of the spectrum (Durall et al., "Watch Your Up-Convolution", CVPR 2020).

    Args:
        image: (H, W, 3) uint8 RGB.
        scale: of the decoder's output against the picture.
        kernel: (4, 4) float32 of the last transposed convolution, as `decoder_kernel` draws it.

    >>> flat = np.full((32, 32, 3), 90, np.uint8)
    >>> regenerate(flat, 1.0, np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 16)[16, 16].tolist()
    [90, 90, 90]
    """
    height, width = image.shape[:2]
    coarse = max(2, round(width * scale / 2)), max(2, round(height * scale / 2))
    small = cv2.resize(image, coarse, interpolation=cv2.INTER_AREA)
    fine = np.zeros((2 * coarse[1], 2 * coarse[0], 3), np.uint8)
    fine[::2, ::2] = small
    # The taps on a pixel and its left neighbour are 0 and -2: the coarse grid's centres lie between two fine pixels.
    fine = cv2.filter2D(fine, -1, kernel, anchor=(2, 2), borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)
