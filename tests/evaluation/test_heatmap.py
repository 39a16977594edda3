"""A detector whose heat map is the brightness, on faces that were made brighter, or darker, in known places."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data.manifest import FAKE, REAL, Item, manifest_of
from facetell.detectors import Threshold, load_detector
from facetell.errors import UsageError
from facetell.evaluation import heatmap as module
from facetell.evaluation.heatmap import heatmap, histograms, pixel_auc
from facetell.evaluation.terminal import heatmap_rows
from facetell.faces.detect import FaceDetector
from facetell.forge import masks
from facetell.report.card import card_page
from facetell.report.heat import worth
from tests import media
from tests.detectors import networks
from tests.evaluation import made


def dim() -> np.ndarray:
    return media.side_by_side([0]) // 3


def patched(family: str, grey: int) -> np.ndarray:
    """The dim portrait with one region of one grey."""
    image = dim()
    (face,) = FaceDetector().detect(image)
    image[masks.fill(masks.hulls(family, face.points), image.shape[:2]) > 0.5] = grey
    return image


def manifest(folder: Path, **pictures: np.ndarray) -> pd.DataFrame:
    """One real face, and fakes of it by their names."""
    items = [Item(str(media.write_picture(folder / "real.png", dim())), REAL, dataset="made", video="real")]
    for name, picture in pictures.items():
        path = media.write_picture(folder / f"{name}.png", picture)
        items.append(Item(str(path), FAKE, dataset="made", video=name, original="real", group=name))
    return manifest_of(items)


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return networks.write(tmp_path_factory.mktemp("heatmap"))


def test_a_map_that_knows_the_place(tmp_path: Path, bright: Path) -> None:
    result = heatmap(manifest(tmp_path, mouth=patched("mouth", 220)), load_detector(bright), n_boot=20)
    assert result["pairs"]["n"] == 1
    assert result["pairs"]["auc"]["value"] > 0.85
    assert result["pairs"]["auc_pooled"] == pytest.approx(result["pairs"]["auc"]["value"])
    assert result["pairs"]["region_named"]["value"] == result["pairs"]["region_right"]["value"] == 1
    assert result["altered_at"] == 0.25


def test_a_map_that_points_elsewhere(tmp_path: Path, bright: Path) -> None:
    result = heatmap(manifest(tmp_path, mouth=patched("mouth", 0)), load_detector(bright), n_boot=0)
    assert result["pairs"]["auc"]["value"] < 0.3


def test_a_map_that_is_sure_of_nothing_names_no_part(tmp_path: Path, bright: Path) -> None:
    pairs = heatmap(manifest(tmp_path, mouth=patched("mouth", 0)), load_detector(bright), n_boot=0)["pairs"]
    assert pairs["region_named"] == {"value": 0.0, "ci95": None, "n": 1}
    assert pairs["region_right"]["n"] == 0


def test_what_one_map_for_all_faces_would_reach(tmp_path: Path, bright: Path) -> None:
    fakes = {"mouth": patched("mouth", 220), "eyes": patched("eyes", 220)}
    pairs = heatmap(manifest(tmp_path, **fakes), load_detector(bright), n_boot=50)["pairs"]
    assert pairs["n"] == 2
    assert 0.5 < pairs["fixed_map"]["value"] < pairs["auc"]["value"]
    low, high = pairs["auc"]["ci95"]
    assert low <= pairs["auc"]["value"] <= high


def test_what_has_no_known_truth_is_counted(tmp_path: Path, bright: Path) -> None:
    other = np.ascontiguousarray(media.side_by_side([1]))
    rows = manifest(tmp_path, same=dim(), other=other, small=dim()[::2, ::2], mouth=patched("mouth", 220))
    alone = Item(str(media.write_picture(tmp_path / "alone.png", other)), FAKE, dataset="made", original="gone")
    (tmp_path / "broken.png").write_text("no picture")
    broken = Item(str(tmp_path / "broken.png"), REAL, dataset="made", video="broken")
    clip = Item(str(tmp_path / "clip.mp4"), REAL, dataset="made", video="clip")
    result = heatmap(pd.concat([rows, manifest_of([alone, broken, clip])]), load_detector(bright), n_boot=0)
    assert result["skipped"] == {
        "hardly differs from its original": 1,
        "differs from its original at the rim": 1,
        "another size than its original": 1,
        "its original is not here": 1,
        "NotVideoError": 1,
        "not a still": 1,
    }
    assert (result["pairs"]["n"], result["blends"]["n"]) == (1, 1)


def test_every_family_takes_its_turn_and_repeats(tmp_path: Path, bright: Path) -> None:
    items = [
        Item(str(media.write_picture(tmp_path / f"{k}.png", dim())), REAL, dataset="made", video=str(k))
        for k in range(len(masks.FAMILIES))
    ]
    once, again = (heatmap(manifest_of(items), load_detector(bright), workers, n_boot=0) for workers in (1, 2))
    assert once == again
    assert list(once["families"]) == list(masks.FAMILIES)
    assert once["pairs"] is None
    assert once["blends"]["n"] == len(items)


def test_the_auc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    heats = rng.random((3, module.GRID, module.GRID), np.float32)  # one value a pixel: nothing is interpolated
    truths = (heats + rng.normal(0, 0.5, heats.shape) > 0.5).astype(np.int8)
    truths[:, :9] = -1
    known = truths >= 0
    each = [roc_auc_score(truth[at], heat[at]) for heat, truth, at in zip(heats, truths, known, strict=True)]
    altered, untouched = histograms(heats, truths)
    assert pixel_auc(altered, untouched) == pytest.approx(each, abs=1e-3)
    pooled = roc_auc_score(truths[known], heats[known])
    assert pixel_auc(altered.sum(0), untouched.sum(0)) == pytest.approx(pooled, abs=1e-3)


def test_what_lies_beyond_the_picture_is_not_judged() -> None:
    cut_off = np.ascontiguousarray(dim()[:, 85:])
    look = module._Look(manifest_of([Item("a.png", REAL)]), load_detector())
    seen = look._seen(0, "pair", cut_off, np.ones(cut_off.shape[:2], bool))
    assert set(np.unique(seen.truth)) == {-1, 1}


def test_no_part_of_a_crop_on_which_nothing_was_altered_is_right() -> None:
    look = module._Look(manifest_of([Item("a.png", REAL)]), load_detector())
    seen = look._seen(0, "pair", dim(), np.zeros(dim().shape[:2], bool))
    heat = np.zeros((16, 16), np.float32)
    heat[12, 8] = 0.9
    assert look._right(seen, heat) is False


@pytest.mark.parametrize(("altered", "known"), [([False], False), ([False, True, True], True)])
def test_faces_without_an_altered_pixel_leave_no_number_that_json_lacks(altered: list[bool], known: bool) -> None:
    heat = np.random.default_rng(0).random((7, 7), np.float32)
    truths = [np.repeat(np.array([some] * 40 + [0] * 56, np.int8), module.GRID).reshape(96, 96) for some in altered]
    cases = [module.Case(row, "pair", heat, truth, None) for row, truth in enumerate(truths)]
    numbers = module._numbers(cases, heat, np.arange(len(cases)), 200)
    assert (numbers["auc_pooled"] is not None, numbers["auc_pooled_ci95"] is not None) == (known, known)
    json.dumps(numbers, allow_nan=False)
    row = heatmap_rows({"pairs": numbers, "blends": None, "families": {}})[0]
    assert (row[4] != "–") == known


def test_nothing_to_measure(tmp_path: Path, bright: Path) -> None:
    blank = media.write_picture(tmp_path / "blank.png", np.full((64, 64, 3), 90, np.uint8))
    rows = manifest_of([Item(str(blank), REAL)])
    assert heatmap(rows, load_detector(bright)) == {"none": "no face was altered in a known place: 1 no face"}
    blind = networks.write(tmp_path, networks.brightness(), "blind.onnx")
    with pytest.raises(UsageError, match="no heat map"):
        heatmap(rows, load_detector(blind))


def test_what_can_give_no_face_is_refused_before_anything_is_scored(
    tmp_path: Path, bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object):
        raise AssertionError("looked at")

    monkeypatch.setattr(FaceDetector, "detect", refuse)
    for name in ("clip.mp4", "alone.png"):
        (tmp_path / name).touch()
    rows = [Item(str(tmp_path / "clip.mp4"), REAL), Item(str(tmp_path / "alone.png"), FAKE, original="gone")]
    manifest_of(rows).to_csv(tmp_path / "table.csv", index=False)
    data = ["--data", str(tmp_path / "table.csv")]
    for words in (
        ["evaluate", *data, "--detector", str(bright), "--suite", "heatmap"],
        ["calibrate", str(bright), *data, "--pairs", data[1], "-o", str(tmp_path / "out.onnx")],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        said = "No face can be altered in a known place: 1 not a still, 1 its original is not here."
        assert said in " ".join(result.stderr.split())


def test_where_no_face_could_be_altered_all_else_is_kept(
    tmp_path: Path, bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = media.write_picture(tmp_path / "blank.png", np.full((64, 64, 3), 90, np.uint8))
    manifest_of([Item(str(blank), REAL)]).to_csv(tmp_path / "table.csv", index=False)
    data, page, numbers = tmp_path / "table.csv", tmp_path / "page.html", tmp_path / "result.json"
    words = ["evaluate", "--data", data, "--detector", bright, "--suite", "heatmap", "-o", page, "--json", numbers]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, "nothing could be scored"
    assert "Nothing could be scored: 1 NO_FACE." in " ".join(result.stderr.split())
    why = "no face was altered in a known place: 1 no face"
    assert f"Heat map: not measured; {why}." in " ".join(result.output.split())
    assert f"Not measured; {why}." in page.read_text()
    assert json.loads(numbers.read_text())["heatmap"] == {"none": why}

    monkeypatch.setattr("facetell.evaluation.calibration.halved", lambda *_: None)  # one is enough here
    monkeypatch.setattr("facetell.evaluation.calibration.calibrate", lambda card, *_, **__: card)
    out = tmp_path / "out.onnx"
    words = ["calibrate", bright, "--data", data, "--pairs", data, "-o", out, "-q"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert f"The heat map is not measured: {why}." in " ".join(result.stderr.split())
    assert "has not been measured" in worth(load_detector(out).card)


def test_the_suite_on_the_command_line(tmp_path: Path, bright: Path) -> None:
    manifest(tmp_path, mouth=patched("mouth", 220)).to_csv(tmp_path / "table.csv", index=False)
    page, numbers = tmp_path / "page.html", tmp_path / "result.json"
    arguments = ["evaluate", "--data", tmp_path / "table.csv", "--detector", bright, "--suite", "heatmap", "-o", page]
    result = CliRunner().invoke(app, [str(word) for word in [*arguments, "--json", numbers, "--resamples", 20]])
    assert result.exit_code == 0, result.output
    assert re.search(r"labelled +1 ", result.output)
    assert json.loads(numbers.read_text())["heatmap"]["pairs"]["auc"]["value"] > 0.85
    assert "held against where the faces were altered" in page.read_text()


def test_calibrating_with_pairs_writes_it_into_the_card(tmp_path: Path) -> None:
    few = (Threshold(0.05, 1.0, 20, "too few faces for a lower rate"), Threshold(0.01, None, 20, "too few faces"))
    detector = made.detector(tmp_path, outputs={"logit": "logit", "heatmap": "heatmap"}, thresholds=few)
    (tmp_path / "people").mkdir()
    made.stills(tmp_path / "people", people=12).to_csv(tmp_path / "dev.csv", index=False)
    (tmp_path / "pairs").mkdir()
    manifest(tmp_path / "pairs", mouth=patched("mouth", 220)).to_csv(tmp_path / "pairs.csv", index=False)
    out = tmp_path / "calibrated.onnx"
    words = [
        detector,
        "--data",
        tmp_path / "dev.csv",
        "--reals",
        tmp_path / "people",
        "--pairs",
        tmp_path / "pairs.csv",
    ]
    result = CliRunner().invoke(app, ["calibrate", *map(str, words), "-o", str(out), "--condition", "JPEG 50", "-q"])
    assert result.exit_code == 0, result.output
    card = load_detector(out).card
    assert card.metrics["heatmap"]["pairs"]["auc"]["value"] > 0.85
    assert "named a part of the face in" in worth(card)
    assert re.search(r"\| labelled pairs \| 1 \| 0\.[89]\d\d \|", out.with_suffix(".md").read_text())
    told = CliRunner().invoke(app, ["models", "--detector", str(out)])
    assert "named a part of the face in" in " ".join(told.output.split())


def test_a_card_without_it_says_so(bright: Path, tmp_path: Path) -> None:
    card = load_detector(bright).card
    assert "has not been measured" in card_page(card, "00")
    assert worth(networks.card()) == ""
    assert "heat map" not in card_page(networks.card(), "00")
