"""What is stated about a detector on a data set, and on what: the result `facetell-eval/1` (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facetell.data.manifest import origin
from facetell.evaluation.metrics import metrics, paired, share
from facetell.evaluation.scoring import Damage, Scored, score
from facetell.report.text import count
from facetell.scanning import Scanner

SCHEMA = "facetell-eval/1"
FEW_GROUPS = 10  # below, an interval resampled by them means little
SIZE_EDGES = (0, 64, 128, 256, np.inf)  # face height in pixels
CURVE_POINTS = 200
ONE_CLASS = "the videos that could be scored are of one class only"
DIMENSIONS = ("dataset", "split", "method", "compression", "face_size", "quality")


def evaluate(
    manifest: pd.DataFrame,
    scanner: Scanner,
    *,
    workers: int = 1,
    n_boot: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    damage: Damage | None = None,
) -> dict[str, Any]:
    """Score every item of a manifest and state what came out, as plain JSON types.

    Arguments are those of `score` and of `metrics`; the result is that of `summary`.

    Raises:
        ManifestError: the manifest is not sound.
    """
    scored = score(manifest, scanner, workers, progress, damage)
    return summary(scored, scanner, n_boot=n_boot, seed=seed)


def summary(scored: Scored, scanner: Scanner, n_boot: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The result of an evaluation.

    Returns:
        A dict of plain JSON types with `schema`, `detector`, `data`, `coverage`, `video`, `frame`, `verdicts`, `curve`
        and `by`. In `by`, on video level, the fakes of one method stand against all reals of the data sets in which the
        method occurs; every other value holds its own items only.
    """
    items, videos = scored.items, scored.videos
    unit, groups = resampling_unit(videos)

    def numbers(rows: pd.DataFrame, unit_of: pd.Series) -> dict[str, Any]:
        units, logits = unit_of.loc[rows.index], scored.calibrated(rows)
        return metrics(rows.label, rows.p_fake, units, n_boot=n_boot, seed=seed, logits=logits)

    card, detector = scored.card, scanner.detector.info
    return {
        "schema": SCHEMA,
        "detector": {
            "name": detector.name,
            "version": detector.version,
            "sha256": detector.sha256,
            "kind": card.kind,
            "calibration": card.calibration.method,
            "training_data": card.training_data,
            "prior": scanner.rule.prior,
        },
        "data": {
            "datasets": sorted(set(items.dataset)),
            "splits": sorted(set(items.split)),
            "items": len(items),
            "videos": int(items.key.nunique()),
            "real_videos": int(items[items.label == 0].key.nunique()),
            "fake_videos": int(items[items.label == 1].key.nunique()),
            "resampled_by": unit,
            "n_boot": n_boot,
            "seed": seed,
            "seconds": round(scored.seconds, 2),
        },
        "coverage": {
            "items": len(items),
            "scored": int((items.reason == "").sum()),
            "unscored": scored.unscored,
            "videos": int(items.key.nunique()),
            "videos_scored": len(videos),
        },
        "video": numbers(videos, groups),
        "frame": numbers(scored.faces, groups.loc[scored.faces.key].set_axis(scored.faces.index)),
        "verdicts": verdicts(videos),
        "curve": _thinned(videos),
        "by": {
            dimension: {value: numbers(rows, groups) for value, rows in slices(videos, dimension)}
            for dimension in DIMENSIONS
        },
    }


def verdicts(videos: pd.DataFrame) -> dict[str, Any]:
    """How often a scan at its default setting says what, and how often it is wrong when it decides.

    Returns:
        `real` and `fake`: verdict -> videos; `undecided`, `wrong` (of the decided), `false_alarms` (of all real videos)
        and `missed` (of all fake ones), each a share with n and interval.
    """
    wrong = videos.verdict.map({"REAL": 0, "FAKE": 1})
    decided = wrong.notna()
    wrong = decided & (wrong != videos.label)
    real = videos.label == 0
    return {
        "real": videos.verdict[real].value_counts().to_dict(),
        "fake": videos.verdict[~real].value_counts().to_dict(),
        "undecided": share(int((~decided).sum()), len(videos)),
        "wrong": share(int(wrong.sum()), int(decided.sum())),
        "false_alarms": share(int((wrong & real).sum()), int(real.sum())),
        "missed": share(int((wrong & ~real).sum()), int((~real).sum())),
    }


def undecided_against_wrong(videos: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The share left undecided, and the share wrong among the rest, as the band of indecision around 0.5 widens.

    Videos of equal score are decided together. Both arrays start with everything decided.

    >>> table = pd.DataFrame({"label": [0, 1, 1, 0], "p_fake": [0.1, 0.9, 0.4, 0.2]})
    >>> undecided_against_wrong(table)
    (array([0.  , 0.25, 0.5 ]), array([0.25, 0.  , 0.  ]))
    """
    sureness = np.abs(videos.p_fake.to_numpy() - 0.5).round(12)
    wrong = (videos.p_fake.to_numpy() >= 0.5) != (videos.label.to_numpy() == 1)
    order = np.argsort(-sureness, kind="stable")
    last = np.flatnonzero(np.append(np.diff(sureness[order]) != 0, True))
    decided = last + 1
    return 1 - decided[::-1] / len(videos), (np.cumsum(wrong[order])[last] / decided)[::-1]


def _thinned(videos: pd.DataFrame) -> dict[str, list[float]]:
    """The curve of `undecided_against_wrong`, at no more than CURVE_POINTS places."""
    if videos.empty:
        return {"undecided": [], "wrong": []}
    undecided, wrong = undecided_against_wrong(videos)
    at = np.unique(np.linspace(0, len(undecided) - 1, CURVE_POINTS).round().astype(int))
    return {"undecided": undecided[at].tolist(), "wrong": wrong[at].tolist()}


def compare(first: Scored, second: Scored, n_boot: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Whether the first detector ranks better than the second, on the videos that both could score.

    Returns:
        `detector`, the second one's name and version, with `resampled_by` and what `paired` returns; or with `none`,
        why they could not be compared.
    """
    both = first.videos.index.intersection(second.videos.index)
    a, b = first.videos.loc[both], second.videos.loc[both]
    detector = {"name": second.card.name, "version": second.card.version}
    if a.label.nunique() < 2:
        return {"detector": detector, "none": ONE_CLASS}
    unit, groups = resampling_unit(a)
    return {
        "detector": detector,
        "resampled_by": unit,
        **paired(a.label, first.calibrated(a), second.calibrated(b), groups, n_boot, seed),
    }


def submission_table(scored: Scored) -> pd.DataFrame:
    """Columns `filename` and `label`, which is P(fake), as in the DFDC challenge; unscored files are left out.

    A still of a video has that video's P(fake). A file is known by its name alone, or by its whole path where two have
    one name: for one inside a tar, the tar's path and then its own.
    """
    items = scored.items[scored.items.reason == ""]
    files = items.path.where(items.member == "", items.path + "/" + items.member)
    names = files.map(lambda file: Path(str(file)).name)
    labels = items.key.map(scored.videos.p_fake)
    return pd.DataFrame({"filename": (names if names.is_unique else files).to_numpy(), "label": labels.to_numpy()})


def resampling_unit(videos: pd.DataFrame) -> tuple[str, pd.Series]:
    """What an interval resamples, and each video's: its group, or where there are too few groups its family.

    A family is an original with the fakes made from it, in all of its compressions.
    """
    group = videos.dataset + ":" + videos.group
    if group.nunique() >= FEW_GROUPS:
        return "group", group
    family = families(videos)
    if family.nunique() <= group.nunique():
        return "group", group
    return f"original (of only {count(group.nunique(), 'group')})", family


def units(videos: pd.DataFrame) -> pd.Series:
    """Each video's `resampling_unit` within its own data set: what is counted, and kept whole by folds."""
    nobody = pd.Series(dtype=str)  # of no videos
    found = pd.concat([nobody, *(resampling_unit(rows)[1] for _, rows in videos.groupby("dataset"))])
    return found.reindex(videos.index)


def families(videos: pd.DataFrame) -> pd.Series:
    """Each video's family; keys that differ by a folder named as the compression, as in FF++, are of one original."""
    original = origin(videos)
    bare = [
        "/".join(part for part in key.split("/") if not part or part != compression)
        for key, compression in zip(original, videos.compression, strict=True)
    ]
    family = videos.dataset + ":" + original
    return family.groupby([videos.dataset, pd.Series(bare, videos.index, str)]).transform("min")


def slices(videos: pd.DataFrame, dimension: str) -> list[tuple[str, pd.DataFrame]]:
    """The videos of each value of a dimension; see `summary` for what a method is held against."""
    if dimension == "face_size":
        band = pd.cut(videos.height, SIZE_EDGES, right=False, labels=_bands())
        return [(str(value), rows) for value, rows in videos.groupby(band, observed=True)]
    if dimension == "quality":
        return [(str(value), rows) for value, rows in videos.groupby(videos.problem.replace("", "no problem"))]
    values = [value for value in sorted(set(videos[dimension])) if value]
    if dimension != "method":
        return [(value, videos[videos[dimension] == value]) for value in values]
    found = []
    for value in values:
        fakes = (videos.method == value) & (videos.label == 1)
        reals = (videos.label == 0) & videos.dataset.isin(videos.dataset[fakes])
        if fakes.any():
            found.append((value, videos[fakes | reals]))
    return found


def _bands() -> list[str]:
    inner = SIZE_EDGES[1:-1]
    between = [f"{low}–{high} px" for low, high in pairwise(inner)]
    return [f"under {inner[0]} px", *between, f"{inner[-1]} px and more"]
