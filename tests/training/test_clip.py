"""Detectors of runs of faces, from a cache of tracks to a file that scores."""

from __future__ import annotations

import cv2
import lightgbm
import numpy as np
import pytest
import torch
from torch import nn

from facetell.data.cache import FaceCache
from facetell.data.manifest import Item, manifest_of
from facetell.data.prepare import Settings, prepare
from facetell.detectors import load_detector
from facetell.errors import TrainingError, UsageError
from facetell.networks.statistics import NAMES, Statistics
from facetell.training.boosting import TASK as LIGHTGBM
from facetell.training.boosting import BoostingRecipe
from facetell.training.clip import CNN3D, GRU, ClipRecipe, grey_levels, runs_from
from facetell.training.fit import average, fit
from tests import media
from tests.training.made import face_cache

RECIPE = ClipRecipe(steps=4, batch=2, learning_rate=1e-3, warmup=1, validate_every=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Clips, of which 24 frames are taken: the fakes are blurred. The splits are those of `facetell data prepare`."""
    folder = tmp_path_factory.mktemp("clips")
    items = []
    for split in ("train", "val", "test"):
        for label in (0, 1):
            path = folder / f"{split}-{label}.mp4"
            frames = list(media.portrait_frames(120, size=(160, 160)))
            media.write_video(path, iter([cv2.GaussianBlur(f, (9, 9), 2) for f in frames] if label else frames))
            items.append(Item(str(path), label, "made", split=split, video=path.stem))
    prepare(manifest_of(items), folder / "cache", Settings(plan="clips:1x24@5"), workers=1)
    return FaceCache.open(folder / "cache")


@pytest.mark.parametrize("task", [CNN3D, GRU])
def test_it_trains_and_its_file_scores_as_the_network_does(task, cache, tmp_path):
    run = fit(task, RECIPE, [cache], tmp_path)
    detector = load_detector(task.export(run, [cache]))
    runs = runs_from([cache], "dev", RECIPE.geometry)
    assert runs.images.shape == (4, 20, 100, 100, 3)  # 24 faces: two runs, the second ends with the track
    with torch.inference_mode():
        expected = run.module.network(torch.from_numpy(grey_levels(runs.images))).numpy()
    np.testing.assert_allclose(detector.score(runs.images).logits, expected, atol=1e-4)
    assert detector.card.kind == ("clip" if task is CNN3D else "series")
    dev = cache.manifest.assign(dataset="other").replace({"split": {"train": "test"}})
    measured_on = FaceCache(cache.folder, cache.settings, dev, cache.faces)
    mean = average(task, [run.out / "best.ckpt"] * 2, [measured_on], tmp_path / "mean")
    assert mean.metrics == run.metrics
    card = load_detector(task.export(mean, [measured_on])).card
    assert card.training_data.startswith("made, the train split")
    assert next(iter(card.metrics)).startswith("other, dev split")


def test_a_cache_without_tracks(tmp_path):
    stills = face_cache(tmp_path, per_class=2)
    stills.settings["plan"] = "clips:1x20@5"
    with pytest.raises(TrainingError, match="'train' holds no track of 20 faces"):
        CNN3D.data(RECIPE, [stills])


def test_no_run_spans_two_clips_where_a_face_was_lost(cache):
    settings = {**cache.settings, "plan": "clips:2x12@5"}
    whole = FaceCache(cache.folder, settings, cache.manifest, cache.faces)
    rest = cache.faces[cache.faces.frame != 3].reset_index(drop=True)
    lost = FaceCache(cache.folder, settings, cache.manifest, rest)
    faces = runs_from([whole], "train", RECIPE.geometry, frames=12).images[:2]
    left = runs_from([lost], "train", RECIPE.geometry, frames=12)
    assert left.videos.video.tolist() == cache.manifest.video[cache.manifest.split == "train"].tolist()
    np.testing.assert_array_equal(left.images[0], faces[1])


@pytest.mark.parametrize("task", [CNN3D, GRU, LIGHTGBM])
@pytest.mark.parametrize("plan", ["uniform:20", "clips:1x20@4"])
def test_frames_that_lie_otherwise_than_in_a_scan_are_refused(task, plan, cache, tmp_path):
    other = FaceCache(cache.folder, {**cache.settings, "plan": plan}, cache.manifest, cache.faces)
    with pytest.raises(TrainingError, match=f"--sample {plan}, and a scan takes clips:1x20@5"):
        fit(task, FEW if task is LIGHTGBM else RECIPE, [other], tmp_path)


def test_options_that_boosted_trees_do_not_use_are_refused(cache, tmp_path):
    with pytest.raises(UsageError, match="lightgbm does not use --resume, --max-minutes, --device, --workers"):
        fit(LIGHTGBM, FEW, [cache], tmp_path, resume=True, max_minutes=1.0, device="cpu", workers=1)


@pytest.mark.parametrize("background", ["mean", "green"])
@pytest.mark.parametrize("task", [CNN3D, GRU])
def test_what_is_outside_the_face_changes_nothing(task, background):
    recipe = ClipRecipe(scale=0.7, background=background)
    crops = torch.rand(2, 20, 1, 100, 100, generator=torch.Generator().manual_seed(0)) * 255
    other = crops.clone()
    other[..., :10, :] = 7.0
    other[..., :15] = 200.0
    plain, masked = (task.module(r).eval() for r in (ClipRecipe(scale=0.7), recipe))
    with torch.inference_mode():
        torch.testing.assert_close(masked.network(crops), masked.network(other))
        assert not torch.allclose(plain.network(crops), plain.network(other), atol=1e-6)


FEW = BoostingRecipe(steps=12, learning_rate=0.2, leaves=3, leaf_runs=1, features=1.0)


@pytest.mark.parametrize("background", ["keep", "mean"])
def test_boosted_trees_in_their_file_score_as_lightgbm_does(cache, tmp_path, background):
    recipe = BoostingRecipe(**{**FEW.__dict__, "background": background})
    run = fit(LIGHTGBM, recipe, [cache], tmp_path)
    path = LIGHTGBM.export(run, [cache])
    runs = runs_from([cache], "dev", recipe.geometry)
    booster = lightgbm.Booster(model_file=tmp_path / "trees.txt")
    with torch.inference_mode():
        statistics = next(module for module in run.module.network.modules() if isinstance(module, nn.Sequential))[0]
        features = statistics(torch.from_numpy(grey_levels(runs.images))).numpy()
    expected = np.asarray(booster.predict(features, raw_score=True))
    logits = load_detector(path).score(runs.images).logits
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert logits[runs.labels == 1].min() > logits[runs.labels == 0].max()
    for name in ("recipe.toml", "curves.csv", "curves.png", "importances.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_runs_that_no_tree_can_split_are_refused(cache, tmp_path):
    with pytest.raises(TrainingError, match=r"4 training runs are too few for leaf_runs = 8"):
        fit(LIGHTGBM, BoostingRecipe(**{**FEW.__dict__, "leaf_runs": 8}), [cache], tmp_path)
    assert not (tmp_path / "trees.txt").exists()


def test_boosted_trees_come_out_alike_twice(cache, tmp_path):
    first, second = (fit(LIGHTGBM, FEW, [cache], tmp_path / name) for name in "ab")
    assert (tmp_path / "a" / "trees.txt").read_bytes() == (tmp_path / "b" / "trees.txt").read_bytes()
    assert first.metrics == second.metrics


def test_statistics_say_what_they_are_called():
    rows, columns = np.mgrid[:100, :100]
    checks = ((rows + columns) % 2 * 60 + 100).astype(np.float32)  # the finest pattern there is
    waves = np.sin(columns / 15).astype(np.float32) * 30 + 130
    still = torch.from_numpy(np.stack([np.stack([p] * 20) for p in (checks, waves)]))[:, :, None]
    fine, coarse = (dict(zip(NAMES, row, strict=True)) for row in Statistics(1.1)(still).tolist())
    assert fine["mean"] > 10 * coarse["mean"]
    assert fine["mean"] == pytest.approx(fine["percentile 50"], rel=0.01)  # every pixel differs from its blur alike
    assert fine["spectrum band 8"] > fine["spectrum band 1"]
    assert coarse["spectrum band 8"] < coarse["spectrum band 1"]
    assert fine["change of the picture"] == fine["change of mean"] == 0
    assert fine["share of the mouth"] == pytest.approx(1, rel=0.05)
