"""Pseudo-fakes from one real face, or from a labelled fake and its original.

Self-blending after Shiohara & Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022: one of two copies of
a face is changed a little and pasted into the other through a soft mask. The unblended copy is the pair's real one.
Inner families bend the features as well, as reenactment and lip-sync do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from facetell.errors import ForgeError
from facetell.forge import masks, pixels
from facetell.forge.redraw import SIDES, Painter

VISIBLE = 6.0  # grey levels, locally averaged, by which a fake must differ somewhere from its twin
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
_FACE_COARSER = 0.85  # share; generators draw less detail than cameras, so a pasted face is hardly ever the finer part
_MATCHED = 0.3  # share of blends as good makers of fakes leave them
_PART_FAMILIES = ("mouth", "lower", "eyes", "ellipse", "window")
_TRIES = 6


@dataclass(frozen=True, eq=False, slots=True)
class Forged:
    """A pair that differs only where the mask is above 0."""

    real: np.ndarray  # (H, W, 3) uint8 RGB, the unblended twin
    fake: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) float32 in 0…1: how much of each pixel was replaced
    family: str


def untouched(image: np.ndarray, family: str) -> Forged:
    """The pair of a picture that was left as it is."""
    return Forged(image, image, np.zeros(image.shape[:2], np.float32), family)


@dataclass(frozen=True, eq=False, slots=True)
class SelfBlend:
    """One drawn way to blend a face with itself; lengths in face units, so that it fits every frame of a clip."""

    family: str
    jitter: np.ndarray  # (64, 2) of the outline's points
    grow: float  # of the region's hulls
    bend: np.ndarray  # (n, n, 2) displacement of the mask alone
    colour: np.ndarray | None  # (3, 4) for `pixels.recolour`
    detail: tuple[str, tuple] | None  # a function of `pixels` and its arguments after the picture
    alters_face: bool  # the mismatch is on the pasted copy; else on the background
    shift: complex  # of the pasted copy with its mask
    scale: float
    warp: np.ndarray | None  # (n, n, 2) displacement of the pasted copy's features
    erode: float  # as a share of the square root of a hull's area
    edge: float  # likewise
    ratio: float  # share of the pasted copy where the mask is full
    painter: Painter | None = None  # draws the pasted copy anew
    side: int = 0  # pixels of the square it draws

    @classmethod
    def draw(cls, rng: np.random.Generator, family: str, strength: float = 1.0, face_only: bool = False) -> SelfBlend:
        """A random blend of this family; `strength` scales its colour mismatch and its warps.

        With `face_only` the mismatch is never on the background, so that nothing changes outside the mask.
        """
        inner = family in masks.INNER
        matched = rng.random() < _MATCHED and strength == 1  # in colour, whole faces in place too; detail is left
        recolours = (rng.random() < (0.5 if inner else 0.9) and not matched) or strength > 2
        still = matched or (rng.random() < 0.15 and not inner)
        alters_face = rng.random() < 0.6 or matched or face_only
        altered = 1.0 if matched else 0.7 if inner else 0.85
        coarser = rng.random() < _FACE_COARSER  # what is pasted, beside what it is pasted into
        return cls(
            family=family,
            jitter=rng.normal(0, 1.2, (64, 2)) + rng.normal(0, 1.0, 2),
            grow=rng.uniform(0.9, 1.1),
            bend=rng.normal(0, 1.2 if inner else 2.5, (8, 8, 2)).astype(np.float32),
            colour=_draw_colour(rng, strength) if recolours else None,
            detail=_draw_detail(rng, coarser == alters_face) if rng.random() < altered else None,
            alters_face=alters_face,
            shift=0 if inner or still else complex(rng.uniform(-4, 4), rng.uniform(-2, 2)),
            scale=1.0 if inner or still else rng.uniform(0.95, 1.05),
            warp=_draw_warp(rng, strength) if inner else None,
            erode=rng.uniform(0.01, 0.055),
            edge=rng.uniform(0.01, 0.07),
            ratio=_RATIOS[rng.integers(len(_RATIOS))],
        )

    def redrawn(self, rng: np.random.Generator, painter: Painter) -> SelfBlend:
        """This blend with a copy that a network draws: its own loss of detail, sharpened at times, as swappers do."""
        detail = _draw_detail(rng, coarser=False) if rng.random() < 0.3 else None
        return replace(self, painter=painter, side=int(rng.choice(SIDES)), detail=detail, alters_face=True)

    def apply(self, image: np.ndarray, points: np.ndarray) -> Forged:
        """The pair for one picture and the five points of the face in it."""
        here, local = masks.window(points, image.shape[:2])
        real = image if self.alters_face else self._mismatched(image)
        face = image[here] if self.painter is None else self.painter.redraw(image[here], local, self.side)
        face = self._mismatched(face) if self.alters_face else face

        move = self._move(local)
        if self.shift or self.scale != 1.0:
            face = cv2.warpAffine(face, move, face.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
        if self.warp is not None:
            face = masks.displace(face, self.warp, local)
        mask, fake = np.zeros(image.shape[:2], np.float32), real.copy()
        mask[here] = self._mask(local, move, face.shape[:2])
        fake[here] = paste(face, real[here], mask[here])
        return Forged(real, fake, mask, self.family)

    def drifted(self, other: SelfBlend, phase: float) -> SelfBlend:
        """This blend with its rim on the way to another's, for clips: `phase` in radians, 0 is this blend itself."""
        return replace(
            self,
            bend=np.float32(np.cos(phase)) * self.bend + np.float32(np.sin(phase)) * other.bend,
            jitter=np.cos(phase) * self.jitter + np.sin(phase) * other.jitter,
        )

    def _mismatched(self, image: np.ndarray) -> np.ndarray:
        if self.detail is not None:
            name, arguments = self.detail
            image = getattr(pixels, name)(image, *arguments)
        return image if self.colour is None else pixels.recolour(image, self.colour)

    def _move(self, points: np.ndarray) -> np.ndarray:
        """Shift and scale about the face's middle, as a (2, 3) matrix in pixels."""
        a, b = masks.similarity(points)
        middle = b + a * 10j
        offset = middle + a * self.shift - self.scale * middle
        return np.array([[self.scale, 0, offset.real], [0, self.scale, offset.imag]])

    def _mask(self, points: np.ndarray, move: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        outlines = masks.hulls(self.family, points, self.jitter, self.grow)
        hard = masks.fill([cv2.transform(outline, move) for outline in outlines], shape)
        hard = masks.displace(hard, self.bend, points, border=cv2.BORDER_CONSTANT)
        length = float(hard.sum() / len(outlines)) ** 0.5
        return masks.soften(hard, self.erode * length, self.edge * length) * np.float32(self.ratio)


def self_blend(
    image: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
    *,
    inner: float = 0.4,
    family: str | None = None,
    painter: Painter | None = None,
) -> Forged:
    """A face blended with a slightly changed copy of itself, and its unblended twin.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (5, 2) float32 eye, eye, nose tip, mouth corner, mouth corner in the picture's pixels.
        rng: where all chance comes from.
        inner: the share of families inside the face (mouth, eyes, nose, …).
        family: one of `masks.FAMILIES` instead of a random one.
        painter: a network that draws the copy anew, so that it carries a generator's texture.

    Returns:
        The pair, different by at least `VISIBLE` grey levels somewhere, and only where the mask is above 0.

    Raises:
        ForgeError: the points lie outside the picture, or on top of each other.
        KeyError: no such family.

    >>> image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    >>> forged = self_blend(image, masks.ANCHORS + 60, np.random.default_rng(1), family="mouth")
    >>> forged.family, bool(np.array_equal(forged.fake[forged.mask == 0], forged.real[forged.mask == 0]))
    ('mouth', True)
    """
    points = checked(image, points)
    if family is None:
        families = masks.INNER if rng.random() < inner else masks.WHOLE
        family = families[rng.integers(len(families))]
    return draw_visible(image, points, rng, family, painter)[1]


def draw_visible(
    image: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
    family: str,
    painter: Painter | None = None,
    face_only: bool = False,
) -> tuple[SelfBlend, Forged]:
    """A blend of this family that shows on this picture, stronger with every try, and what it makes of it.

    Raises:
        ForgeError: no visible blend came of a few tries: the region lies outside the picture.
    """
    for attempt in range(_TRIES):
        drawn = SelfBlend.draw(rng, family, strength=1 + 0.5 * attempt, face_only=face_only)
        if painter is not None:
            drawn = drawn.redrawn(rng, painter)
        forged = drawn.apply(image, points)
        if difference(forged.fake, forged.real, 1.5).max() >= VISIBLE:
            return drawn, forged
    raise ForgeError(
        f"No visible blend of the family {family!r} came of {_TRIES} tries.",
        "Choose a picture in which the whole face is seen.",
    )


class ClipBlend:
    """One blend for all frames of a clip: the same mask, mismatch and warp throughout, and a rim that drifts slowly.

    The mismatch is on the pasted copy: where the mask is 0, every frame stays as it is.

    Args:
        image: (H, W, 3) uint8 RGB, a frame on which the blend must show.
        points: (5, 2) of the face in it.
        rng: where all chance comes from.
        family: one of `masks.FAMILIES`; None for a random one.

    Raises:
        ForgeError: as in `self_blend`.

    >>> image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    >>> clip = ClipBlend(image, masks.ANCHORS + 60, np.random.default_rng(1), "jaw")
    >>> first, second = (clip.apply(image, masks.ANCHORS + 60, time_s) for time_s in (0, 0.04))
    >>> bool(0 < abs(first.mask - second.mask).max() < 0.2)
    True
    """

    def __init__(
        self, image: np.ndarray, points: np.ndarray, rng: np.random.Generator, family: str | None = None
    ) -> None:
        if family is None:
            families = tuple(masks.FAMILIES)
            family = families[rng.integers(len(families))]
        self._blend, _ = draw_visible(image, checked(image, points), rng, family, face_only=True)
        self._other = SelfBlend.draw(rng, family)
        self._period_s = rng.uniform(3, 8)

    @property
    def family(self) -> str:
        return self._blend.family

    def apply(self, image: np.ndarray, points: np.ndarray | None, time_s: float) -> Forged:
        """The pair for one frame; without points, the frame as it is and an empty mask."""
        if points is None:
            return untouched(image, self.family)
        phase = 0.5 * np.sin(2 * np.pi * time_s / self._period_s)
        return self._blend.drifted(self._other, phase).apply(image, checked(image, points))


def paste_part(fake: np.ndarray, real: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Forged | None:
    """A region of a labelled fake pasted softly into its own aligned original.

    Args:
        fake, real: (H, W, 3) uint8 RGB, the same frame and crop.
        points: (5, 2) of the face, in pixels.
        rng: where all chance comes from.

    Returns:
        The pair, with a mask of where the region truly differs; None if it does not, or if the two are not aligned
        (their rims differ too).

    Raises:
        ForgeError: the two pictures differ in size, or the points lie outside.

    >>> image = np.zeros((128, 128, 3), np.uint8)
    >>> paste_part(image, image, masks.ANCHORS + 60, np.random.default_rng(0)) is None
    True
    """
    points = checked(image=real, points=points)
    differs = difference_mask(fake, real)
    rim = np.concatenate([differs[:3].ravel(), differs[-3:].ravel(), differs[:, :3].ravel(), differs[:, -3:].ravel()])
    if rim.mean() > 0.1 or differs.max() < 0.25:
        return None
    family = _PART_FAMILIES[rng.integers(len(_PART_FAMILIES))]
    hard = masks.fill(_part_outlines(family, points, rng), real.shape[:2])
    length = float(hard.sum()) ** 0.5
    region = masks.soften(hard, rng.uniform(0.01, 0.04) * length, rng.uniform(0.01, 0.06) * length)
    mask = region * differs
    if mask.max() < 0.25 or mask.sum() < 0.05 * region.sum():
        return None
    return Forged(real, paste(fake, real, region), mask, family)


def mix(fake: np.ndarray, real: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A weighted mean of an aligned fake and its original.

    Returns:
        The picture, and its soft label: the fake's share, drawn from Beta(0.5, 0.5).

    >>> image, label = mix(np.full((2, 2, 3), 200, np.uint8), np.zeros((2, 2, 3), np.uint8), np.random.default_rng(0))
    >>> abs(image[0, 0, 0] / 200 - label) < 0.01
    np.True_
    """
    _same_size(fake, real)
    share = float(rng.beta(0.5, 0.5))
    return cv2.addWeighted(fake, share, real, 1 - share, 0), share


def difference(fake: np.ndarray, real: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W) float32: the absolute difference in grey levels, mean over the channels, blurred by `sigma` pixels.

    Raises:
        ForgeError: the two pictures differ in size.
    """
    _same_size(fake, real)
    distance = cv2.transform(cv2.absdiff(fake, real).astype(np.float32), np.full((1, 3), 1 / 3))
    return cv2.GaussianBlur(distance, (0, 0), sigma)


def difference_mask(fake: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Where an aligned fake differs from its original: (H, W) float32, the blurred difference d as (d - 6) / 18 in 0…1.

    >>> real = np.zeros((64, 64, 3), np.uint8); fake = real.copy(); fake[16:48, 16:48] = 90
    >>> mask = difference_mask(fake, real)
    >>> float(mask[32, 32]), float(mask[0, 0])
    (1.0, 0.0)
    """
    return np.clip((difference(fake, real, 0.015 * real.shape[1]) - 6) / 18, 0, 1)


def paste(face: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """mask · face + (1 - mask) · background, exactly the background where the mask is 0."""
    return cv2.blendLinear(face, background, mask, 1 - mask)


def _part_outlines(family: str, points: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    if family in masks.FAMILIES:
        return masks.hulls(family, points, rng.normal(0, 1.2, (64, 2)), rng.uniform(0.95, 1.25))
    middle = np.array([rng.uniform(-22, 22), rng.uniform(-12, 45)])
    half = rng.uniform(10, 28, 2)
    if family == "window":
        units = middle + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    else:
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        units = middle + half * np.stack([np.cos(angle), np.sin(angle)], 1)
    return [cv2.convexHull(masks.to_pixels(units, points))]


def _draw_colour(rng: np.random.Generator, strength: float) -> np.ndarray:
    return pixels.colour_matrix(
        shift=strength * rng.uniform(-20, 20, 3) * (rng.random() < 0.5),
        brightness=strength * rng.uniform(-0.1, 0.1),
        contrast=1 + rng.uniform(-0.12, 0.12),
        saturation=1 + rng.uniform(-0.3, 0.3),
        hue_deg=strength * rng.uniform(-12, 12),
    )


def _draw_detail(rng: np.random.Generator, coarser: bool) -> tuple[str, tuple]:
    """A change of detail as a function of `pixels` and its arguments: detail lost, or edges sharpened."""
    if not coarser:
        return "sharpen", (rng.uniform(0.2, 1.0), rng.uniform(0.8, 2.0))
    kind = rng.random()
    if kind < 0.35:
        return "lose_detail", (1 / rng.uniform(1.3, 3.5), int(rng.choice(pixels.DOWN)), int(rng.choice(pixels.UP)))
    if kind < 0.6:
        return "restore", (1 / rng.uniform(1.2, 3), rng.uniform(0.3, 1.2))
    if kind < 0.9:
        return "regenerate", (rng.uniform(0.5, 1.2), pixels.decoder_kernel(rng))
    return "jpeg", (int(rng.integers(30, 80)),)


def _draw_warp(rng: np.random.Generator, strength: float) -> np.ndarray:
    """A smooth displacement whose longest arrow is 1 to 4 % of the face's height."""
    field = rng.normal(0, 1, (6, 6, 2)).astype(np.float32)
    longest = np.linalg.norm(field[1:5, 1:5], axis=2).max()
    return field * np.float32(strength * rng.uniform(0.01, 0.04) * masks.FACE_HEIGHT / longest)


def checked(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The points as (5, 2) float32.

    Raises:
        ForgeError: they are not five finite points of a face inside this picture.
    """
    points = np.asarray(points, np.float32)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ForgeError("A face is given by five points (x, y), all finite numbers.", "Detect the face first.")
    size, (height, width) = abs(masks.similarity(points)[0]), image.shape[:2]
    middle = points.mean(0)
    if size * 35 < 4 or not (0 <= middle[0] < width and 0 <= middle[1] < height):
        raise ForgeError("The face lies outside the picture or is too small.", "Choose a picture with a larger face.")
    return points


def _same_size(one: np.ndarray, other: np.ndarray) -> None:
    if one.shape != other.shape:
        raise ForgeError(f"The two pictures differ in size: {one.shape} and {other.shape}.", "Align them first.")
