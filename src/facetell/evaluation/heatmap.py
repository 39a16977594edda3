"""What a heat map is worth: its pixels held against where faces were truly altered.

Truth is known for two kinds of faces. A labelled fake beside its original was altered where the two differ; a real face
that the forge blends with itself was altered where the blend's mask lies. Both are cut as in a scan, and the detector's
map is laid over the crop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.special import logit

from facetell.data.manifest import FAKE, REAL, originals, validate
from facetell.detectors import Detector, DetectorCard
from facetell.errors import DataError, ForgeError, InputError, UsageError
from facetell.evaluation.metrics import interval, mean, numbered, resampled
from facetell.evaluation.protocol import resampling_unit
from facetell.evaluation.scoring import CHUNK, are_stills, is_picture, largest_face, picture
from facetell.faces.align import crop_face, crop_matrix
from facetell.faces.detect import Detection, FaceDetector
from facetell.forge.blend import difference_mask, self_blend
from facetell.forge.masks import FAMILIES
from facetell.scanning.scoring import parts_of_crop, region_of

GRID = 96  # pixels, the side on which map and truth are compared
ALTERED = 0.25  # of `difference_mask`: a pixel of a fake that differs by 10.5 grey levels from its original
RIM, ALIGNED = 3, 0.1  # a pair whose outer pixels differ more than this, on average, does not show the same picture
RIGHT = 0.5  # of the most altered part's share that must be altered of a part of the face for its name to be right
SEED = 0
_BINS, _SUREST = 2048, 12.0  # of the maps' logits
_OUTSIDE = -1  # in a truth: beyond the picture's border
_UNPAIRED = "its original is not here"


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """One altered face as the detector saw it.

    row: of the manifest; kind: "pair" or the family of the blend; heat (h, h) float32; truth (GRID, GRID) int8: 1
    altered, 0 not, −1 beyond the picture; right: the part of the face that the map names was altered, None if it names
    none.
    """

    row: int
    kind: str
    heat: np.ndarray
    truth: np.ndarray
    right: bool | None


def heatmap(
    manifest: pd.DataFrame,
    detector: Detector,
    workers: int = 1,
    n_boot: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Pixel AUC of a detector's heat map against truth, and how often the part of the face that it names was altered.

    Every fake still whose original is in the manifest gives a pair, every real still one self-blend; the families take
    turns. Where a pair hardly differs, or its rim differs, its truth is not known: it is skipped and counted.

    Args:
        manifest: as in `facetell.data.manifest`; of each picture the largest face counts.
        detector: with a heat map.
        workers: threads.
        n_boot: resamples for the intervals.
        progress: called with the number of stills that are done.

    Returns:
        `pairs` and `blends` (None where there are none), and `families`, family -> the same: `n` faces; `auc`, the mean
        of each face's own pixel AUC, `fixed_map`, what the mean of all maps, laid over every face, would reach,
        `region_named`, the share of faces of which the map names a part, and `region_right`, how many of those parts
        were altered, each a value with interval and n; `auc_pooled`, over the pixels of all faces together, with
        `auc_pooled_ci95`, both None where all of these pixels were altered, or none.
        `skipped`: reason -> stills; `resampled_by`; `altered_at`, the threshold of a pair's truth.
        Only `none`, the reason, where no face could be altered in a known place.

    Raises:
        UsageError, DataError: as `check_heatmap`.
    """
    check_heatmap(detector.card, manifest)
    items = validate(manifest)
    look = _Look(items, detector)
    rows = np.arange(len(items))
    cases: list[Case] = []
    skipped: Counter[str] = Counter()
    with ThreadPoolExecutor(workers) as pool:
        for found, left_out in pool.map(look, [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]):
            cases += found
            skipped += left_out
            if progress:
                progress(len(found) + left_out.total())
    if not cases:
        return {"none": f"no face was altered in a known place: {_told(skipped)}"}
    unit, groups = resampling_unit(items)
    kinds: dict[str, list[Case]] = {"pair": [], **{family: [] for family in FAMILIES}}
    for case in cases:
        kinds[case.kind].append(case)

    def numbers(chosen: Sequence[Case], among: Sequence[Case]) -> dict[str, Any] | None:
        if not chosen:
            return None
        fixed = np.mean([case.heat for case in among], axis=0)
        return _numbers(chosen, fixed, groups.iloc[[case.row for case in chosen]].to_numpy(), n_boot)

    pairs = kinds.pop("pair")
    blends = [case for family in kinds.values() for case in family]
    return {
        "pairs": numbers(pairs, pairs),
        "blends": numbers(blends, blends),
        "families": {family: numbers(chosen, blends) for family, chosen in kinds.items() if chosen},
        "skipped": dict(skipped.most_common()),
        "resampled_by": unit,
        "altered_at": ALTERED,
    }


def check_heatmap(card: DetectorCard, manifest: pd.DataFrame) -> None:
    """Before long work: that a heat map can be laid over a face, and that a face may be altered in a known place.

    Raises:
        UsageError: the detector has no heat map, or takes whole pictures.
        DataError: the manifest has no still of a real face, nor one of a fake beside its original.
    """
    if card.heatmap is None:
        raise UsageError(f"The detector {card.name} has no heat map to measure.")
    if card.geometry.kind == "whole":
        raise UsageError(f"The detector {card.name} takes whole pictures; its heat map lies on no face.")
    items = validate(manifest)
    stills = items[are_stills(items)]
    if not (stills.label == REAL).any() and not stills.index.isin(list(originals(items))).any():
        skipped = {"not a still": len(items) - len(stills), _UNPAIRED: len(stills)}
        raise DataError(
            f"No face can be altered in a known place: {_told({why: n for why, n in skipped.items() if n})}.",
            "Give stills of real faces, or of fakes beside their originals.",
        )


class _Look:
    """Rows of a manifest become cases; what becomes none is counted by its reason."""

    def __init__(self, items: pd.DataFrame, detector: Detector) -> None:
        self._items = items
        self._detector = detector
        self._finder = FaceDetector()
        reals = items[items.label == REAL]
        self._real_of = originals(items)
        self._family = dict(zip(reals.index, np.resize(list(FAMILIES), len(reals)).tolist(), strict=True))

    def __call__(self, rows: Sequence[int]) -> tuple[list[Case], Counter[str]]:
        seen: list[_Seen] = []
        skipped: Counter[str] = Counter()
        for row in rows:
            try:
                seen.append(self._seen(row, *self._altered(row)))
            except _Skipped as reason:
                skipped[str(reason)] += 1
            except (InputError, DataError, ForgeError) as error:
                skipped[type(error).__name__] += 1
        return self._cases(seen), skipped

    def _altered(self, row: int) -> tuple[str, np.ndarray, np.ndarray]:
        """What the row gives: its kind, a picture altered in a known place, and where: bool (H, W)."""
        item = self._items.iloc[row]
        if not is_picture(item.member or item.path):
            raise _Skipped("not a still")
        image = picture(item.path, item.member)
        if item.label == FAKE:
            return "pair", image, self._differs(image, row)
        faces = largest_face(image, self._finder)
        if not faces:
            raise _Skipped("no face")
        family = self._family[row]
        forged = self_blend(image, faces[0].points, np.random.default_rng([SEED, row]), family=family)
        return family, forged.fake, forged.mask >= forged.mask.max() / 2

    def _differs(self, fake: np.ndarray, row: int) -> np.ndarray:
        if row not in self._real_of:
            raise _Skipped(_UNPAIRED)
        original = self._items.iloc[self._real_of[row]]
        real = picture(original.path, original.member)
        if real.shape != fake.shape:
            raise _Skipped("another size than its original")
        mask = difference_mask(fake, real)
        if mask.max() < ALTERED:
            raise _Skipped("hardly differs from its original")
        inner = mask[RIM:-RIM, RIM:-RIM]
        if (mask.sum() - inner.sum()) / (mask.size - inner.size) > ALIGNED:
            raise _Skipped("differs from its original at the rim")
        return mask >= ALTERED

    def _seen(self, row: int, kind: str, image: np.ndarray, where: np.ndarray) -> _Seen:
        """The largest face of an altered picture, and the truth on its crop."""
        card = self._detector.card
        faces = largest_face(image, self._finder)
        if not faces:
            raise _Skipped("no face")
        crop = crop_face(image, faces[0].points, faces[0].box, card.geometry, card.input_size)
        matrix = crop_matrix(faces[0].points, faces[0].box, card.geometry, GRID)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        truth = cv2.warpAffine(where.astype(np.int16), matrix, (GRID, GRID), flags=flags, borderValue=_OUTSIDE)
        return _Seen(row, kind, faces[0], crop, truth.astype(np.int8))

    def _cases(self, seen: Sequence[_Seen]) -> list[Case]:
        if not seen:
            return []
        heats = self._detector.score(np.stack([one.crop for one in seen])).heatmaps
        assert heats is not None  # the card names it
        return [Case(one.row, one.kind, h, one.truth, self._right(one, h)) for one, h in zip(seen, heats, strict=True)]

    def _right(self, one: _Seen, heat: np.ndarray) -> bool | None:
        """Whether the part of the face that a map names was altered; None if it names none."""
        parts = parts_of_crop(one.face.points, one.face.box, self._detector.card.geometry, heat.shape)
        region = region_of(heat, parts)
        if region is None:
            return None
        cells = cv2.resize((one.truth == 1).astype(np.float32), heat.shape[::-1], interpolation=cv2.INTER_AREA)
        share = {part: cells[parts == part].mean() for part in np.unique(parts)}
        return bool(share[region] >= RIGHT * max(share.values()) > 0)  # 0: nothing on the crop was altered


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """An altered face before the detector looked at it: its crop, and the truth as in `Case`."""

    row: int
    kind: str
    face: Detection
    crop: np.ndarray
    truth: np.ndarray


class _Skipped(Exception):
    """Why a still gives no face that was altered in a known place."""


def _numbers(cases: Sequence[Case], fixed: np.ndarray, groups: np.ndarray, n_boot: int) -> dict[str, Any]:
    truths = np.stack([case.truth for case in cases])
    altered, untouched = histograms(np.stack([case.heat for case in cases]), truths)
    group = numbered(groups, len(cases))
    drawn = resampled(lambda w: pixel_auc(w @ altered, w @ untouched), group, n_boot if group.max() else 0, SEED)
    pooled = float(pixel_auc(altered.sum(0), untouched.sum(0)))
    own, of_fixed = pixel_auc(altered, untouched), pixel_auc(*histograms(np.stack([fixed] * len(cases)), truths))
    named = np.array([case.right is not None for case in cases])
    ranked = np.isfinite(own)  # a crop that was altered everywhere, or nowhere, ranks nothing
    return {
        "n": len(cases),
        "auc": mean(own[ranked], groups[ranked], n_boot),
        "fixed_map": mean(of_fixed[ranked], groups[ranked], n_boot),
        "auc_pooled": pooled if np.isfinite(pooled) else None,
        "auc_pooled_ci95": interval(drawn),  # of resamples with altered and untouched pixels
        "region_named": mean(named, groups, n_boot),
        "region_right": mean([case.right for case in cases if case.right is not None], groups[named], n_boot),
    }


def histograms(heats: np.ndarray, truths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many altered and how many untouched pixels of each face have which heat: two (N, bins) arrays.

    Args:
        heats: (N, h, h) in 0…1, laid over the faces bilinearly.
        truths: (N, GRID, GRID): 1 altered, 0 untouched; others are left out.
    """
    counts = np.zeros((2, len(heats), _BINS))
    for number, (heat, truth) in enumerate(zip(heats, truths, strict=True)):
        fine = cv2.resize(heat.astype(np.float64), truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        sure = np.clip(logit(np.clip(fine, 0, 1)), -_SUREST, _SUREST)
        bins = np.minimum(((sure + _SUREST) / (2 * _SUREST) * _BINS).astype(int), _BINS - 1)
        for kind, of in enumerate((1, 0)):
            counts[kind, number] = np.bincount(bins[truth == of], minlength=_BINS)
    return counts[0], counts[1]


def pixel_auc(altered: np.ndarray, untouched: np.ndarray) -> np.ndarray:
    """The chance that an altered pixel is hotter than an untouched one, ties counting half; NaN where there is none.

    >>> float(pixel_auc(np.array([0, 1, 3]), np.array([2, 2, 0])))
    0.9375
    """
    below = np.cumsum(untouched, axis=-1) - untouched / 2
    with np.errstate(invalid="ignore"):
        return (altered * below).sum(-1) / (altered.sum(-1) * untouched.sum(-1))


def _told(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in skipped.items()) or "there are no stills"
