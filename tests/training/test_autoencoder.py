"""The autoencoder's training, and the redrawn faces of the main detector's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from facetell.data.cache import FaceCache
from facetell.errors import ForgeError, RecipeError, TrainingError, UnknownDetectorError
from facetell.forge import masks
from facetell.forge.redraw import open_painter
from facetell.networks.autoencoder import Upsampling
from facetell.training.autoencoder import TASK, AutoencoderRecipe
from facetell.training.fit import fit
from facetell.training.frame import FrameRecipe
from facetell.training.pairs import Faces, TrainingPairs
from facetell.training.recipe import make_recipe
from tests.detectors.networks import write
from tests.training.made import face_cache

TINY = AutoencoderRecipe(width=4, size=32, batch=4, steps=80, warmup=1, validate_every=20, learning_rate=1e-2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FaceCache:
    return face_cache(tmp_path_factory.mktemp("faces"), per_class=4)


@pytest.fixture(scope="module")
def painter(cache: FaceCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = fit(TASK, TINY, [cache], tmp_path_factory.mktemp("run"), device="cpu")
    return TASK.export(run, [face_cache(tmp_path_factory.mktemp("one"), per_class=1)])  # a single real face is enough


@pytest.mark.parametrize("upsampling", get_args(Upsampling))
def test_it_learns_to_draw_and_its_file_draws_faces_of_any_size(cache: FaceCache, tmp_path: Path, upsampling):
    recipe = replace(TINY, upsampling=upsampling)
    run = fit(TASK, recipe, [cache], tmp_path / upsampling, device="cpu")
    first = fit(TASK, replace(recipe, steps=1, validate_every=1), [cache], tmp_path / "untrained", device="cpu")
    assert run.metrics["loss"] < 0.8 * first.metrics["loss"]
    drawer = open_painter(TASK.export(run, [cache]))
    image = np.full((160, 160, 3), 120, np.uint8)
    for side in (96, 160):
        assert drawer.redraw(image, masks.ANCHORS + 75, side).shape == image.shape


def test_a_critic_makes_it_draw_the_detail_that_the_error_alone_leaves_out(cache: FaceCache, tmp_path: Path):
    begun = fit(TASK, replace(TINY, steps=40), [cache], tmp_path / "begun", device="cpu")
    recipe = replace(TINY, start=str(begun.out / "best.ckpt"), steps=40, learning_rate=2e-3, clip_norm=0.0)
    recipe = replace(recipe, monitor="detail", mode="max", seed=2)
    plain = fit(TASK, recipe, [cache], tmp_path / "plain", device="cpu")
    sharp = fit(TASK, replace(recipe, adversarial=0.3), [cache], tmp_path / "sharp", device="cpu")
    assert sharp.metrics["detail"] > plain.metrics["detail"] + 0.02  # about 0.04
    assert open_painter(TASK.export(sharp, [cache])).path.name == "autoencoder.onnx"  # without the critic


def test_the_critic_learns_from_its_own_loss_alone(cache: FaceCache):
    task = TASK.module(replace(TINY, adversarial=0.5))
    heavy = TASK.module(replace(TINY, adversarial=5.0))
    heavy.load_state_dict(task.state_dict())
    batch = {"images": torch.from_numpy(TASK.validation(TINY, [cache])[0]["images"])}
    for module in (task, heavy):
        module.training_step(batch, 0)["loss"].backward()
    for (name, one), (_, other) in zip(task.named_parameters(), heavy.named_parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad) == name.startswith("critic.")


def test_weights_to_begin_with_must_fit(cache: FaceCache, painter: Path):
    start = str(painter.with_name("best.ckpt"))
    begun = TASK.module(replace(TINY, start=start))
    assert set(begun.network.state_dict()) == set(TASK.module(TINY).network.state_dict())
    with pytest.raises(TrainingError, match="do not fit this recipe's network"):
        TASK.module(replace(TINY, start=start, width=5))


def test_redrawn_faces_teach_both_logits(cache: FaceCache, painter: Path):
    recipe = FrameRecipe(size=64, batch=4, kinds=(1.0, 0.0, 0.0), redrawn=1.0, painters=(str(painter),))
    batch = TrainingPairs(recipe, Faces([cache], train=True))[0]
    for name in ("blend", "texture"):
        assert batch[name].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (batch["masks"][4:].max(axis=(1, 2)) > 0.05).all()


def test_a_recipe_without_painters_or_with_a_wrong_one_is_refused(cache: FaceCache, tmp_path: Path):
    faces = Faces([cache], train=True)
    recipe = FrameRecipe(kinds=(1.0, 0.0, 0.0), redrawn=0.5)
    with pytest.raises(TrainingError, match="names no painter"):
        TrainingPairs(recipe, faces)
    with pytest.raises(UnknownDetectorError):
        TrainingPairs(replace(recipe, painters=("nowhere.onnx",)), faces)
    with pytest.raises(ForgeError, match="is not an autoencoder of faces"):
        TrainingPairs(replace(recipe, painters=(str(write(tmp_path)),)), faces)


def test_a_size_that_its_strides_do_not_divide_is_refused():
    with pytest.raises(TrainingError, match="multiple of 8"):
        TASK.module(replace(TINY, size=100))
    with pytest.raises(RecipeError, match="size = 8 is outside 16"):  # it could not be exported for any size
        make_recipe({"size": 8}, AutoencoderRecipe)
