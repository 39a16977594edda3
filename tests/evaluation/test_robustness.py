"""Degradations reach pictures and videos, repeat, and are held against the clean scores of the same items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facetell.data.manifest import Item, manifest_of
from facetell.errors import ForgeError, OutputError, UsageError
from facetell.evaluation.robustness import SUITE, Degradation, robustness
from facetell.evaluation.scoring import score
from facetell.evaluation.store import Store
from facetell.forge.presets import Preset
from facetell.scanning import Scanner
from tests import media
from tests.evaluation import made

DARKER = Degradation(Preset("half as bright", crf=12, steps=(lambda image, rng: image // 2,)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robustness")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> pd.DataFrame:
    return made.stills(folder)


@pytest.fixture(scope="module")
def scanner(folder: Path) -> Scanner:
    return Scanner(made.detector(folder))


def test_scores_drift_where_they_should(manifest: pd.DataFrame, scanner: Scanner) -> None:
    clean = score(manifest, scanner)
    result = robustness(manifest, scanner, clean, n_boot=50, suite={"darker": DARKER})["darker"]
    assert result["comparison"]["auc_a"] == result["comparison"]["auc_b"] == 1
    low, high = result["drift_fake"]["ci95"]
    assert low <= result["drift_fake"]["value"] <= high < result["drift_real"]["ci95"][0] < 0
    assert (result["drift_real"]["n"], result["lost"]) == (6, 0)


def test_one_class_has_drift_but_no_comparison(manifest: pd.DataFrame, scanner: Scanner) -> None:
    fakes = manifest[manifest.label == 1]
    result = robustness(fakes, scanner, score(fakes, scanner), n_boot=50, suite={"darker": DARKER})["darker"]
    assert result["comparison"] is None
    assert "one class" in result["notes"]["comparison"]
    assert result["drift_fake"]["value"] < -1
    assert result["drift_real"] == {"value": None, "ci95": None, "n": 0}


def test_a_video_is_damaged_too(portrait_clip: Path, scanner: Scanner) -> None:
    manifest = manifest_of([Item(str(portrait_clip), 0)])
    clean, dark = score(manifest, scanner), score(manifest, scanner, damage=DARKER)
    assert dark.videos.logit.tolist()[0] < clean.videos.logit.tolist()[0] - 1
    assert sorted(path.name for path in portrait_clip.parent.iterdir()) == ["portrait.mp4"]


def test_a_broken_video_is_counted(tmp_path: Path, scanner: Scanner) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    scored = score(manifest_of([Item(str(tmp_path / "text.mp4"), 0)]), scanner, damage=DARKER)
    assert scored.items.reason.tolist() == ["NotVideoError"]


@pytest.mark.parametrize("name", ["photo.jfif", "photo.mp4"])
def test_a_still_is_damaged_whatever_its_name(tmp_path: Path, scanner: Scanner, name: str) -> None:
    media.write_picture(tmp_path / "photo.jpg", made.portrait(1)).rename(tmp_path / name)
    manifest = manifest_of([Item(str(tmp_path / name), 1)])
    clean, dark = score(manifest, scanner), score(manifest, scanner, damage=DARKER)
    kept = score(manifest, scanner, damage=DARKER, store=Store(tmp_path / "store"))
    assert dark.videos.logit.tolist()[0] < clean.videos.logit.tolist()[0] - 1
    assert kept.videos.logit.tolist() == dark.videos.logit.tolist()


@pytest.mark.parametrize("error", [ForgeError, UsageError])
def test_an_item_that_cannot_be_damaged_is_counted_and_a_full_disk_ends_the_run(
    portrait_clip: Path, scanner: Scanner, error: type[Exception]
) -> None:
    @dataclass
    class Failing:
        error: type[Exception]
        description = "fails"

        def picture(self, image: np.ndarray, number: int) -> np.ndarray:
            raise self.error("no")

        def video(self, path: Path, folder: Path) -> Path:
            raise self.error("no")

    manifest = manifest_of([Item(str(portrait_clip), 0)])
    assert score(manifest, scanner, damage=Failing(error)).items.reason.tolist() == [error.__name__]
    with pytest.raises(OutputError):
        score(manifest, scanner, damage=Failing(OutputError))


@pytest.mark.parametrize("name", SUITE)
def test_every_degradation_changes_a_picture_the_same_way_twice(name: str) -> None:
    image = media.side_by_side([0])
    once, again = (SUITE[name].picture(image, 3) for _ in range(2))
    assert (once == again).all()
    assert once.shape != image.shape or (once != image).any()
    assert once.dtype == np.uint8


@pytest.mark.parametrize("name", ["CRF 40", "quarter size", "messaging", "mirrored"])
def test_degradations_write_videos_that_scan(name: str, portrait_clip: Path, scanner: Scanner, tmp_path: Path) -> None:
    assert scanner.scan(SUITE[name].video(portrait_clip, tmp_path)).p_fake is not None
