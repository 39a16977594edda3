"""The main detector's training: what is taught to which output, resumption, the file that comes out."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data.cache import FaceCache
from facetell.data.manifest import Item, manifest_of
from facetell.data.prepare import prepare
from facetell.detectors import Detector, load_detector
from facetell.errors import ManifestError, RecipeError, TrainingError
from facetell.evaluation.quantise import quantise
from facetell.forge.blend import Forged
from facetell.networks.frame import PARTS, mask_vote
from facetell.training.checkpoint import read_checkpoint, summary, write_checkpoint
from facetell.training.fit import Run, average, fit
from facetell.training.frame import TASK, FrameModule, FrameRecipe, ensemble
from facetell.training.pairs import Faces, TrainingPairs, ValidationFaces
from facetell.training.recipe import load_recipe
from tests import media

TINY = FrameRecipe(
    backbone="test_efficientnet",
    weights="none",
    size=64,
    batch=3,
    steps=4,
    warmup=1,
    validate_every=2,
    monitor="auc",
    mode="max",
    ema=0.9,
    checkpoint_minutes=0,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FaceCache:
    """Three pairs in each split: a face, and the same picture with its mouth turned negative."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    face = media.view(media.person(), (160, 160), (225, 120), 190)
    items = []
    for split in ("train", "dev"):
        for number in range(3):
            real = np.clip(face * rng.uniform(0.7, 1.2) + rng.normal(0, 3, face.shape), 0, 255).astype(np.uint8)
            fake = real.copy()
            fake[95:115, 65:95] = 255 - fake[95:115, 65:95]
            for label, picture in enumerate((real, fake)):
                path = folder / f"{split}-{label}-{number}.png"
                cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                original = f"{split}-0-{number}" if label else ""
                items.append(Item(str(path), label, "made", original=original, split=split, video=path.stem, crop=True))
    prepare(manifest_of(items), folder / "cache", workers=1)
    return FaceCache.open(folder / "cache")


@pytest.fixture(scope="module")
def trained(cache: FaceCache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(TASK, TINY, [cache], tmp_path_factory.mktemp("trained"), device="cpu")


def pairs(cache: FaceCache, **changes) -> TrainingPairs:
    return TrainingPairs(FrameRecipe(**{"size": 64, "batch": 4, **changes}), Faces([cache], train=True))


@pytest.mark.parametrize(
    ("kinds", "blend", "texture"),
    [((1.0, 0.0, 0.0), 1, None), ((0.0, 0.0, 1.0), None, 1), ((0.0, 1.0, 0.0), 1, 1)],
)
def test_each_kind_of_fake_teaches_its_own_logit(cache: FaceCache, kinds, blend, texture):
    batch = pairs(cache, kinds=kinds)[0]
    for name, taught in (("blend", blend), ("texture", texture)):
        real, fake = np.split(batch[name], 2)
        assert (real == 0).all()
        assert np.isnan(fake).all() if taught is None else (fake == taught).all()


def test_the_shares_of_the_kinds_move_evenly(cache: FaceCache):
    made = pairs(cache, kinds=(0.0, 0.0, 1.0), kinds_end=(1.0, 1.0, 0.0), redrawn=0.0)
    np.testing.assert_allclose(made.odds_of_kinds(0.0), [0, 0, 0, 1])
    np.testing.assert_allclose(made.odds_of_kinds(0.5), [0.25, 0, 0.25, 0.5])
    np.testing.assert_allclose(made.odds_of_kinds(1.0), [0.5, 0, 0.5, 0])
    assert np.isnan(made[0]["blend"][4:]).all()  # whole fakes teach nothing about blends
    assert not np.isnan(made[made.recipe.steps]["blend"]).any()
    with pytest.raises(TrainingError, match="shares of every kind"):
        pairs(cache, kinds=(0.0, 0.0, 0.0))


def test_alike_teaches_both_logits_everything(cache: FaceCache):
    batch = pairs(cache, kinds=(0.5, 0.0, 0.5), teach="alike", batch=8)[0]
    assert (batch["blend"] == np.repeat([0, 1], 8)).all()
    assert (batch["texture"] == np.repeat([0, 1], 8)).all()


def test_mixed_fakes_have_soft_labels_and_fainter_masks(cache: FaceCache):
    calm = {"strength": (0.0, 0.0), "h264": 0.0, "kinds": (0.0, 0.0, 1.0), "batch": 16}
    mixed, whole = pairs(cache, **calm, mixup=1.0)[0], pairs(cache, **calm)[0]
    labels = mixed["texture"][16:]
    assert ((labels > 0) & (labels < 1)).all()
    assert len(set(labels)) > 1
    assert (mixed["texture"][:16] == 0).all()
    assert mixed["masks"].max() < whole["masks"].max()


def test_swaps_take_the_face_of_the_same_pose(cache: FaceCache):
    made = pairs(cache, kinds=(1.0, 0.0, 0.0), swaps=1.0, strength=(0.0, 0.0), h264=0.0)
    batch = made[0]
    assert (batch["blend"][4:] == 1).all()
    assert np.isnan(batch["texture"][4:]).all()
    assert batch["masks"][4:].max(axis=(1, 2)).min() > 0.5
    face = int(made.reals[0])
    assert made._donor(face, np.random.default_rng(0)) != face


def test_the_same_step_gives_the_same_batch(cache: FaceCache):
    one, two, other = pairs(cache)[7], pairs(cache)[7], pairs(cache)[8]
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
    assert not np.array_equal(one["images"], other["images"])


def test_a_pair_differs_where_its_mask_is(cache: FaceCache):
    calm = {"strength": (0.0, 0.0), "h264": 0.0, "kinds": (0.0, 0.0, 1.0)}
    batch = pairs(cache, **calm, jitter_scale=0.0, jitter_turn=0.0, jitter_shift=0.0)[0]
    real, fake = np.split(batch["images"].astype(float), 2)
    difference = np.abs(real - fake).mean(axis=3)
    for mask, changed in zip(batch["masks"][4:], difference, strict=True):
        cells = cv2.resize(changed, (4, 4), interpolation=cv2.INTER_AREA)
        assert cells[mask > 0.5].min() > cells[mask == 0].max()
    assert (batch["masks"][:4] == 0).all()


def test_the_mask_is_reflected_beyond_the_border_as_the_picture_is(cache: FaceCache, monkeypatch):
    made = pairs(cache, strength=(0.0, 0.0), h264=0.0, kinds=(0.0, 0.0, 1.0))
    picture, points = made._read(int(made.reals[0]))
    altered = Forged(picture, 255 - picture, np.ones(picture.shape[:2], np.float32), "whole")
    aside = points + np.float32(picture.shape[0] / 2)  # half of the crop lies beyond the picture
    monkeypatch.setattr(made, "_labelled", lambda *_: (altered, aside, True))
    assert (made[0]["masks"][4:] == 1).all()


def test_the_background_of_a_wide_look_is_refused():
    assert FrameRecipe(background="green").wide is False
    for background in ("mean", "green"):
        with pytest.raises(RecipeError, match=r"do not go together.* Set wide=false"):
            load_recipe("default", FrameRecipe, [f"background={background}"])
        load_recipe("default", FrameRecipe, [f"background={background}", "wide=false"])


def test_the_networks_of_the_default_detector_can_be_joined_again(cache: FaceCache, tmp_path: Path):
    """As docs/training.md says it."""
    second = "--network 2 --set backbone=tf_efficientnet_lite2 --set mirror=false --set wide=false"
    votes = ["--set", 'votes=["blend","mask"]']
    for name, words in (("main", []), ("second", [*second.split(), *votes])):
        said = CliRunner().invoke(app, ["models", "unpack", "frame", "-o", str(tmp_path / f"{name}.ckpt"), *words])
        assert said.exit_code == 0, said.output
    run = ensemble([tmp_path / "main.ckpt", tmp_path / "second.ckpt"], [cache], tmp_path / "both")
    card, shipped = TASK.card(run, [cache]), load_detector("frame").card
    assert (card.input_size, card.geometry) == (shipped.input_size, shipped.geometry)


def test_a_cache_without_pairs_says_what_to_do(cache: FaceCache):
    faces = Faces([cache], train=True)
    faces.pair[:] = -1
    with pytest.raises(TrainingError, match=r"--set kinds=\[1,0,0\]"):
        TrainingPairs(TINY, faces)
    assert TrainingPairs(FrameRecipe(kinds=(1.0, 0.0, 0.0)), faces)[0]["images"].dtype == np.uint8


def test_a_cache_without_points_is_refused(cache: FaceCache):
    faces = Faces([cache], train=True)
    faces.points[:] = np.nan
    with pytest.raises(TrainingError, match="No real face with known points"):
        TrainingPairs(TINY, faces)


def opinions(module: FrameModule, crops: np.ndarray, mirror: bool) -> dict[str, torch.Tensor]:
    """A network's three logits of uint8 crops; with `mirror`, the mean over both ways round."""
    with torch.inference_mode():
        plain = module.normalised(torch.from_numpy(crops))
        ways = [module.network.parts(plain)]
        if mirror:
            blend, texture, mask = module.network.parts(plain.flip(3))
            ways.append((blend, texture, mask.flip(2)))
    return {name: torch.stack(part).mean(dim=0) for name, part in zip(PARTS, zip(*ways, strict=True), strict=True)}


def loss_of(detector: Detector, faces: ValidationFaces) -> float:
    """What the detector file loses on these faces."""
    batches = [faces[index] for index in range(len(faces))]
    logits = np.concatenate([detector.score(batch["images"]).logits for batch in batches])
    labels = np.concatenate([batch["label"] for batch in batches])
    return float(np.logaddexp(0, np.where(labels == 1, -logits, logits)).mean())


def test_the_cards_numbers_are_those_of_the_file(cache: FaceCache, trained: Run, tmp_path: Path):
    """Not those of the training, which did not look at mirror images."""
    run = replace(trained, out=tmp_path, metrics={"loss": 9.0})
    detector = load_detector(TASK.export(run, [cache]))
    (stated,) = detector.card.metrics.values()
    expected = loss_of(detector, ValidationFaces(TINY, Faces([cache], train=False)))
    assert stated["loss"] == pytest.approx(expected, abs=1e-4)


def test_training_ends_in_a_detector_file_that_scans(cache: FaceCache, tmp_path: Path):
    run = fit(TASK, replace(TINY, mirror=False), [cache], tmp_path, device="cpu")
    detector = load_detector(TASK.export(run, [cache]))
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    scores = detector.score(crops)
    assert isinstance(run.module, FrameModule)
    expected = opinions(run.module, crops, mirror=False)
    assert scores.heatmaps is not None
    assert scores.heatmaps.shape == (2, 4, 4)
    np.testing.assert_allclose(scores.heatmaps, expected["mask"].sigmoid(), atol=1e-4)
    np.testing.assert_allclose(scores.parts["texture"], expected["texture"], atol=1e-4)
    logit = run.module.network.joined(expected["blend"], expected["texture"], mask_vote(expected["mask"]))
    np.testing.assert_allclose(scores.logits, logit, atol=1e-4)
    assert {"auc", "blend", "texture", "mask"} <= run.metrics.keys()


def test_a_wide_look_sees_the_whole_crop_and_the_mirrored_one_its_middle(cache: FaceCache, tmp_path: Path):
    run = fit(TASK, replace(TINY, wide=True, scale=1.2), [cache], tmp_path, device="cpu")
    detector = load_detector(TASK.export(run, [cache]))
    assert detector.card.input_size == 96
    faces = ValidationFaces(run.recipe, Faces([cache], train=False), margin=16)
    assert run.metrics["loss"] == pytest.approx(
        loss_of(detector, faces), abs=1e-4
    )  # the best was chosen by what it does
    assert detector.card.geometry.scale == pytest.approx(1.2 * 64 / 96)  # the middle is cut as in training
    crops = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 192, 3), np.uint8), (0, 0), 3)
    crops = np.stack([crops[:, :96], crops[:, 96:]])
    scores = detector.score(crops)
    assert isinstance(run.module, FrameModule)
    plain = run.module.normalised(torch.from_numpy(crops))
    with torch.inference_mode():
        reduced = torch.nn.functional.interpolate(plain, (64, 64), mode="bilinear", antialias=True)
        whole = run.module.network.parts(reduced)
        middle = run.module.network.parts(plain[..., 16:-16, 16:-16].flip(3))
    for name, *looks in zip(PARTS[:2], whole, middle, strict=False):
        np.testing.assert_allclose(scores.parts[name], torch.stack(looks).mean(dim=0), atol=1e-4)
    assert scores.heatmaps is not None
    assert scores.heatmaps.shape == (2, 6, 6)
    inner = np.asarray(torch.nn.functional.interpolate(whole[2][:, None], (6, 6), mode="bilinear")[:, 0, 1:5, 1:5])
    expected = torch.from_numpy((inner + middle[2].flip(2).numpy()) / 2).sigmoid()
    np.testing.assert_allclose(scores.heatmaps[:, 1:5, 1:5], expected, atol=1e-4)


def test_a_noise_pattern_classifier_takes_ordinary_crops(cache: FaceCache, tmp_path: Path):
    run = fit(TASK, replace(TINY, input="residual", background="mean"), [cache], tmp_path, device="cpu")
    detector = load_detector(TASK.export(run, [cache]))
    face = np.stack([cache.read(0)[:64, :64]])
    flat = np.full_like(face, 90)
    dark, light = (detector.score(picture).logits for picture in (flat, flat + 100))
    np.testing.assert_allclose(dark, light, atol=1e-4)  # evenly lit, nothing is left but texture
    assert abs(detector.score(face).logits - dark) > 1e-4


def test_a_resumed_training_equals_an_uninterrupted_one(cache: FaceCache, trained: Run, tmp_path: Path):
    shutil.copytree(trained.out, tmp_path / "parts")
    for checkpoint in sorted((tmp_path / "parts").glob("last-*.ckpt"))[1:]:
        checkpoint.unlink()  # as if the run had been killed after its first checkpoint
    resumed = fit(TASK, TINY, [cache], tmp_path / "parts", device="cpu", resume=True)
    for name, value in trained.module.state_dict().items():
        torch.testing.assert_close(value, resumed.module.state_dict()[name])


def test_a_training_may_start_from_another(trained: Run):
    weights = TASK.module(replace(TINY, start=str(trained.out / "best.ckpt"))).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in trained.module.state_dict().items())


def test_the_background_is_that_of_the_recipe_not_of_the_weights_it_starts_from(tmp_path: Path):
    recipe = replace(TINY, background="green")
    module = TASK.module(recipe)
    old = module.state_dict() | {"network.stem.0.inside": torch.zeros(64, 64), "network.stem.0.colour": torch.ones(3)}
    state = {"state_dict": old, "facetell": summary(1, 1.0, recipe, {}, finished=True)}  # as of before 2026-12
    torch.save(state, tmp_path / "old.ckpt")
    started = TASK.module(replace(recipe, size=96, scale=0.7, start=str(tmp_path / "old.ckpt")))
    wanted = TASK.module(replace(recipe, size=96, scale=0.7))
    got, expected = dict(started.named_buffers()), dict(wanted.named_buffers())
    for name in ("network.stem.0.inside", "network.stem.0.colour"):
        torch.testing.assert_close(got[name], expected[name])
    torch.testing.assert_close(started.state_dict(), module.state_dict())


def test_the_metrics_leave_the_network_where_it_is(cache: FaceCache, trained: Run, monkeypatch):
    module = trained.module
    assert isinstance(module, FrameModule)
    faces = ValidationFaces(TINY, Faces([cache], train=False))
    batch = {name: torch.from_numpy(value) for name, value in faces[0].items()}
    predictions = {name: value.detach().numpy() for name, value in module.validation_step(batch, 0).items()}
    monkeypatch.setattr(torch.nn.Module, "cpu", lambda _: pytest.fail("the network is moved in its training"))
    assert module.metrics(predictions).keys() == trained.metrics.keys()


def test_what_a_training_started_from_may_be_gone_later(cache: FaceCache, trained: Run, tmp_path: Path):
    gone = {"start": str(tmp_path / "gone.ckpt"), "weights": str(tmp_path / "gone.pth"), "fold": True}
    recipe = replace(TINY, **gone)
    module = TASK.module(replace(recipe, start="", weights="none"))
    about = summary(4, 1.0, recipe, {"auc": 0.5}, finished=True)
    for name in ("best.ckpt", "last-00000004.ckpt"):
        write_checkpoint(tmp_path / name, module, about)
    again = fit(TASK, recipe, [cache], tmp_path, device="cpu", resume=True)
    mean = average(TASK, [tmp_path / "best.ckpt"] * 2, [cache], tmp_path / "mean")
    for run in (again, mean):
        torch.testing.assert_close(run.module.state_dict(), module.state_dict())
        assert run.module.recipe == recipe
    assert TASK.card(mean, [cache]).training_data.startswith("cache, made, with")  # no checkpoint says it


def test_no_mean_of_networks_for_different_crops(cache: FaceCache, trained: Run, tmp_path: Path):
    other = replace(TINY, size=96, input="residual", background="mean")  # weights fit inputs of any size
    write_checkpoint(tmp_path / "other.ckpt", trained.module, summary(4, 1.0, other, {}, finished=True))
    with pytest.raises(TrainingError, match="different networks: input, background differ"):
        average(TASK, [trained.out / "best.ckpt", tmp_path / "other.ckpt"], [cache], tmp_path / "mean")


def test_the_weights_of_the_join_are_numbers():
    with pytest.raises(RecipeError, match=r"join = .*nan.* is outside"):
        load_recipe("default", FrameRecipe, ["join=[nan, 1, 1, 1]"])


def test_norms_are_folded_once(cache: FaceCache, trained: Run, tmp_path: Path):
    start = {"start": str(trained.out / "best.ckpt"), "fold": True}
    folded = fit(TASK, replace(TINY, **start, learning_rate=1e-9), [cache], tmp_path / "folded", device="cpu").module
    again = TASK.module(replace(TINY, fold=True, start=str(tmp_path / "folded" / "best.ckpt"))).eval()
    modules = [module for module in (trained.module, folded, again) if isinstance(module, FrameModule)]
    assert len(modules) == 3
    crops = torch.randn(2, 3, TINY.size, TINY.size)
    expected, *got = ([part.detach() for part in module.network.parts(crops)] for module in modules)
    for parts in got:
        torch.testing.assert_close(parts, expected, rtol=1e-3, atol=1e-3)


def test_sixteen_bits_train_the_same_network(cache: FaceCache, tmp_path: Path):
    """Its gradients are nearly those of 32 bits, its weights and its validation have 32."""
    gradients = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        module = TASK.module(replace(TINY, precision=precision, drop=0.0))
        batch = {name: torch.from_numpy(value) for name, value in TASK.data(TINY, [cache]).train[0].items()}
        module.training_step(batch, 0)["loss"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]))
    assert 0.99 < float(torch.cosine_similarity(*gradients, dim=0)) < 1
    run = fit(TASK, replace(TINY, precision="bfloat16"), [cache], tmp_path, device="cpu")
    assert {value.dtype for value in run.module.parameters()} == {torch.float32}


def test_only_the_norms_of_a_transformer_learn(cache: FaceCache, tmp_path: Path):
    shipped = load_recipe("ln-tune", FrameRecipe)
    tiny = {"backbone": "vit_tiny_patch16_224", "weights": "none", "size": 64, "batch": 2, "steps": 2, "warmup": 0}
    recipe = replace(shipped, **tiny, validate_every=2, ema=0.0)
    torch.manual_seed(recipe.seed)
    before = TASK.module(recipe).state_dict()
    after = fit(TASK, recipe, [cache], tmp_path, device="cpu").module.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any("backbone" in name for name in changed)
    assert all("norm" in name for name in changed if "backbone" in name)


def test_the_mean_of_two_checkpoints(cache: FaceCache, trained: Run, tmp_path: Path):
    checkpoints = [*sorted(trained.out.glob("last-*.ckpt"))[:1], trained.out / "best.ckpt"]
    run = average(TASK, checkpoints, [cache], tmp_path / "mean", ["join=[1, 0, 0.5, 0]"])
    one, two = (read_checkpoint(path)["state_dict"] for path in checkpoints)
    got = run.module.state_dict()
    torch.testing.assert_close(
        got["network.head.1.weight"], (one["network.head.1.weight"] + two["network.head.1.weight"]) / 2
    )
    assert got["network.join"].tolist() == [1, 0, 0.5, 0]
    kept = TASK.module(replace(TINY, start=str(tmp_path / "mean" / "best.ckpt"))).state_dict()
    torch.testing.assert_close(kept["network.head.1.weight"], got["network.head.1.weight"])
    measured = TASK.card(run, [cache]).metrics["dev splits, faces cut as in training"]
    assert measured.keys() == run.metrics.keys()
    with pytest.raises(TrainingError, match="at least two"):
        average(TASK, checkpoints[:1], [cache], tmp_path / "mean")


def test_a_mean_needs_neither_training_data_nor_what_the_forge_drew_with(
    cache: FaceCache, trained: Run, tmp_path: Path
):
    dev = FaceCache(cache.folder, cache.settings, cache.manifest.replace({"split": {"train": "test"}}), cache.faces)
    gone = ["redrawn=0.5", f'painters=["{tmp_path / "gone.onnx"}"]']
    assert average(TASK, [trained.out / "best.ckpt"] * 2, [dev], tmp_path, gone).metrics == trained.metrics


def test_every_look_of_an_ensemble_counts_the_same(cache: FaceCache, trained: Run, tmp_path: Path):
    other = replace(TINY, backbone="test_byobnet", fold=True, seed=5, mirror=False, swaps=0.5)
    other = replace(other, kinds=(1, 0, 0), votes=("blend", "mask"))
    runs = [trained, fit(TASK, other, [cache], tmp_path / "other", device="cpu")]
    checkpoints = [run.out / "best.ckpt" for run in runs]
    run = ensemble(checkpoints, [cache], tmp_path / "both", ['version="7"', "join=[1, 0, 0.5, 0]"])
    detector = load_detector(TASK.export(run, [cache]))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    scores = detector.score(crops)
    modules = [run.module for run in runs if isinstance(run.module, FrameModule)]
    one, two = (opinions(module, crops, mirror) for module, mirror in zip(modules, (True, False), strict=True))
    mean = {name: (2 * one[name] + two[name]) / 3 for name in PARTS} | {"texture": one["texture"]}
    for name in ("blend", "texture"):
        np.testing.assert_allclose(scores.parts[name], mean[name], atol=1e-4)
    assert isinstance(run.module, FrameModule)
    logit = run.module.network.joined(mean["blend"], mean["texture"], mask_vote(mean["mask"]))
    np.testing.assert_allclose(scores.logits, logit, atol=1e-4)
    assert detector.card.version == "7"
    assert detector.card.description.startswith("test_efficientnet + test_byobnet, ")
    assert "self-blends, swaps, parts of labelled fakes" in detector.card.training_data
    assert detector.card.metrics["dev splits, faces cut as in training"].keys() == run.metrics.keys()
    said = CliRunner().invoke(app, ["ensemble", str(checkpoints[0]), "--data", str(cache.folder), "-o", str(tmp_path)])
    assert said.exit_code == 2
    assert "at least two" in said.output
    wide = ensemble(checkpoints, [cache], tmp_path / "wide", ["wide=true"])
    assert TASK.card(wide, [cache]).input_size == 96
    large = fit(TASK, replace(TINY, size=96), [cache], tmp_path / "large", device="cpu")
    with pytest.raises(TrainingError, match="different crops"):
        ensemble([checkpoints[0], large.out / "best.ckpt"], [cache], tmp_path / "two")
    with pytest.raises(TrainingError, match="do not fit the network of its recipe"):
        ensemble(checkpoints, [cache], tmp_path / "three", ["backbone=test_byobnet"])
    with pytest.raises(TrainingError, match="None of the networks votes on texture"):
        ensemble([checkpoints[1], checkpoints[1]], [cache], tmp_path / "three")
    with pytest.raises(ManifestError, match="in two caches"):
        ensemble(checkpoints, [cache, cache], tmp_path / "three")


def test_the_networks_of_a_detector_file_come_out_of_it(cache: FaceCache, tmp_path: Path):
    folded = replace(TINY, fold=True, steps=2)
    other = replace(folded, backbone="test_byobnet", mirror=False, votes=("blend", "mask"))
    runs = [fit(TASK, recipe, [cache], tmp_path / recipe.backbone, device="cpu") for recipe in (folded, other)]
    file = TASK.export(ensemble([run.out / "best.ckpt" for run in runs], [cache], tmp_path), [cache])
    small = tmp_path / "small.onnx"
    quantise(file, [cache], small, faces=4)
    for number, run in enumerate(runs, 1):
        for source in (small, file):
            out = tmp_path / f"{number}.ckpt"
            words = ["models", "unpack", str(source), "-o", str(out), "--network", str(number), "--set", "size=64"]
            said = CliRunner().invoke(app, [*words, "--set", f"backbone={run.recipe.backbone}"])
            assert said.exit_code == 0, said.output
            ours, theirs = (read_checkpoint(path)["state_dict"] for path in (run.out / "best.ckpt", out))
            assert ours.keys() == theirs.keys()
            for name, weight in ours.items():
                coarse = 1 / 127 if weight.ndim > 1 else 0  # biases have 32 bits
                atol = max(1e-4, float(weight.abs().max()) * coarse) if source == small else 1e-6
                torch.testing.assert_close(theirs[name], weight, rtol=0, atol=atol)
    assert read_checkpoint(tmp_path / "1.ckpt")["facetell"]["trained_on"] == ["cache", "made"]
    start = replace(folded, start=str(tmp_path / "1.ckpt"))
    torch.testing.assert_close(TASK.module(start).state_dict(), read_checkpoint(tmp_path / "1.ckpt")["state_dict"])
    for changes, says in (
        ([], "size = 224 contradicts the card"),
        (["--set", "size=64"], "is not a tf_efficientnet_lite0 with folded norms"),
        (["--set", "size=64", "--set", "scale=1.06"], "scale = 1.06 contradicts the card"),
        (["--network", "3"], "holds 2 networks"),
        (["--set", "size=64", "--set", "fold=false"], "fold = false is impossible"),
    ):
        said = CliRunner().invoke(app, ["models", "unpack", str(file), "-o", str(tmp_path / "no.ckpt"), *changes])
        assert said.exit_code == 2
        assert says in " ".join(said.output.split())
    model = onnx.load(small)
    for tensor in model.graph.initializer:
        if tensor.name == "network.networks.0.head.1.weight_scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(7, np.float32), tensor.name))
    onnx.save(model, small)
    said = CliRunner().invoke(
        app, ["models", "unpack", str(small), "-o", str(tmp_path / "no.ckpt"), "--set", "size=64"]
    )
    assert said.exit_code == 2
    assert "The weights in" in said.output
    assert not (tmp_path / "no.ckpt").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="loaders are forked on POSIX only")
def test_a_loader_starts_in_a_process_that_used_opencvs_threads(cache: FaceCache, tmp_path: Path):
    def hung(*_: object) -> None:
        raise TimeoutError("the loader hangs")

    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.cvtColor(cv2.GaussianBlur(np.zeros((3000, 3000, 3), np.uint8), (0, 0), 5), cv2.COLOR_RGB2LAB)  # starts them
    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(120)
    try:
        assert fit(TASK, TINY, [cache], tmp_path / "run", workers=1, device="cpu").step
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        cv2.setNumThreads(threads)


def as_split(cache: FaceCache, folder: Path, split: list[str]) -> FaceCache:
    """The cache under another name, as a data set of files of its own, its twelve rows in these splits."""
    folder.symlink_to(cache.folder)
    named = cache.manifest.assign(split=split, dataset=folder.name, path=f"{folder}/" + cache.manifest.path)
    return FaceCache(folder, cache.settings, named, cache.faces)


def test_a_fake_that_has_its_originals_key_is_a_video_of_its_own(cache: FaceCache):
    stem = cache.manifest.video.str.replace("-1-", "-0-")
    alike = FaceCache(cache.folder, cache.settings, cache.manifest.assign(video=stem), cache.faces)
    faces = Faces([alike, cache], train=False)
    assert len(faces) == len(set(faces.video)) == 12


def test_rows_of_the_test_split_and_of_none_are_not_used(cache: FaceCache, tmp_path: Path):
    dealt = as_split(cache, tmp_path / "dealt", ["train"] * 4 + ["validation"] * 4 + ["test"] * 2 + [""] * 2)
    unsplit = as_split(cache, tmp_path / "unsplit", [""] * 12)
    train, dev = Faces([dealt], train=True), Faces([dealt], train=False)
    assert [len(train), len(dev)] == [4, 4]
    assert [len(Faces([unsplit], train=True)), len(Faces([unsplit], train=False))] == [12, 0]
    held_out = as_split(cache, tmp_path / "held_out", ["dev"] * 10 + [""] * 2)
    run = fit(TASK, TINY, [cache, held_out, unsplit], tmp_path / "run", device="cpu")
    card = TASK.card(run, [cache, held_out, unsplit])
    assert card.training_data.startswith("cache, made, unsplit, with")


def test_a_card_names_what_the_weights_have_seen_and_not_what_they_are_measured_on(
    cache: FaceCache, trained: Run, tmp_path: Path
):
    second = as_split(cache, tmp_path / "second", ["train"] * 6 + ["dev"] * 6)
    measured = as_split(cache, tmp_path / "measured", ["dev"] * 12)
    started = replace(TINY, start=str(trained.out / "best.ckpt"), steps=2)
    fit(TASK, started, [second], tmp_path / "run", device="cpu")
    again = fit(TASK, started, [second], tmp_path / "run", device="cpu", resume=True)
    other = tmp_path / "other.ckpt"
    write_checkpoint(other, trained.module, summary(4, 1.0, TINY, {}, finished=True, trained_on=["third"]))
    checkpoints = [again.out / "best.ckpt", other]
    mean = average(TASK, checkpoints, [measured], tmp_path / "mean")
    assert read_checkpoint(mean.out / "best.ckpt")["facetell"]["trained_on"] == ["cache", "made", "second", "third"]
    for run, names in ((again, "cache, made, second"), (mean, "cache, made, second, third")):
        assert TASK.card(run, [measured]).training_data.startswith(f"{names}, with")
    both = ensemble(checkpoints, [measured], tmp_path)
    assert TASK.card(both, [measured]).training_data.startswith("cache, made, second, third, with")


def test_a_dev_split_needs_both_classes_in_one_cache(cache: FaceCache, tmp_path: Path):
    labels = cache.manifest.label.to_numpy()
    real, fake = (
        as_split(cache, tmp_path / str(label), ["dev" if one == label else "test" for one in labels])
        for label in (0, 1)
    )
    with pytest.raises(TrainingError, match="No cache has both REAL and FAKE faces"):
        ValidationFaces(TINY, Faces([real, fake], train=False))


def test_caches_of_one_name_stay_apart(cache: FaceCache, tmp_path: Path):
    labels = cache.manifest.label.to_numpy()
    caches = []
    for label, folder in enumerate(("a", "b", "c")):
        (tmp_path / folder).mkdir()
        split = ["dev" if one == label or folder == "c" else "test" for one in labels]
        caches.append(as_split(cache, tmp_path / folder / "cache", split))
    with pytest.raises(TrainingError, match="No cache has both REAL and FAKE faces"):
        ValidationFaces(TINY, Faces(caches[:2], train=False))
    faces = Faces(caches, train=False)
    assert faces.sources == ["cache", "cache-2", "cache-3"]
    assert np.bincount(faces.source).tolist() == [6, 6, 12]


def test_a_size_that_the_masks_cells_do_not_divide_is_refused():
    with pytest.raises(TrainingError, match="multiple of 16"):
        TASK.module(replace(TINY, size=100))
