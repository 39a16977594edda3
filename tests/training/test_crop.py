"""The MesoNet-style detector from a cache to a file that scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facetell.data.cache import FaceCache
from facetell.detectors import load_detector
from facetell.errors import TrainingError
from facetell.faces.align import crop_face
from facetell.training.binary import thresholds_of
from facetell.training.crop import MESO, MesoRecipe
from facetell.training.faces import BalancedCrops, EveryCrop, crops_of, normalised
from facetell.training.fit import average, fit
from tests.training.made import face_cache

RECIPE = MesoRecipe(
    steps=30, batch=8, learning_rate=3e-3, warmup=2, validate_every=15, widths=(4, 4, 4, 4), hidden=4, damaged=0.2
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return face_cache(tmp_path_factory.mktemp("cache"))


def test_it_learns_and_its_file_scores_as_the_network_does(cache, tmp_path):
    run = fit(MESO, RECIPE, [cache], tmp_path)
    path = MESO.export(run, [cache])
    assert run.metrics["auc"] > 0.9
    detector = load_detector(path)
    dev = crops_of([cache], "dev", RECIPE.geometry, 150)
    logits = detector.score(dev.images).logits
    (measured,) = detector.card.metrics.values()
    assert measured["auc"] == pytest.approx(run.metrics["auc"])
    assert measured["n_real"] == measured["n_fake"] == 12
    assert detector.card.provisional
    assert "| auc |" in path.with_suffix(".md").read_text()
    five = next(t for t in detector.card.thresholds if t.false_positive_rate == 0.05)
    assert five.logit is None  # twelve real faces cannot show 5 %
    assert logits[dev.labels == 1].mean() > logits[dev.labels == 0].mean()


def test_a_mean_is_measured_on_one_data_set_and_says_which_other_it_was_trained_on(cache, tmp_path):
    run = fit(MESO, RECIPE, [cache], tmp_path)
    dev = cache.manifest.assign(dataset="other").replace({"split": {"train": "test"}})
    measured_on = FaceCache(cache.folder, cache.settings, dev, cache.faces)
    mean = average(MESO, [run.out / "best.ckpt"] * 2, [measured_on], tmp_path / "mean")
    assert mean.metrics == run.metrics
    card = load_detector(MESO.export(mean, [measured_on])).card
    assert card.training_data.startswith("made, the train split")
    assert next(iter(card.metrics)).startswith("other, dev split")


def test_a_resumed_run_equals_an_uninterrupted_one(cache, tmp_path, monkeypatch):
    def stop(self, step, plain=BalancedCrops.__getitem__):
        if step == 20:
            raise InterruptedError
        return plain(self, step)

    whole = fit(MESO, RECIPE, [cache], tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(BalancedCrops, "__getitem__", stop)
        with pytest.raises(InterruptedError):
            fit(MESO, RECIPE, [cache], tmp_path / "cut")
    resumed = fit(MESO, RECIPE, [cache], tmp_path / "cut", resume=True)
    for name, value in whole.module.state_dict().items():
        assert value.equal(resumed.module.state_dict()[name]), name


def test_one_class_and_no_split(tmp_path):
    with pytest.raises(TrainingError, match="'train' holds FAKE faces only"):
        MESO.data(RECIPE, [face_cache(tmp_path / "fakes", labels=(1,))])
    with pytest.raises(TrainingError, match="'train' holds no faces"):
        MESO.data(RECIPE, [])


def test_batches_are_balanced_and_follow_from_the_step(cache):
    crops = crops_of([cache], "train", RECIPE.geometry, 150, border=8)
    batches = BalancedCrops(replace(RECIPE, seed=3, damaged=0.5), crops)
    one, again, other = batches[5], batches[5], batches[6]
    assert one["crops"].shape == (8, 3, 150, 150)
    assert one["label"].sum() == 4
    np.testing.assert_array_equal(one["crops"], again["crops"])
    assert not np.array_equal(one["crops"], other["crops"])


def test_crops_move_as_far_as_the_recipe_says(cache):
    border = crops_of([cache], "train", RECIPE.geometry, 150, border=8)
    ways = normalised(np.stack([border.inner(i) for i in range(len(border.labels))]))
    ways = {crop.tobytes() for crop in np.ascontiguousarray(np.concatenate([ways, ways[..., ::-1]]))}
    for shift, still in ((0, True), (8, False)):
        data = MESO.batches(replace(RECIPE, shift=shift, damaged=0.0), border, border)
        assert all(crop.tobytes() in ways for crop in np.ascontiguousarray(data.train[0]["crops"])) == still


def test_validation_sees_what_a_scan_sees(cache):
    with_border = crops_of([cache], "dev", RECIPE.geometry, 150, border=8)
    seen = EveryCrop(with_border)[0]["crops"][3].transpose(1, 2, 0) * 127.5 + 127.5
    x, y, w, h = cache.faces[["box_x", "box_y", "box_w", "box_h"]].to_numpy()[27]
    scanned = crop_face(cache.read(27), cache.points(27), (x, y, w, h), RECIPE.geometry, 150)
    assert np.abs(seen - scanned).mean() < 1.0


@pytest.mark.parametrize("top", [(), (0.9,), (0.9, 0.8, 0.7)])
def test_thresholds_hold_their_rate_where_logits_tie(top):
    logits = np.array([*top, *[0.3] * (60 - len(top)), *[-0.2] * 40]).repeat(3)
    for threshold in thresholds_of(logits, np.zeros(300), np.arange(300), "made"):
        assert threshold.logit is not None
        assert (logits >= threshold.logit).mean() <= threshold.false_positive_rate
        assert 0.3 < threshold.logit < 1


def test_thresholds_hold_their_rate():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=1000), np.arange(1000) % 2
    for threshold in thresholds_of(logits, labels, np.arange(1000), "made"):
        assert threshold.logit is not None
        assert threshold.n_real == 500
        assert (logits[labels == 0] >= threshold.logit).mean() == pytest.approx(threshold.false_positive_rate, abs=2e-3)


def test_thresholds_need_groups_not_faces():
    found = thresholds_of(np.arange(3000.0), np.zeros(3000), np.arange(3000) // 30, "made")
    assert [(t.logit, t.n_real) for t in found] == [(2850.0, 100), (None, 100)]
