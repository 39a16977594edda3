"""The paper again, on clips and crops of our own: everything in it runs, and what must hold whatever the data holds."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data.cache import FaceCache
from facetell.data.manifest import Item, manifest_of
from facetell.data.prepare import prepare
from facetell.errors import DataError, TrainingError
from facetell.faces.align import Geometry
from facetell.networks.meso import SIZE
from facetell.networks.mesonet import Meso4
from facetell.residual import SIDE
from facetell.training.clip import Runs
from facetell.training.faces import Crops, crops_of
from facetell.training.paper import claims
from facetell.training.paper.material import Material, Sources, _first_of_each, by_original, find
from facetell.training.paper.protocols import PROTOCOLS, deal, shared_groups
from facetell.training.paper.run import MODELS, Effort, Work, _same_work, fit_on
from facetell.training.recipe import load_recipe
from tests import media
from tests.training.test_keras import keras_file

PEOPLE = 9


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pairs of clips, of crops and of stills, the fakes blurred; one fake clip alone; one weight file."""
    folder = tmp_path_factory.mktemp("data")
    for name in (
        "clips/real",
        "clips/fake",
        "crops/faces_224",
        "dfdc/part_0",
        "stills/real",
        "stills/fake",
        "weights",
        "other",
    ):
        (folder / name).mkdir(parents=True)
    frames = list(media.portrait_frames(152, size=(160, 160)))
    rows = []
    for label, kind in enumerate(("real", "fake")):
        shown = [cv2.GaussianBlur(frame, (9, 9), 2) for frame in frames] if label else frames
        clip = media.write_video(folder / "clips" / kind / "p0.mp4", iter(shown))
        for person in range(PEOPLE):
            if person:
                shutil.copy(clip, clip.with_name(f"p{person}.mp4"))
            for name in (f"crops/faces_224/{kind}{person}.png", f"stills/{kind}/p{person}_0.png"):
                cv2.imwrite(str(folder / name), cv2.cvtColor(shown[person], cv2.COLOR_RGB2BGR))
            rows.append((f"{kind}{person}.mp4", kind.upper(), f"real{person}.mp4" if label else ""))
    pd.DataFrame(rows, columns=["videoname", "label", "original"]).to_csv(folder / "crops" / "list.csv", index=False)
    shutil.copy(folder / "clips" / "fake" / "p0.mp4", folder / "dfdc/part_0" / "a.mp4")
    alone = {"a.mp4": {"label": "FAKE", "original": "b.mp4", "split": "train"}}
    (folder / "dfdc/part_0" / "metadata.json").write_text(json.dumps(alone))
    torch.manual_seed(0)
    keras_file(folder / "weights" / "Meso4_XY.h5", Meso4())
    return folder


def test_the_whole_of_it_quickly(data: Path, tmp_path: Path, monkeypatch):
    few = {"lightgbm": {"leaf_runs": 1}}  # in place of 8, as a fold trains on no more than six runs
    monkeypatch.setattr(
        "facetell.training.paper.run.load_recipe",
        lambda name, kind: replace(load_recipe(name, kind), **few.get(name, {})),
    )
    page, runs = tmp_path / "paper.html", tmp_path / "runs"
    command = ["reproduce", "paper", "--data", str(data), "--runs", str(runs), "--quick", "-o"]
    said = CliRunner().invoke(app, [*command, str(page)])
    assert said.exit_code == 0, said.output
    pieces = {path.parent.name: json.loads(path.read_text()) for path in runs.glob("*/result.json")}
    for model in MODELS:
        for protocol in PROTOCOLS:
            piece = pieces[f"{model.name}-{protocol}"]
            assert piece["parity"] < 1e-4 if protocol == "b" else "detector" not in piece
            train, dev, test = piece["rows"][0]
            assert min(train, dev, test) > 0
            assert piece["test"]["n_real"] + piece["test"]["n_fake"] == test
            assert piece["test"]["auc"] is None or 0 <= piece["test"]["auc"] <= 1
            torn = piece["shared_groups"][0]
            assert torn == 0 if protocol == "b" else torn > 0
        losses = pieces[f"{model.name}-c"]["curves"]["train_loss"]
        assert min(losses[1:]) < losses[0]
        assert f"{model.name}-b-wide-mean" in pieces
    assert pieces["mesonet-Meso4_XY"]["parity"] < 1e-4
    assert pieces["data"]["unused"] == ["other"]
    assert pieces["fakes-only"]["models"]["GRU"]["n"] == 1
    text = page.read_text()
    assert all(model.title in text for model in MODELS)
    assert "<table>" in text
    assert "The clips of DFDC in this copy are all fake" in text
    assert f"Of {2 * PEOPLE} of them the data set does not say whose they are" in text
    assert text.count("data:image/") == len(MODELS) + 1
    assert 'src="img/' not in text

    stamps = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    said = CliRunner().invoke(app, [*command, str(tmp_path / "paper.md")])
    assert said.exit_code == 0, said.output
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == stamps
    written = (tmp_path / "paper.md").read_text()
    assert written.startswith("# The paper again\n")
    assert all((tmp_path / "img" / f"paper-{model.name}.svg").is_file() for model in MODELS)

    said = CliRunner().invoke(app, [*command, str(page), "--seed", "1"])
    assert said.exit_code == 2
    assert "another effort: seed differ" in said.output

    shutil.copytree(data / "stills", tmp_path / "stills")
    said = CliRunner().invoke(app, [*command, str(page), "--data", str(tmp_path / "stills")])
    assert said.exit_code == 2
    assert "were made on other data" in said.output


def rows(reals: int, fakes: int) -> pd.DataFrame:
    """Each real video with its fakes in turn is one group."""
    items = [Item(f"r{i}.mp4", 0, "made", video=f"r{i}", group=f"g{i}") for i in range(reals)]
    items += [
        Item(f"f{i}.mp4", 1, "made", "some", original=f"r{i % reals}", video=f"f{i}", group=f"g{i % reals}")
        for i in range(fakes)
    ]
    return manifest_of(items)


def test_the_paper_tests_on_copies_of_what_it_trained_on():
    videos = rows(10, 40)
    for fold in deal(videos, "a", 5):
        everything = np.concatenate([fold.train, fold.dev, fold.test])
        assert len(everything) == 80
        assert (videos.label.iloc[everything] == 0).sum() == 40
        assert set(fold.test) & set(fold.train)
        assert shared_groups(videos, fold) > 0


@pytest.mark.parametrize("seed", range(5))
def test_without_leaks_no_group_stands_on_two_sides(seed: int):
    videos = rows(10, 40)
    folds = deal(videos, "b", 5, seed)
    for fold in folds:
        assert shared_groups(videos, fold) == 0
        group = videos.group.to_numpy()
        assert not set(group[fold.train]) & set(group[fold.dev])
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(50))  # each row once


def test_without_a_split_everything_is_trained_and_tested_on():
    (fold,) = deal(rows(2, 3), "c", 5)
    assert list(fold.train) == list(fold.dev) == list(fold.test) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("model", [model for model in MODELS if model.name != "lightgbm"], ids=lambda model: model.name)
def test_a_resumed_run_equals_an_uninterrupted_one(model, tmp_path: Path):
    videos = rows(6, 6)
    rng = np.random.default_rng(0)
    shape = (12, 20, SIDE, SIDE, 3) if model.on == "clips" else (12, 166, 166, 3)
    images = rng.integers(0, 256, shape, np.uint8)
    labels = videos.label.to_numpy()
    items = Runs(images, labels, videos) if model.on == "clips" else Crops(images, labels, videos, np.full(12, -1), 8)
    (fold,) = deal(videos, "c", 3)
    recipe = replace(load_recipe(model.recipe, model.task.recipe), batch=4, checkpoint_minutes=0.0, keep=9)
    effort = Effort(epochs=2, validate_every=1)
    whole, resumed = (fit_on(model, recipe, items, fold, tmp_path / name, effort) for name in ("a", "b"))
    for checkpoint in sorted((tmp_path / "b").glob("last-*.ckpt"))[1:]:
        checkpoint.unlink()  # as if it had been killed after its first checkpoint
    (tmp_path / "b" / "best.ckpt").unlink()
    resumed = fit_on(model, recipe, items, fold, tmp_path / "b", effort)
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(value, resumed.module.state_dict()[name])


def test_a_folder_from_before_an_option_of_the_effort_goes_on(tmp_path: Path):
    old = asdict(Effort())
    del old["exported"]
    (tmp_path / "effort.json").write_text(json.dumps(old | {"data": "x"}))
    _same_work(Effort(), "x", tmp_path)
    with pytest.raises(TrainingError, match="another effort: exported differ"):
        _same_work(Effort(exported=("b",)), "x", tmp_path)
    with pytest.raises(TrainingError, match="other data"):
        _same_work(Effort(), "y", tmp_path)


def test_too_few_clips_are_said_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    videos, effort = rows(10, 10), Effort(folds=3, tested=1)
    work = Work(Material(Sources(videos, videos, videos, videos), tmp_path, print), tmp_path, effort, print)
    monkeypatch.setattr(work.material, "runs", lambda scale: Runs(np.zeros(20), videos.label.to_numpy(), videos))
    with pytest.raises(
        TrainingError, match=r"Too few with 20 clips: .* LightGBM .* takes 16\. .* about 48 clips or more"
    ):
        work.piece("data", work.data)
    assert not list(tmp_path.rglob("result.json"))


def test_without_detector_files_nothing_is_said_of_a_set_of_fakes(tmp_path: Path):
    table = rows(1, 1)
    sources = Sources(table, table, table, table)
    work = Work(Material(sources, tmp_path, print), tmp_path, Effort(exported=("a",)), print)
    assert work.fakes_only() == {"models": {}}


def test_real_clips_alone_are_not_used(data: Path, tmp_path: Path):
    for name in ("clips", "crops"):
        (tmp_path / name).symlink_to(data / name)
    (tmp_path / "mine" / "real").mkdir(parents=True)
    (tmp_path / "mine" / "real" / "a.mp4").write_bytes(b"")
    sources = find([tmp_path], 10, 0)
    assert (sources.unused, sources.scored.empty) == (["mine"], True)


def test_crops_without_a_known_person_are_told_apart():
    items = [Item("r.png", 0, "x", video="r"), Item("f.png", 1, "x", original="r", video="f")]
    items += [Item("s.png", 0, "x", video="s", group="part 3"), Item("t.png", 1, "x", original="s", group="part 3")]
    assert by_original(manifest_of(items)).tolist() == [True, True, False, False]


def test_frame_150_is_of_other_sets_and_the_largest_face(tmp_path: Path, monkeypatch):
    picture = media.view(media.person(), (160, 160), (225, 120), 190)
    items = []
    for number, (name, label) in enumerate([("mine", 0), ("mine", 1), ("other", 0), ("other", 1)]):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), picture)
        items.append(Item(str(path), label, name, video=str(number), crop=True))
    clips = manifest_of(items).assign(split="train")
    prepare(clips, tmp_path / "cache", workers=1)
    cut = FaceCache.open(tmp_path / "cache")
    twice = pd.concat([cut.faces.assign(eyes_px=1.0, p0x=cut.faces.p0x + 9), cut.faces], ignore_index=True)
    monkeypatch.setattr(Material, "_cache", lambda *_: FaceCache(cut.folder, cut.settings, cut.manifest, twice))

    def found(*sets: str) -> Crops | None:
        sources = Sources(clips, clips[:0], clips[clips.dataset.isin(sets)], clips[:0])
        return Material(sources, tmp_path, print).paper_frames(1.1)

    crops = found("mine")
    assert crops is not None
    assert crops.videos.video.tolist() == ["2", "3"]
    every = crops_of([cut], "train", Geometry("landmarks", 1.1), SIZE)
    np.testing.assert_array_equal(crops.images, every.images[2:])
    assert found("mine", "other") is None


def test_runs_at_two_compressions_are_both_kept_and_compared_with_their_own():
    videos = pd.concat([rows(4, 4).assign(compression=name) for name in ("c23", "c40")], ignore_index=True)
    images = np.zeros((16, 1, 1, 1, 3), np.uint8)
    assert len(_first_of_each(Runs(images, videos.label.to_numpy(), videos)).labels) == 16
    values = np.repeat([5.0, 1.0], 8) - 0.1 * videos.label.to_numpy()
    pairs = claims._pairs(values, videos, videos.group.to_numpy(), 0)
    assert pairs["difference"]["value"] == pytest.approx(-0.1)
    assert pairs["lower"]["value"] == 1


def test_weight_files_of_one_name_do_not_share_a_result(tmp_path: Path, monkeypatch):
    weights = [tmp_path / name for name in ("a/x.h5", "b/x.h5", "b/y.h5")]
    for number, path in enumerate(weights):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]))
    table = rows(1, 1)
    work = Work(Material(Sources(table, table, table, table, weights), tmp_path, print), tmp_path, Effort(), print)
    monkeypatch.setattr(Work, "_mesonet", lambda self, path, title: {"title": title, "path": str(path)})
    found = [work.mesonet(path) for path in weights]
    assert [one["path"] for one in found] == [str(path) for path in weights]
    assert len({one["title"] for one in found}) == 3
    assert found[2]["title"] == "y"


def test_quick_has_minutes_of_its_own(tmp_path: Path):
    command = ["reproduce", "paper", "--data", str(tmp_path), "-o", str(tmp_path / "x.md"), "--quick", "--minutes", "1"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 2
    assert "--quick has minutes of its own" in said.output


def test_data_without_clips_or_crops_is_named(data: Path):
    with pytest.raises(DataError, match="no face crops"):
        find([data / "clips"], 10, 0)
    with pytest.raises(DataError, match="no video clips"):
        find([data / "crops"], 10, 0)
    with pytest.raises(DataError, match="no known layout"):
        find([data / "weights" / "Meso4_XY.h5"], 10, 0)


def test_a_page_without_a_folder_is_refused_before_the_training_stack_is_loaded(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "facetell.training.paper.run", None)  # an import of it fails
    said = CliRunner().invoke(app, ["reproduce", "paper", "--data", "x", "-o", str(tmp_path / "absent" / "x.html")])
    assert said.exit_code == 2
    assert "There must be a folder" in said.output


def test_a_page_must_be_html_or_markdown(tmp_path: Path):
    said = CliRunner().invoke(app, ["reproduce", "paper", "--data", str(tmp_path), "-o", str(tmp_path / "x.pdf")])
    assert said.exit_code == 2


def faces(seed: int, blur: float = 0.0) -> np.ndarray:
    """(2, 120, 120, 3): one person twice in one light, with noise, blurred or not."""
    rng = np.random.default_rng(seed)
    face = media.view(media.person(), (120, 120), (225, 130), 160) * rng.uniform(0.6, 1.1)
    run = [np.clip(face + rng.normal(0, 6, face.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    return np.stack([cv2.GaussianBlur(f, (0, 0), blur) if blur else f for f in run])


def test_blurred_fakes_have_less_distinguishment_and_that_is_found():
    videos = rows(8, 8)
    runs = np.stack([faces(i % 8, 1.5 * (i >= 8)) for i in range(16)])
    found = claims.measure(runs, videos, 100)
    assert found["ratio"] < 0.6
    assert found["auc"]["value"] == 1
    assert found["pairs"]["lower"]["value"] == 1
    assert found["pairs"]["difference"]["ci95"][1] < 0
    assert found["skin"]["darker"]["n"] + found["skin"]["lighter"]["n"] == 16
    assert -1 <= found["skin"]["correlation"]["ci95"][0] <= found["skin"]["correlation"]["ci95"][1] <= 1


def test_alike_classes_are_found_alike():
    found = claims.measure(np.stack([faces(i) for i in range(24)]), rows(12, 12), 200)
    low, high = found["auc"]["ci95"]
    assert low < 0.5 < high
    assert found["ratio"] == pytest.approx(1, abs=0.1)
