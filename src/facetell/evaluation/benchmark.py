"""Several detectors on several data sets in one run: what each is worth where, and the studies of the first of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from facetell.evaluation.aggregation import aggregation, mirrored
from facetell.evaluation.calibration import VIEWS
from facetell.evaluation.joining import joined
from facetell.evaluation.metrics import metrics
from facetell.evaluation.protocol import resampling_unit, undecided_against_wrong, verdicts
from facetell.evaluation.robustness import SUITE, robustness
from facetell.evaluation.scoring import Damage, Scored, are_stills, score
from facetell.evaluation.sources import DataSet, Found, refuse_twice, tell_apart
from facetell.evaluation.store import Store
from facetell.evaluation.views import Blended, views
from facetell.scanning import Scanner

SCHEMA = "facetell-benchmark/1"
MANY_FRAMES = "uniform:32"  # the plan of the study of aggregation
VIDEO = ["dataset", "label", "compression", "method", "video"]  # what tells one video of a manifest from another


@dataclass(frozen=True, slots=True)
class Contender:
    """A detector; or one network in several files, each trained on other data: a set gets one not trained on it."""

    scanners: tuple[Scanner, ...]

    @property
    def name(self) -> str:
        card = self.scanners[0].detector.card
        return f"{card.name} {card.version}"

    def on(self, one: DataSet) -> Scanner | None:
        """The first that was not trained on the very videos of a set; None if all were."""
        kept = (each for each in self.scanners if not one.seen_by(each.detector.card.training_data))
        return next(kept, None)


@dataclass(frozen=True, slots=True)
class _Run:
    """How everything is scored and resampled."""

    store: Store | None
    workers: int
    n_boot: int
    progress: Callable[[int], None] | None
    device: str

    def score(self, manifest: pd.DataFrame, scanner: Scanner, damage: Damage | None = None) -> Scored:
        return score(manifest, scanner, self.workers, self.progress, damage, self.store)


def benchmark(
    sets: Sequence[DataSet],
    found: Mapping[str, Found],
    contenders: Sequence[Contender],
    store: Store | None = None,
    *,
    workers: int = 1,
    n_boot: int = 1000,
    progress: Callable[[int], None] | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Every detector on every set, on video level, as plain JSON types.

    Args:
        sets: what to measure on.
        found: what each set holds, by its name.
        contenders: the detectors; the first one's robustness, aggregation, views and curves are studied.
        store: keeps the scores; a second run with one new detector scores only that.
        workers: threads.
        n_boot: resamples for the intervals.
        progress: called with the number of items done; `steps` says how many there will be.
        device: an ONNX Runtime provider, for the mirrored detector of the study of aggregation.

    Returns:
        `detectors`, `sets`, and `cells`, set -> detector -> metrics, `verdicts`, `videos`, of how many there are (a
        detector of clips is measured on videos with as many faces as it needs), and `own`, whether it was trained on
        others of the same collection; None where it was trained on these. Of the first detector `reliability`, `curves`
        (set -> undecided, wrong), `robustness`, `aggregation` and `views`, either with `none`, the reason, where it
        could not be studied; `joined`, what joining the detectors gains.

    Raises:
        UsageError: two detectors of one name and version.
    """
    run = _Run(store, workers, n_boot, progress, device)
    names = [contender.name for contender in contenders]
    refuse_twice(names, "detectors")
    found = dict(zip(found, tell_apart(list(found.values())), strict=True))  # the study of aggregation joins them
    manifests = {name: each.manifest for name, each in found.items()}
    of = {one.name: {c.name: scanner for c in contenders if (scanner := c.on(one))} for one in sets}
    scored = {
        name: {d: run.score(_long_enough(manifests[name], scanner), scanner) for d, scanner in scanners.items()}
        for name, scanners in of.items()
    }
    first = {name: scanners[names[0]] for name, scanners in of.items() if names[0] in scanners}
    of_one_file = [name for name, scanner in first.items() if scanner is contenders[0].scanners[0]]
    labelled = [name for name in first if manifests[name].label.nunique() == 2 and len(scored[name][names[0]].videos)]
    return {
        "schema": SCHEMA,
        "n_boot": n_boot,
        "detectors": {contender.name: _described(contender) for contender in contenders},
        "sets": {one.name: _about(one, found[one.name]) for one in sets},
        "cells": {
            one.name: {d: _cell(scored[one.name].get(d), one, manifests[one.name], n_boot) for d in names}
            for one in sets
        },
        "curves": {name: _curve(scored[name][names[0]]) for name in labelled},
        "reliability": _pairs([scored[name][names[0]] for name in labelled]),
        "robustness": {
            one.name: _robustness(manifests[one.name], one.robustness, first[one.name], run)
            for one in sets
            if one.robustness and one.name in first
        },
        "aggregation": _aggregation(
            {one.name: manifests[one.name] for one in sets if one.aggregation and one.name in of_one_file},
            contenders[0],
            run,
        ),
        "views": _views(
            {name: scored[name][names[0]] for name in labelled if name in of_one_file},
            {name: manifests[name] for name in of_one_file if set(manifests[name].label) == {0}},
            contenders[0],
            run,
        ),
        "joined": [
            _joined({name: scored[name] for name in labelled}, {one.name: one.source for one in sets}, some, n_boot)
            for some in _companies(contenders)
        ],
    }


def steps(sets: Sequence[DataSet], found: Mapping[str, Found], contenders: Sequence[Contender]) -> int:
    """How many items a benchmark of these detectors looks at."""
    lead = contenders[0]
    manifests = {one.name: found[one.name].manifest for one in sets}
    scanners = [(one.name, scanner) for one in sets for each in contenders if (scanner := each.on(one))]
    total = sum(len(_long_enough(manifests[name], scanner)) for name, scanner in scanners)
    damaged = [_some(manifests[one.name], one.robustness) for one in sets if one.robustness and lead.on(one)]
    total += sum(map(len, damaged)) * (len(SUITE) + 1)
    of_one_file = [one for one in sets if lead.on(one) is lead.scanners[0]]
    pooled = [manifests[one.name] for one in of_one_file if one.aggregation]
    total += 2 * sum(map(len, pooled)) * _can_be_pooled(pooled, lead)
    classes = {one.name: set(manifests[one.name].label) for one in of_one_file}
    if _has_views(lead) and {0, 1} in classes.values():
        total += 2 * sum(len(manifests[name]) for name, labels in classes.items() if labels == {0})
    return total


def _described(contender: Contender) -> dict[str, Any]:
    scanner = contender.scanners[0]
    return {
        "kind": scanner.detector.card.kind,
        "frames": scanner.detector.card.frames,
        "sample": str(scanner.plan),
        "fpr": scanner.rule.fpr if scanner.rule.thresholds else None,
        "files": [
            {"sha256": each.detector.info.sha256, "training_data": each.detector.card.training_data}
            for each in contender.scanners
        ],
    }


def _about(one: DataSet, found: Found) -> dict[str, Any]:
    manifest = found.manifest
    videos = manifest.drop_duplicates(VIDEO)
    return {
        "source": one.source,
        "compression": one.compression or ", ".join(sorted(set(manifest.compression) - {""})) or "not stated",
        "items": len(manifest),
        "missing": len(found.missing),
        "real": int((videos.label == 0).sum()),
        "fake": int((videos.label == 1).sum()),
    }


def _long_enough(manifest: pd.DataFrame, scanner: Scanner) -> pd.DataFrame:
    """Without stills of videos of which there are fewer than one score of the detector needs."""
    enough = manifest.groupby(VIDEO).path.transform("size") >= scanner.detector.card.frames
    return manifest[~are_stills(manifest) | enough].reset_index(drop=True)


def _cell(scored: Scored | None, one: DataSet, manifest: pd.DataFrame, n_boot: int) -> dict[str, Any] | None:
    if scored is None:
        return None
    videos = scored.videos
    _, groups = resampling_unit(videos)
    numbers = metrics(videos.label, videos.p_fake, groups, n_boot, logits=scored.calibrated(videos))
    return numbers | {
        "verdicts": verdicts(videos),
        "videos": len(manifest.drop_duplicates(VIDEO)),
        "own": one.of_source(scored.card.training_data),
    }


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
    key = manifest.groupby(VIDEO, sort=False).ngroup()
    kept = [rng.permutation(key[manifest.label == label].unique())[:most] for label in sorted(set(manifest.label))]
    return manifest[key.isin(np.concatenate(kept))].reset_index(drop=True)


def _robustness(manifest: pd.DataFrame, most: int, scanner: Scanner, run: _Run) -> dict[str, Any]:
    rows = _some(manifest, most)
    clean = run.score(rows, scanner)
    return robustness(rows, scanner, clean, run.workers, run.n_boot, run.progress, run.store)


def _can_be_pooled(manifests: Collection[pd.DataFrame], contender: Contender) -> bool:
    """Whether the study of aggregation has a detector of single faces, and real and fake videos."""
    labels = {label for manifest in manifests for label in manifest.label}
    return len(labels) == 2 and contender.scanners[0].detector.card.kind == "frame"


def _aggregation(manifests: Mapping[str, pd.DataFrame], contender: Contender, run: _Run) -> dict[str, Any]:
    if not _can_be_pooled(manifests.values(), contender):
        return {"none": "it takes a detector of single faces, and real and fake videos that it was not trained on"}
    detector = contender.scanners[0].detector
    rows = pd.concat(manifests.values(), ignore_index=True)
    other_side = mirrored(detector, run.device)
    clean, flipped = (run.score(rows, Scanner(each, MANY_FRAMES)) for each in (detector, other_side))
    return {"sets": list(manifests), **aggregation(clean, flipped, run.n_boot)}


def _has_views(contender: Contender) -> bool:
    card = contender.scanners[0].detector.card
    return card.kind == "frame" and card.parts.keys() >= set(VIEWS)


def _views(
    development: Mapping[str, Scored], reals: Mapping[str, pd.DataFrame], contender: Contender, run: _Run
) -> dict[str, Any]:
    if not (_has_views(contender) and development and reals):
        return {"none": f"it takes sets of both classes, sets of real faces, and views ({', '.join(VIEWS)})"}
    scanner = contender.scanners[0]
    seen, blended = (
        {name: run.score(manifest, scanner, damage) for name, manifest in reals.items()} for damage in (None, Blended())
    )
    return views(scanner.detector.card, list(development.values()), seen, blended)


def _joined(
    scored: Mapping[str, Mapping[str, Scored]], sources: Mapping[str, str], some: Sequence[str], n_boot: int
) -> dict[str, Any]:
    able = {name: of for name, of in scored.items() if of.keys() >= set(some)}
    study = joined({name: {d: of[d].videos for d in some} for name, of in able.items()}, sources, n_boot)
    return study | {"detectors": list(some), "left_out": [name for name in scored if name not in study["sets"]]}


def _companies(contenders: Sequence[Contender]) -> list[list[str]]:
    """The detectors to join: those of single faces, which every set can feed; the first with those of clips; all."""
    single = [c.name for c in contenders if c.scanners[0].detector.card.kind == "frame"]
    names = [c.name for c in contenders]
    clips = [names[0], *(name for name in names if name not in single)]
    several = [some for some in (single, clips, names) if len(some) > 1 and some[0] == names[0]]
    return [some for number, some in enumerate(several) if some not in several[:number]]
