"""Detectors of runs of faces, from a cache of tracks to a file that scores."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from facetell.data.cache import FaceCache
from facetell.data.manifest import Item, manifest_of
from facetell.data.prepare import Settings, prepare
from facetell.detectors import load_detector
from facetell.errors import TrainingError
from facetell.training.clip import CNN3D, GRU, ClipRecipe, grey_levels, runs_from
from facetell.training.fit import fit
from tests import media
from tests.training.made import face_cache

RECIPE = ClipRecipe(steps=4, batch=2, learning_rate=1e-3, warmup=1, validate_every=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Clips of 24 frames: the fakes are blurred."""
    folder = tmp_path_factory.mktemp("clips")
    items = []
    for split in ("train", "dev"):
        for label in (0, 1):
            path = folder / f"{split}-{label}.mp4"
            frames = list(media.portrait_frames(24, size=(160, 160)))
            media.write_video(path, iter([cv2.GaussianBlur(f, (9, 9), 2) for f in frames] if label else frames))
            items.append(Item(str(path), label, "made", split=split, video=path.stem))
    prepare(manifest_of(items), folder / "cache", Settings(plan="uniform:24"), workers=1)
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


def test_a_cache_without_tracks(tmp_path):
    with pytest.raises(TrainingError, match="'train' holds no track of 20 faces"):
        CNN3D.data(RECIPE, [face_cache(tmp_path, per_class=2)])
