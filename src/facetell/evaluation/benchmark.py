"""Several detectors on several data sets in one run: what each is worth where, and the studies of the first of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facetell.evaluation.aggregation import aggregation, mirrored
from facetell.evaluation.joining import joined
from facetell.evaluation.metrics import metrics
from facetell.evaluation.protocol import resampling_unit, undecided_against_wrong, verdicts
from facetell.evaluation.robustness import SUITE, robustness
from facetell.evaluation.scoring import Scored, score
from facetell.evaluation.sources import DataSet, refuse_twice
from facetell.evaluation.store import Store
from facetell.scanning import Scanner

SCHEMA = "facetell-benchmark/1"
MANY_FRAMES = "uniform:32"  # the plan of the study of aggregation


def benchmark(
    sets: Sequence[DataSet],
    folder: Path,
    scanners: Sequence[Scanner],
    store: Store | None = None,
    *,
    workers: int = 1,
    n_boot: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Every detector on every set, on video level, as plain JSON types.

    Args:
        sets: what to measure on.
        folder: that the sets' paths are relative to.
        scanners: with the detectors; the first one's robustness, aggregation and curves are studied.
        store: keeps the scores; a second run with one new detector scores only that.
        workers: threads.
        n_boot: resamples for the intervals.
        progress: called with the number of items done; `steps` says how many there will be.

    Returns:
        `detectors`, `sets`, and `cells`, set -> detector -> metrics, `verdicts` and `videos`, of how many there are (a
        detector of clips is measured on videos with as many faces as it needs); of the first detector `reliability`,
        `curves` (set -> undecided, wrong), `robustness` and `aggregation`; `joined`, what joining the detectors gains.

    Raises:
        UsageError: two detectors of one name and version.
        DataError: a set that cannot be read.
    """
    names = [f"{scanner.detector.card.name} {scanner.detector.card.version}" for scanner in scanners]
    refuse_twice(names, "detectors")
    manifests = {one.name: one.manifest(folder) for one in sets}
    scored = {
        one.name: {
            name: score(manifests[one.name], scanner, workers, progress, store=store)
            for name, scanner in zip(names, scanners, strict=True)
        }
        for one in sets
    }
    first, labelled = names[0], [one.name for one in sets if manifests[one.name].label.nunique() == 2]
    return {
        "schema": SCHEMA,
        "n_boot": n_boot,
        "detectors": {
            name: {
                "sha256": scanner.detector.info.sha256,
                "kind": scanner.detector.card.kind,
                "frames": scanner.detector.card.frames,
                "training_data": scanner.detector.card.training_data,
                "sample": str(scanner.plan),
                "fpr": scanner.rule.fpr if scanner.rule.thresholds else None,
            }
            for name, scanner in zip(names, scanners, strict=True)
        },
        "sets": {one.name: _about(one, manifests[one.name]) for one in sets},
        "cells": {one.name: {name: _cell(scored[one.name][name], n_boot) for name in names} for one in sets},
        "curves": {name: _curve(scored[name][first]) for name in labelled},
        "reliability": _pairs([scored[name][first] for name in labelled]),
        "robustness": {
            one.name: _robustness(manifests[one.name], one.robustness, scanners[0], store, workers, n_boot, progress)
            for one in sets
            if one.robustness
        },
        "aggregation": _aggregation(
            {one.name: manifests[one.name] for one in sets if one.aggregation},
            scanners[0],
            store,
            workers,
            n_boot,
            progress,
        ),
        "joined": [
            joined({name: {d: _measurable(scored[name][d]) for d in some} for name in labelled}, n_boot)
            for some in _companies(names, scanners)
        ],
    }


def steps(sets: Sequence[DataSet], folder: Path, detectors: int) -> int:
    """How many items a benchmark of so many detectors looks at."""
    total = 0
    for one in sets:
        manifest = one.manifest(folder)
        studied = len(_some(manifest, one.robustness)) * (len(SUITE) + 1) if one.robustness else 0
        total += len(manifest) * (detectors + 2 * one.aggregation) + studied
    return total


def _about(one: DataSet, manifest: pd.DataFrame) -> dict[str, Any]:
    videos = manifest.drop_duplicates(["dataset", "label", "method", "compression", "video"])
    return {
        "source": one.source,
        "compression": one.compression or ", ".join(sorted(set(manifest.compression) - {""})) or "not stated",
        "items": len(manifest),
        "real": int((videos.label == 0).sum()),
        "fake": int((videos.label == 1).sum()),
    }


def _measurable(scored: Scored) -> pd.DataFrame:
    return scored.videos[scored.videos.faces >= scored.card.frames]


def _cell(scored: Scored, n_boot: int) -> dict[str, Any]:
    videos = _measurable(scored)
    _, groups = resampling_unit(videos)
    numbers = metrics(videos.label, videos.p_fake, groups, n_boot)
    return numbers | {"verdicts": verdicts(videos), "videos": int(scored.items.key.nunique())}


def _curve(scored: Scored) -> dict[str, list[float]]:
    undecided, wrong = undecided_against_wrong(scored.videos)
    return {"undecided": undecided.tolist(), "wrong": wrong.tolist()}


def _pairs(several: Sequence[Scored]) -> dict[str, list[float]]:
    """Labels and P(fake) of all labelled videos."""
    videos = pd.concat([scored.videos[["label", "p_fake"]] for scored in several]) if several else pd.DataFrame()
    return {str(name): videos[name].astype(float).tolist() for name in videos}


def _some(manifest: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many videos of either class, drawn once and for all."""
    rng = np.random.default_rng(0)
    key = manifest.groupby(["dataset", "label", "compression", "method", "video"], sort=False).ngroup()
    kept = [rng.permutation(key[manifest.label == label].unique())[:most] for label in sorted(set(manifest.label))]
    return manifest[key.isin(np.concatenate(kept))].reset_index(drop=True)


def _robustness(
    manifest: pd.DataFrame,
    most: int,
    scanner: Scanner,
    store: Store | None,
    workers: int,
    n_boot: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any]:
    rows = _some(manifest, most)
    clean = score(rows, scanner, workers, progress, store=store)
    return robustness(rows, scanner, clean, workers, n_boot, progress, store)


def _aggregation(
    manifests: Mapping[str, pd.DataFrame],
    scanner: Scanner,
    store: Store | None,
    workers: int,
    n_boot: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Any] | None:
    if not manifests or scanner.detector.card.kind != "frame":
        return None
    rows = pd.concat(manifests.values(), ignore_index=True)
    clean, flipped = (
        score(rows, Scanner(detector, MANY_FRAMES), workers, progress, store=store)
        for detector in (scanner.detector, mirrored(scanner.detector))
    )
    return {"sets": list(manifests), **aggregation(clean, flipped, n_boot)}


def _companies(names: Sequence[str], scanners: Sequence[Scanner]) -> list[list[str]]:
    """The detectors to join: those of single faces, which every set can feed; and all, on the sets that feed all."""
    frames = [name for name, scanner in zip(names, scanners, strict=True) if scanner.detector.card.kind == "frame"]
    everyone = list(names)
    return [
        some for some in ([frames] if frames != everyone else []) + [everyone] if len(some) > 1 and names[0] in some
    ]
