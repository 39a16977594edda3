"""The training loop on a network of twenty weights."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from facetell.data.manifest import Item, manifest_of
from facetell.errors import LeakError, ManifestError, OutputError, RecipeError, TrainingError, UsageError
from facetell.training import boosting
from facetell.training.checkpoint import FORMAT, read_checkpoint
from facetell.training.faces import require_both_classes
from facetell.training.fit import average, fit
from facetell.training.module import Module
from facetell.training.recipe import Recipe
from facetell.training.tasks import Data


@dataclass(frozen=True)
class ToyRecipe(Recipe):
    explode_at: int = -1
    interrupt_at: int = -1


class Points:
    """Two clouds of points; `length` None: without end."""

    def __init__(self, recipe: ToyRecipe, length: int | None) -> None:
        self.recipe, self.length = recipe, length

    def __len__(self) -> int:
        assert self.length is not None
        return self.length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if self.length is None and index == self.recipe.interrupt_at:
            raise InterruptedError("power cut")
        rng = np.random.default_rng([self.recipe.seed, index, self.length or 0])
        label = rng.integers(0, 2, self.recipe.batch)
        x = rng.normal(size=(self.recipe.batch, 4)) + label[:, None]
        if self.length is None and index == self.recipe.explode_at:
            x[0] = math.nan
        return {"x": x.astype(np.float32), "label": label.astype(np.float32)}


class ToyModule(Module):
    def training_step(self, batch, index):
        logit = self.network(batch["x"])[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logit, batch["label"])
        return {"loss": loss, "accuracy": ((logit > 0) == batch["label"].bool()).float().mean()}

    def validation_step(self, batch, index):
        return {"logit": self.network(batch["x"])[:, 0], "label": batch["label"]}

    def metrics(self, predictions):
        p, y = 1 / (1 + np.exp(-predictions["logit"])), predictions["label"]
        return {"loss": -np.mean(np.log(np.where(y == 1, p, 1 - p))), "accuracy": np.mean((p > 0.5) == (y == 1))}


class Toy:
    name = "toy"
    recipe = ToyRecipe

    def __init__(self, interrupt_at: int = -1, explode_at: int = -1) -> None:
        self.trap = ToyRecipe(interrupt_at=interrupt_at, explode_at=explode_at, batch=16)

    def module(self, recipe):
        return ToyModule(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.3), nn.Linear(3, 1)), recipe)

    def data(self, recipe, caches):
        return Data(Points(self.trap, None), self.validation(recipe, caches))

    def validation(self, recipe, caches):
        return Points(self.trap, 3)

    def trained_on(self, caches):
        return [name for cache in caches for name in cache.manifest.dataset.unique()]

    def export(self, run, caches):
        raise NotImplementedError


pytestmark = pytest.mark.filterwarnings("error:.*LeafSpec")  # Lightning's own, which tells its users nothing
RECIPE = ToyRecipe(batch=16, steps=30, validate_every=7, learning_rate=0.05, warmup=3, ema=0.9, checkpoint_minutes=0)


def weights(run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.module.state_dict().values()])


def curves(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "curves.csv").drop(columns="seconds")


def test_loss_falls_and_the_best_weights_come_back(tmp_path):
    run = fit(Toy(), RECIPE, [], tmp_path)
    table = curves(tmp_path)
    assert table["step"].tolist() == [7, 14, 21, 28, 30]
    assert table["val_loss"].iloc[-1] < table["val_loss"].iloc[0]
    assert run.metrics["loss"] == pytest.approx(table["val_loss"].min(), rel=1e-5)
    assert run.step == table["step"].iloc[table["val_loss"].argmin()]
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert len(list(tmp_path.glob("last-*.ckpt"))) == RECIPE.keep


@pytest.mark.parametrize("interrupt_at", [1, 7, 8, 14, 20, 29])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, interrupt_at):
    whole = fit(Toy(), RECIPE, [], tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(Toy(interrupt_at), RECIPE, [], tmp_path / "cut")
    resumed = fit(Toy(), RECIPE, [], tmp_path / "cut", resume=True)
    pd.testing.assert_frame_equal(curves(tmp_path / "whole"), curves(tmp_path / "cut"))
    assert torch.equal(weights(whole), weights(resumed))


def test_a_finished_training_is_not_trained_further(tmp_path):
    first = fit(Toy(), RECIPE, [], tmp_path)
    again = fit(Toy(interrupt_at=0), RECIPE, [], tmp_path, resume=True)
    assert torch.equal(weights(first), weights(again))
    assert again.metrics == first.metrics


def test_patience_ends_the_training(tmp_path):
    recipe = ToyRecipe(batch=16, steps=1000, validate_every=2, learning_rate=0.0, patience=3)
    fit(Toy(), recipe, [], tmp_path)
    losses = curves(tmp_path)["val_loss"]
    assert losses.argmin() == len(losses) - 1 - recipe.patience


def test_minutes_end_the_training_with_the_schedule_run_down(tmp_path):
    recipe = ToyRecipe(batch=16, steps=10**9, validate_every=10**9, learning_rate=0.05, warmup=0)
    fit(Toy(), recipe, [], tmp_path, max_minutes=0.02)
    table = curves(tmp_path)
    assert len(table) == 1
    assert table["learning_rate"].iloc[0] < 0.005


def test_nan_is_an_error_and_good_checkpoints_stay(tmp_path):
    with pytest.raises(TrainingError, match=r"not a number any more at step 21.* best\.ckpt, if there is one, is good"):
        fit(Toy(explode_at=20), RECIPE, [], tmp_path)
    assert read_checkpoint(tmp_path / "last-00000020.ckpt")["facetell"]["step"] == 20
    assert read_checkpoint(tmp_path / "best.ckpt")["facetell"]["step"] <= 14


def test_answers_that_are_no_numbers_are_named_before_they_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(ToyModule, "validation_step", lambda *_: {"logit": torch.tensor([math.nan])})
    monkeypatch.setattr(ToyModule, "metrics", lambda *_: pytest.fail("nothing can be measured"))
    with pytest.raises(TrainingError, match="answers are no numbers any more at step 7"):
        fit(Toy(), RECIPE, [], tmp_path)


def test_caches_that_leak_into_one_another_are_refused(tmp_path):
    """Each is sound; together they train on a video by which the weights are chosen."""
    items = [Item(f"{k}.mp4", k % 2, "made", video=f"v{k}", group=f"g{k}") for k in range(4)]
    one, other = (
        SimpleNamespace(manifest=manifest_of([replace(item, split=split) for item in items]))
        for split in ("train", "val")
    )
    unsplit = SimpleNamespace(manifest=manifest_of(items))
    for caches in ([one, other], [unsplit, other]):
        with pytest.raises(LeakError, match=r"4 groups in two splits.* folders of one name: rename"):
            fit(Toy(), RECIPE, caches, tmp_path)  # type: ignore[arg-type]
    for caches in ([one, one], [one, unsplit]):
        with pytest.raises(ManifestError, match=r"^4 files in two caches, 0\.mp4 first"):
            fit(Toy(), RECIPE, caches, tmp_path)  # type: ignore[arg-type]
        with pytest.raises(ManifestError, match="in two caches"):
            average(Toy(), [tmp_path / "best.ckpt"] * 2, caches, tmp_path)  # type: ignore[arg-type]


def test_another_training_is_not_overwritten(tmp_path):
    fit(Toy(), RECIPE, [], tmp_path)
    with pytest.raises(TrainingError, match="already holds checkpoints"):
        fit(Toy(), RECIPE, [], tmp_path)


def test_what_another_command_wrote_is_not_overwritten(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"of `average`")
    for task in (Toy(), boosting.TASK):
        with pytest.raises(TrainingError, match="already holds checkpoints"):
            fit(task, task.recipe(), [], tmp_path)
    assert (tmp_path / "best.ckpt").read_bytes() == b"of `average`"


def test_another_recipe_does_not_resume(tmp_path):
    fit(Toy(), RECIPE, [], tmp_path)
    with pytest.raises(TrainingError, match="learning_rate differ"):
        fit(Toy(), ToyRecipe(**{**vars(RECIPE), "learning_rate": 0.1}), [], tmp_path, resume=True)


def test_other_data_do_not_resume(tmp_path):
    items = [Item(f"{k}.mp4", k % 2, "made", video=f"v{k}", group=f"g{k}", split="train") for k in range(4)]
    made = {"settings": {"size": 160}, "faces": pd.DataFrame({"item": range(4), "width": 99, "problems": ""})}
    one, moved, fewer, resized, recut = (
        SimpleNamespace(manifest=manifest_of(rows), **{**made, **changes})
        for rows, changes in (
            (items, {}),
            ([replace(item, path=f"there/{item.path}") for item in items], {}),
            (items[:2], {}),
            (items, {"settings": {"size": 80}}),
            (items, {"faces": made["faces"].assign(width=98)}),
        )
    )
    fit(Toy(), RECIPE, [one], tmp_path)  # type: ignore[arg-type]
    fit(Toy(), RECIPE, [moved], tmp_path, resume=True)  # type: ignore[arg-type]
    for other in (fewer, resized, recut):
        with pytest.raises(TrainingError, match="was begun on other data"):
            fit(Toy(), RECIPE, [other], tmp_path, resume=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"junk" * 99])
def test_a_corrupt_checkpoint_is_named(tmp_path, damage):
    fit(Toy(), RECIPE, [], tmp_path)
    last = tmp_path / "last-00000030.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(TrainingError, match=r"last-00000030\.ckpt is corrupt"):
        fit(Toy(), RECIPE, [], tmp_path, resume=True)


def test_somebody_elses_checkpoint_is_refused(tmp_path):
    ours = {"format": FORMAT, "recipe": {}}
    for content in (
        {"state_dict": {}},
        {"facetell": "x"},
        {"facetell": ours},
        {"facetell": ours, "state_dict": {"x": 1}},
    ):
        torch.save(content, tmp_path / "last-00000001.ckpt")
        with pytest.raises(TrainingError, match="is not a checkpoint"):
            fit(Toy(), RECIPE, [], tmp_path, resume=True)


def test_a_killed_training_leaves_good_checkpoints(tmp_path):
    out = tmp_path / "run"
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_fit import Toy, ToyRecipe
        from facetell.training.fit import fit
        recipe = ToyRecipe(batch=16, steps=10**6, validate_every=50, checkpoint_minutes=0)
        fit(Toy(), recipe, [], {str(out)!r})
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "best.ckpt").exists():
        assert process.poll() is None, "the training ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for path in out.glob("[bl]*.ckpt"):
        assert read_checkpoint(path)["facetell"]["step"] > 0


def test_one_class_is_an_error():
    require_both_classes([0, 1, 1], "train")
    with pytest.raises(TrainingError, match="train holds FAKE faces only"):
        require_both_classes(np.ones(3, int), "train")
    with pytest.raises(TrainingError, match="dev holds no faces"):
        require_both_classes([], "dev")


def test_a_monitor_that_is_no_metric_is_named(tmp_path):
    recipe = ToyRecipe(**{**vars(RECIPE), "monitor": "acc", "patience": 1})
    with pytest.raises(RecipeError, match=r"monitor = 'acc' is no metric\. There are: loss, accuracy"):
        fit(Toy(), recipe, [], tmp_path)


def test_a_monitored_value_that_is_not_a_number_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ToyModule, "metrics", lambda *_: {"loss": math.nan})
    with pytest.raises(TrainingError, match="validation's loss is not a number at step 7"):
        fit(Toy(), RECIPE, [], tmp_path)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan])
def test_no_time_is_refused(tmp_path, minutes):
    with pytest.raises(UsageError, match="no time to train"):
        fit(Toy(), RECIPE, [], tmp_path, max_minutes=minutes)


@pytest.mark.parametrize("device", ["nonsense", "tpu"])
def test_a_device_that_is_not_there_is_named(tmp_path, device):
    with pytest.raises(UsageError, match=f"no device '{device}' here"):
        fit(Toy(), RECIPE, [], tmp_path, device=device)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="cannot be made a folder"):
            fit(Toy(), RECIPE, [], out)


def test_a_mean_does_not_replace_a_trainings_checkpoint(tmp_path):
    fit(Toy(), RECIPE, [], tmp_path)
    before = (tmp_path / "best.ckpt").read_bytes()
    with pytest.raises(TrainingError, match="already holds checkpoints"):
        average(Toy(), [tmp_path / "best.ckpt"] * 2, [], tmp_path)
    assert (tmp_path / "best.ckpt").read_bytes() == before


def test_a_mean_is_not_resumed(tmp_path):
    fit(Toy(), RECIPE, [], tmp_path)
    average(Toy(), [tmp_path / "best.ckpt", tmp_path / "last-00000030.ckpt"], [], tmp_path / "mean")
    before = (tmp_path / "mean" / "best.ckpt").read_bytes()
    with pytest.raises(TrainingError, match="is of no training that can be resumed"):
        fit(Toy(), RECIPE, [], tmp_path / "mean", resume=True)
    assert [path.read_bytes() for path in (tmp_path / "mean").iterdir()] == [before]


def test_a_training_killed_before_its_first_checkpoint_to_resume_from_begins_anew(tmp_path):
    rare = replace(RECIPE, checkpoint_minutes=60.0)
    whole = fit(Toy(), rare, [], tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(Toy(interrupt_at=10), rare, [], tmp_path / "cut")
    assert [path.name for path in (tmp_path / "cut").glob("*.ckpt")] == ["best.ckpt"]
    assert torch.equal(weights(whole), weights(fit(Toy(), rare, [], tmp_path / "cut", resume=True)))


def test_a_mean_on_a_full_disk_is_named(tmp_path):
    fit(Toy(), RECIPE, [], tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OutputError, match=r"best\.ckpt cannot be written"):
            average(Toy(), [tmp_path / "best.ckpt"] * 2, [], tmp_path / "mean")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "mean").iterdir())
