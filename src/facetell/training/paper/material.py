"""What the models of the paper are trained and scored on, out of folders of data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from facetell.data.cache import FaceCache
from facetell.data.layouts import read
from facetell.data.layouts.base import PICTURES
from facetell.data.manifest import FAKE, REAL, manifest_of, origin
from facetell.data.prepare import Settings, prepare
from facetell.errors import DataError, LayoutError
from facetell.faces.align import Geometry
from facetell.networks.meso import SIZE
from facetell.training.clip import PLAN, Runs, runs_from
from facetell.training.faces import Crops, crops_of

PAPER_FRAME = "at:150"
REAL_SHARE = 0.2  # of the sample of crops, as in DFDC itself
BORDER = 8  # pixels around the crops, by which trainings move them at most


@dataclass(frozen=True, eq=False)
class Sources:
    """What was found: manifests of clips with both classes, of fake clips alone, of face crops, of other stills."""

    clips: pd.DataFrame
    scored: pd.DataFrame
    crops: pd.DataFrame
    stills: pd.DataFrame
    weights: list[Path] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def digest(self) -> str:
        """A SHA-256 that is another one where other rows or weight files were found."""
        tables = (self.clips, self.scored, self.crops, self.stills)
        found = [*(table.to_csv(index=False) for table in tables), *map(str, self.weights)]
        return hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()


def find(folders: Sequence[Path], crops: int, seed: int) -> Sources:
    """Data sets and MesoNet weight files in these folders, or one level below them.

    Args:
        crops: size of the sample of face crops, one in five of them real; all where there are fewer.

    Raises:
        DataError: no clips, or no face crops, with both classes; a file that is no data set.
        FileMissingError: nothing in one of these places.
    """
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in ("clips", "scored", "crops", "stills")}
    weights, unused = [], []
    for folder, rows in _data_sets(folders):
        files = sorted(folder.glob("*.h5"))
        weights += files
        if rows is None:
            unused += [] if files else [folder.name]
        elif (role := _role(rows)) is None:
            unused.append(folder.name)
        else:
            found[role].append(rows)
    tables = {name: pd.concat(parts, ignore_index=True) if parts else manifest_of([]) for name, parts in found.items()}
    for name, what in (("clips", "video clips"), ("crops", "face crops (DFDC's layout)")):
        if set(tables[name].label) != {REAL, FAKE}:
            raise DataError(f"There are no {what} with real and fake ones in {', '.join(map(str, folders))}.")
    tables["crops"] = _sample(tables["crops"], crops, seed)
    return Sources(**tables, weights=weights, unused=unused)


def _data_sets(folders: Sequence[Path]) -> Iterator[tuple[Path, pd.DataFrame | None]]:
    for folder in folders:
        try:
            yield folder, manifest_of(read(folder).items)
        except LayoutError:
            if not folder.is_dir():
                raise
            for child in sorted(path for path in folder.iterdir() if path.is_dir()):
                try:
                    yield child, manifest_of(read(child).items)
                except LayoutError:
                    yield child, None


def _role(rows: pd.DataFrame) -> str | None:
    """What a data set is used as; None for real clips without fakes."""
    names = rows.member.where(rows.member != "", rows.path)
    if names.str.lower().str.endswith(tuple(PICTURES)).all():
        return "crops" if rows.crop.all() else "stills"
    if (rows.label == REAL).all():
        return None
    return "clips" if rows.label.nunique() == 2 else "scored"


def by_original(rows: pd.DataFrame) -> np.ndarray:
    """Which rows (N,) bool have no group but their original, because nobody says who is in them."""
    return np.asarray(rows.group == origin(rows))


def _sample(rows: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """Real crops at random, and fakes, those made from them first: in DFDC, too, fakes lie beside their originals."""
    reals = round(size * REAL_SHARE)
    drawn = rows.sample(frac=1, random_state=seed)
    real = drawn[drawn.label == REAL].head(reals)
    fake = drawn[drawn.label == FAKE]
    fake = fake.iloc[np.argsort(~fake.original.isin(real.video).to_numpy(), kind="stable")].head(size - reals)
    return pd.concat([real, fake]).sort_index().reset_index(drop=True)


class Material:
    """Runs and crops of the sources, cut once and kept; the caches lie in `folder`."""

    def __init__(self, sources: Sources, folder: Path, say: Callable[[str], None]) -> None:
        self.sources, self.folder, self.say = sources, folder, say
        self.runs = cache(self._runs)
        self.scored_runs = cache(self._scored_runs)
        self.crops = cache(self._crops)
        self.paper_frames = cache(self._paper_frames)

    def _runs(self, scale: float) -> Runs:
        """One run of 20 faces of every clip that has one: of its first track that is long enough."""
        return _first_of_each(runs_from([self._cache("clips", PLAN)], "train", Geometry("landmarks", scale)))

    def _scored_runs(self, scale: float) -> Runs:
        cache = self._cache("scored", PLAN)
        return _first_of_each(runs_from([cache], "train", Geometry("landmarks", scale), both=False))

    def _crops(self, scale: float) -> Crops:
        cache = self._cache("crops", PLAN)
        return crops_of([cache], "train", Geometry("landmarks", scale), SIZE, border=BORDER)

    def _paper_frames(self, scale: float) -> Crops | None:
        """The largest face in frame 150, counted from 0, of every long enough clip of other sets than the crops.

        None unless of both classes.
        """
        cache = self._cache("clips", PAPER_FRAME)
        clip = cache.faces["item"]
        other = ~cache.manifest.dataset.isin(self.sources.crops.dataset)
        faces = cache.faces[other[clip].to_numpy() & cache.faces.p0x.notna()]
        faces = faces.loc[faces.eyes_px.fillna(0).groupby(faces["item"]).idxmax()].assign(pair=-1)
        if set(cache.manifest.label[faces["item"]]) != {REAL, FAKE}:
            return None
        chosen = FaceCache(cache.folder, cache.settings, cache.manifest, faces.reset_index(drop=True))
        return crops_of([chosen], "train", Geometry("landmarks", scale), SIZE)

    def _cache(self, name: str, plan: str) -> FaceCache:
        place = self.folder / f"{name}-{plan.replace(':', '-').replace('@', '-')}"
        rows = getattr(self.sources, name).assign(split="train")  # protocols deal the rows out later
        if not (place / "faces.parquet").is_file():
            self.say(f"cutting the faces of {len(rows)} {name} ({plan})")
        prepare(rows, place, Settings(plan=plan), workers=1)
        return FaceCache.open(place)


def _first_of_each(runs: Runs) -> Runs:
    key = runs.videos.dataset + ":" + runs.videos.video + ":" + runs.videos.compression
    return runs.take(np.flatnonzero(~key.duplicated()))
