"""Splits that no group crosses: the data set's own where it has one, else stratified by class and method."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from facetell.data.layouts.base import components
from facetell.data.manifest import FAKE, LABEL_NAMES, REAL, check_leaks, origin
from facetell.errors import UsageError
from facetell.files import replacing
from facetell.report.text import count

FRACTIONS: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
DEV = ("dev", "val", "valid", "validation")  # what data sets call the split that chooses a training's weights
HELD_OUT = ("test", *DEV)  # splits that win over training when an official split leaks, and that shape no detector


def rows_in(manifest: pd.DataFrame, split: str) -> np.ndarray:
    """Which rows of a manifest a training learns from, or chooses its weights by, (N,) bool; never a test split's.

    A manifest without any split is for training as a whole. In any other, a row without a split was left out of all of
    them, because a held-out row has the same person or original. Capitals in a split's name mean nothing.

    Args:
        split: "train" or "dev".

    >>> rows = pd.DataFrame({"split": ["Train", "val", "test", ""]})
    >>> rows_in(rows, "train").tolist(), rows_in(rows, "dev").tolist()
    ([True, False, False, False], [False, True, False, False])
    >>> rows_in(rows[3:], "train").tolist()
    [True]
    """
    if split == "dev":
        return manifest.split.str.lower().isin(DEV).to_numpy()
    name = "train" if (manifest.split != "").any() else ""
    return (manifest.split.str.lower() == name).to_numpy()


def parse_fractions(text: str) -> dict[str, float]:
    """`train=0.8,val=0.1,test=0.1` as a mapping; the fractions are taken relative to their sum.

    >>> parse_fractions("train=3,test=1")
    {'train': 0.75, 'test': 0.25}

    Raises:
        UsageError: not of that form.
    """
    try:
        parts = [part.split("=") for part in text.split(",")]
        found = {name.strip(): float(share) for name, share in parts}
    except ValueError as error:
        raise UsageError(f"{text!r} says no fractions.", "Write train=0.8,val=0.1,test=0.1.") from error
    total = sum(found.values())
    if not all(name and 0 < share < np.inf for name, share in found.items()) or len(found) < len(parts):
        raise UsageError(f"{text!r} says no fractions.", "Each split once, each share a number above 0.")
    return {name: share / total for name, share in found.items()}


def assign_splits(
    manifest: pd.DataFrame, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0, *, resplit: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """The manifest with its `split` filled in, and plain sentences on what was done.

    A data set with an official split keeps it, less the training rows whose group or original also stands in a held-out
    split: those get none. Rows that the official split does not name get none either.

    Args:
        manifest: as `facetell.data.manifest.manifest_of` gives it.
        fractions: split -> share of each class and method, for data sets without an official split.
        seed: of the order in which groups of equal size are dealt out.
        resplit: pass over official splits.

    Raises:
        LeakError: an official split that tears a group apart between held-out splits.
    """
    manifest = manifest.copy()
    notes = []
    for dataset, rows in manifest.groupby("dataset", sort=True):
        if resplit or (rows.split == "").all():
            dealt = rows.assign(split=_deal(rows, fractions, seed))
            manifest.loc[rows.index, "split"] = dealt.split
            notes += _lacking(str(dataset), dealt, fractions)
            continue
        kept, dropped = _without_leaks(rows)
        manifest.loc[rows.index, "split"] = kept
        if dropped:
            notes.append(
                f"{count(dropped, 'training row')} of {dataset} left out of the official split, for a group or an "
                "original shared with held-out rows. --resplit makes a split of its own instead."
            )
        unnamed = int((rows.split == "").sum())
        if unnamed:
            notes.append(f"{count(unnamed, 'row')} of {dataset} in no official split.")
        notes += _lacking(str(dataset), rows.assign(split=kept), sorted(set(rows.split) - {""}))
    if unknown := sorted({split for split in manifest.split if split.lower() not in ("", "train", *HELD_OUT)}):
        notes.append(
            f"No training uses the split {', '.join(unknown)}: it learns from train, and chooses by {', '.join(DEV)}."
        )
    check_leaks(manifest)
    return manifest, notes


def write_paper_protocol(
    manifest: pd.DataFrame, path: str | os.PathLike[str], fractions: Mapping[str, float] = FRACTIONS, seed: int = 0
) -> int:
    """The leaking way of much published work, for its reproduction only: copy the rarer class, then split at random.

    Writes a CSV with the columns `item` (row of the manifest) and `split`, in which a row may stand several times and
    in several splits, and returns how many groups stand in more than one.
    """
    rng = np.random.default_rng(seed)
    few, many = sorted((np.flatnonzero(manifest.label == label) for label in (REAL, FAKE)), key=len)
    copies = np.resize(few, len(many)) if len(few) else few
    rows = rng.permutation(np.concatenate([copies, many]))
    edges = np.round(np.cumsum(list(fractions.values())) * len(rows)).astype(int)
    names = np.array(list(fractions))[
        np.searchsorted(edges, np.arange(len(rows)), side="right").clip(max=len(edges) - 1)
    ]
    table = pd.DataFrame({"item": rows, "split": names})
    with replacing(path) as part:
        table.to_csv(part, index=False)
    groups = manifest.group.iloc[table["item"]].to_numpy()
    return int((table.split.groupby(groups).nunique() > 1).sum())


def _deal(rows: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> np.ndarray:
    """Each row's split: groups, the largest first, go where their classes and methods are most wanted."""
    key = _joined(rows)
    stratum = pd.factorize(rows.label.astype(str) + rows.method)[0]
    counts = np.zeros((key.max() + 1, stratum.max() + 1))
    np.add.at(counts, (key, stratum), 1)
    totals = counts.sum(axis=0)
    names, shares = np.array(list(fractions)), np.array(list(fractions.values()))
    missing = shares[:, None] * totals / totals  # share of each stratum that each split still lacks
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    chosen = np.zeros(len(counts), int)
    for group in order:
        part = counts[group] / totals
        gain = (missing**2 - (missing - part) ** 2) / shares[:, None]
        chosen[group] = gain.sum(axis=1).argmax()
        missing[chosen[group]] -= part
    return names[chosen[key]]


def _lacking(dataset: str, rows: pd.DataFrame, splits: Iterable[str]) -> list[str]:
    """A sentence for each split that lacks a class which the data set has."""
    present = set(rows.label)
    return [
        f"The split {split} of {dataset} holds no {name} item."
        for split in splits
        for label, name in LABEL_NAMES.items()
        if label in present and not ((rows.split == split) & (rows.label == label)).any()
    ]


def _joined(rows: pd.DataFrame) -> np.ndarray:
    """One number for all rows that groups and originals connect."""
    groups = "group " + rows.group
    joined = components(zip(groups, "family " + origin(rows), strict=True))
    return pd.factorize(groups.map(joined))[0]


def _without_leaks(rows: pd.DataFrame) -> tuple[pd.Series, int]:
    """The official split less the training rows that a held-out split also knows, and how many those are."""
    held = rows.split.str.lower().isin(HELD_OUT)
    key = pd.Series(_joined(rows), rows.index)
    leaking = ~held & (rows.split != "") & key.isin(key[held])
    return rows.split.mask(leaking, ""), int(leaking.sum())
