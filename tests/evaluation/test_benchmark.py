"""Detectors × sets: what the result holds, what the documents get, and that a second run is cheap."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.detectors import Detector
from facetell.errors import DataError, FileMissingError, UsageError
from facetell.evaluation import benchmark as module
from facetell.evaluation import joining, markdown
from facetell.evaluation.aggregation import mirrored
from facetell.evaluation.benchmark import Contender, benchmark, steps
from facetell.evaluation.joining import joined
from facetell.evaluation.metrics import paired, paired_mean
from facetell.evaluation.sources import DataSet, read_sets
from facetell.scanning import Scanner
from tests import media
from tests.detectors import networks
from tests.evaluation import made

NASTY = "<b>|made"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets that the detector `bright` solves and `even` does not, and one of real pictures."""
    folder = tmp_path_factory.mktemp("benchmark")
    for name in ("one", "two"):
        (folder / name).mkdir()
        made.stills(folder / name, people=6).assign(dataset=name).to_csv(folder / f"{name}.csv", index=False)
    made.manifest_rows(folder / "one.csv", label=0).assign(path=lambda t: t.path).to_csv(
        folder / "real.csv", index=False
    )
    made.detector(folder, name="bright.onnx", training_data=f"{NASTY} collection")
    networks.write(folder, networks.brightness(gain=0.0), name="even.onnx", version="2")
    network = networks.brightness(gain=20.0, bias=-8.0, frames=2)
    networks.write(folder, network, name="clip.onnx", kind="clip", frames=2, version="3")
    (folder / "sets.toml").write_text(
        f"""
        [[set]]
        name = "{NASTY}"
        data = ["one.csv"]
        source = "{NASTY}"
        unseen = true
        robustness = 1
        [[set]]
        name = "second"
        data = ["two.csv"]
        source = "second"
        aggregation = true
        compression = "none"
        [[set]]
        name = "photographs"
        data = ["real.csv"]
        """
    )
    return folder


def call(folder: Path, *arguments: object, detectors: tuple[str, ...] = ("bright", "even", "clip")):
    given = [part for name in detectors for part in ("--detector", str(folder / f"{name}.onnx"))]
    return CliRunner().invoke(
        app, ["benchmark", str(folder / "sets.toml"), *given, *map(str, arguments), "--resamples", "50", "--quiet"]
    )


def test_documents_get_their_tables_and_a_second_run_is_cheap(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "img").mkdir()
    place = "Mine.\n\n<!-- benchmark: aggregation -->\nold\n<!-- end -->\n\nAlso mine.\n"
    (tmp_path / "part.md").write_text(place)
    arguments = ["-o", tmp_path / "all.md", "-o", tmp_path / "part.md", "--images", tmp_path / "img"]
    arguments += ["--scores", tmp_path / "scores", "--json", tmp_path / "all.json"]
    outcome = call(folder, *arguments)
    assert outcome.exit_code == 0, outcome.output

    result = json.loads((tmp_path / "all.json").read_text())
    cell = result["cells"]["second"]["tiny 1"]
    assert (cell["auc"], cell["n_real"], cell["n_fake"]) == (1.0, 6, 6)
    assert result["cells"]["second"]["tiny 2"]["auc"] == 0.5
    assert result["cells"]["second"]["tiny 3"]["auc"] == 1
    assert result["cells"]["photographs"]["tiny 1"]["auc"] is None
    assert result["curves"].keys() == {NASTY, "second"}
    assert result["robustness"].keys() == {NASTY}
    assert "mean, weighted by quality, with the mirrored face" in result["aggregation"]["rules"]

    text = (tmp_path / "all.md").read_text()
    assert NASTY not in text
    assert text.count("1.000 *") == 1  # bright was trained on the first set's collection
    assert "![reliability](img/benchmark-reliability.svg)" in text
    for svg in (tmp_path / "img").iterdir():
        ElementTree.parse(svg)
    part = (tmp_path / "part.md").read_text()
    assert part.startswith("Mine.\n\n<!-- benchmark: aggregation -->\n6 real + 6 fake videos of second\n")
    assert part.endswith("<!-- end -->\n\nAlso mine.\n")

    def refuse(self: Detector, crops: np.ndarray):
        raise AssertionError("looked at again")

    monkeypatch.setattr(Detector, "score", refuse)
    assert call(folder, *arguments).exit_code == 0
    assert (tmp_path / "all.md").read_text() == text
    assert (tmp_path / "part.md").read_text() == part


def test_a_network_is_measured_by_a_file_that_was_not_trained_on_the_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []
    monkeypatch.setattr(module, "joined", lambda videos, of, n: sources.append(of) or joined(videos, of, n))
    made.detector(tmp_path, name="knows.onnx", training_data="the second collection", version="5")
    networks.write(tmp_path, networks.brightness(gain=-1.0), name="other.onnx", training_data="others", version="5")
    both = f"{tmp_path / 'knows.onnx'},{tmp_path / 'other.onnx'}"
    sets = folder / "sets-undamaged.toml"
    sets.write_text((folder / "sets.toml").read_text().replace("robustness = 1\n", ""))
    arguments = ["benchmark", str(sets), "--detector", str(folder / "even.onnx"), "--detector", both]
    arguments += ["-o", str(tmp_path / "x.md"), "--json", str(tmp_path / "x.json"), "--resamples", "0", "--quiet"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    result = json.loads((tmp_path / "x.json").read_text())
    assert [result["cells"][name]["tiny 5"]["auc"] for name in (NASTY, "second")] == [1, 0]
    assert len(result["detectors"]["tiny 5"]["files"]) == 2
    assert result["joined"][0]["sets"].keys() == {NASTY, "second"}
    assert "joined, fitted to other sources" in (tmp_path / "x.md").read_text()
    assert sources == [{NASTY: NASTY, "second": "second", "photographs": ""}]

    arguments[arguments.index(both)] = str(tmp_path / "knows.onnx")
    assert CliRunner().invoke(app, arguments).exit_code == 0
    result = json.loads((tmp_path / "x.json").read_text())
    assert result["cells"]["second"]["tiny 5"] is None
    assert result["joined"][0]["sets"].keys() == {NASTY}
    assert result["joined"][0]["left_out"] == ["second"]
    text = (tmp_path / "x.md").read_text()
    assert "| tiny 5 | trained on these | – |" in text
    assert "tiny 2 + tiny 5; without second, of which" in text


@pytest.mark.parametrize(
    ("table", "reason"), [("real.csv", "it takes a detector of single faces"), ("dark.csv", "of one class only")]
)
def test_aggregation_without_both_classes_says_so_and_the_rest_is_kept(
    folder: Path, tmp_path: Path, table: str, reason: str
) -> None:
    media.write_picture(tmp_path / "grey.png", np.full((240, 240, 3), 90, np.uint8))
    real = made.manifest_rows(folder / "one.csv", label=0)
    fake = real[:1].assign(path=str(tmp_path / "grey.png"), label=1)  # a fake without a face
    (real if table == "real.csv" else pd.concat([real, fake])).to_csv(tmp_path / table, index=False)
    (tmp_path / "sets.toml").write_text(f"[[set]]\nname = 'a'\ndata = ['{table}']\naggregation = true")
    made.detector(tmp_path, name="bright.onnx")
    outcome = call(tmp_path, "-o", tmp_path / "x.md", "--json", tmp_path / "x.json", detectors=("bright",))
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((tmp_path / "x.json").read_text())
    assert result["cells"]["a"]["tiny 1"]["n_real"] == 6
    assert reason in result["aggregation"]["none"]
    assert f"Not measured: {result['aggregation']['none']}." in (tmp_path / "x.md").read_text()


def test_the_device_is_that_of_the_mirrored_detector_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "mirrored", lambda detector, device="": asked.append(device) or mirrored(detector))
    made.manifest_rows(folder / "one.csv").groupby("label").head(1).to_csv(tmp_path / "few.csv", index=False)
    (tmp_path / "sets.toml").write_text("[[set]]\nname = 'a'\ndata = ['few.csv']\naggregation = true")
    made.detector(tmp_path, name="bright.onnx")
    outcome = call(tmp_path, "-o", tmp_path / "x.md", "--device", "CPU", detectors=("bright",))
    assert outcome.exit_code == 0, outcome.output
    assert asked == ["CPU"]


@pytest.mark.parametrize("frames", [None, 2])
def test_as_many_steps_are_said_as_there_are(tmp_path: Path, frames: int | None) -> None:
    """Also where a detector was trained on a set, or cannot be studied: the progress bar ends where it should."""
    made.stills(tmp_path, people=1).to_csv(tmp_path / "a.csv", index=False)
    sets = [
        DataSet(name="new", data=("a.csv",), aggregation=True),
        DataSet(name="known", data=("a.csv",), source="this", aggregation=True, robustness=1),
    ]
    found = {one.name: one.find(tmp_path) for one in sets}
    network = networks.brightness(gain=20.0, bias=-8.0, frames=frames)
    changes = {"kind": "clip", "frames": frames} if frames else {}
    contenders = [Contender((Scanner(networks.write(tmp_path, network, training_data="this", **changes)),))]
    done: list[int] = []
    benchmark(sets, found, contenders, n_boot=0, progress=done.append)
    assert sum(done) == steps(sets, found, contenders) == (6 if frames else 18)


def test_videos_too_short_for_a_detector_of_clips_are_not_measured(folder: Path, tmp_path: Path) -> None:
    network = networks.brightness(frames=9)
    networks.write(folder, network, name="long.onnx", kind="clip", frames=9)
    outcome = call(folder, "-o", tmp_path / "x.md", "--json", tmp_path / "x.json", detectors=("long",))
    assert outcome.exit_code == 0, outcome.output
    cell = json.loads((tmp_path / "x.json").read_text())["cells"]["second"]["tiny 1"]
    assert (cell["auc"], cell["n_real"], cell["videos"]) == (None, 0, 12)
    assert "| 0 of 12 | – |" in (tmp_path / "x.md").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[set", "is not TOML"),
        ("title = 1", "names no data set"),
        ("set = ['x']", "names no data set"),
        ("[[set]]\nname = 'a'", "a set has no data"),
        ("[[set]]\nname = 'a'\ndata = 'x'", "'data' of a set must be of type list"),
        ("[[set]]\nname = 'a'\ndata = []", "a set has no data"),
        ("[[set]]\nname = 'a'\ndata = ['x']\ncolour = 1", "'colour' of a set is not known"),
        ("[[set]]\nname = 'a'\ndata = ['x']\nrobustness = -1", "'robustness' of a set must not be negative"),
    ],
)
def test_a_list_of_sets_that_cannot_be_read_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "sets.toml").write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_sets(tmp_path / "sets.toml")


def test_names_must_be_their_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sets.toml").write_text("[[set]]\nname = 'a'\ndata = ['x']\n" * 2)
    with pytest.raises(UsageError, match="are called a"):
        read_sets(tmp_path / "sets.toml")
    with pytest.raises(FileMissingError):
        read_sets(tmp_path / "none.toml")
    outcome = call(folder, "-o", tmp_path / "x.md", detectors=("bright", "bright"))
    assert outcome.exit_code == 2
    assert "are called tiny 1" in outcome.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"No place.", "no place for"),
        (b"<!-- benchmark: x -->\n<!-- end -->", "place for 'x'"),
        (
            b"<!-- benchmark: sets -->\nold\n\nMine.\n\n<!-- benchmark: cross -->\n<!-- end -->\n",
            "does not say where its place for 'sets' ends",
        ),
        (b"\xff<!-- benchmark: sets -->\n<!-- end -->", "is not text in UTF-8"),
    ],
)
def test_a_document_that_cannot_be_filled_is_refused_before_the_work(
    folder: Path, tmp_path: Path, text: bytes, complaint: str
) -> None:
    (tmp_path / "x.md").write_bytes(text)
    outcome = call(folder, "-o", tmp_path / "x.md")
    assert outcome.exit_code == 2
    assert complaint in " ".join(outcome.stderr.split())
    assert (tmp_path / "x.md").read_bytes() == text


def test_cells_of_tables_are_harmless() -> None:
    written = markdown._cell("a|b\n<script> [x](y)")  # pyright: ignore[reportPrivateUsage]
    assert not set("|<>[]\n") & set(written)


def test_the_shipped_list_of_sets_is_sound() -> None:
    sets = read_sets(Path(__file__).parents[2] / "docs" / "benchmark.toml")
    assert isinstance(sets[0], DataSet)
    assert any(one.robustness for one in sets)


def drawn(n: int, seed: int, signal: tuple[float, float]) -> dict[str, pd.DataFrame]:
    """Two detectors whose logits carry signals with independent noise."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    rows = {
        "label": label,
        "dataset": f"d{seed}",
        **dict.fromkeys(("method", "compression", "split", "original"), ""),
        "group": [f"g{k // 2}" for k in range(n)],
        "video": [f"v{k}" for k in range(n)],
    }
    return {
        name: pd.DataFrame(rows).assign(logit=(label - 0.5) * gain + rng.normal(0, 1, n))
        for name, gain in zip(("a", "b"), signal, strict=True)
    }


def test_joining_helps_where_both_know_something_and_not_where_one_is_noise() -> None:
    both = joined({"x": drawn(600, 0, (1, 1)), "y": drawn(600, 1, (1, 1))}, n_boot=100)
    noise = joined({"x": drawn(600, 0, (1, 0)), "y": drawn(600, 1, (1, 0))}, n_boot=100)
    for way in ("known", "new"):
        assert both["mean"][way]["difference_ci95"][0] > 0.03
        assert abs(noise["mean"][way]["difference"]) < 0.02
    assert both["sets"]["x"]["known"]["n_real"] == 300


def test_the_sibling_of_a_set_has_no_say_in_what_a_new_source_would_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "STRENGTHS", [1.0])
    first, sibling, other = (drawn(40, seed, (1, 1)) for seed in range(3))
    sources = {"first": "collection", "sibling": "collection", "other": ""}
    three = joined({"first": first, "sibling": sibling, "other": other}, sources, n_boot=0)
    alone = joined({"first": first, "other": other}, sources, n_boot=0)
    assert three["sets"]["first"]["new"] == alone["sets"]["first"]["new"]
    assert "new" not in joined({"first": first, "sibling": sibling}, sources, n_boot=0)["mean"]


def test_a_person_has_one_group_in_all_sets_of_a_source() -> None:
    first, sibling = (joining._table(drawn(40, seed, (1, 1)), "collection") for seed in range(2))
    assert set(first.dataset) != set(sibling.dataset)
    assert set(first.group) == set(sibling.group)


def test_a_joint_score_of_noise_gains_nothing_on_groups_it_did_not_see() -> None:
    result = joined({"x": drawn(200, 3, (0, 0))}, n_boot=100)
    assert result["sets"]["x"]["known"]["auc_a"] < 0.6
    assert "new" not in result["mean"]


def test_videos_that_one_detector_was_not_given_are_left_out_and_no_others_take_their_place() -> None:
    """Detectors number the videos that they were given, and one of clips is given the long ones only."""
    all_, long_ = drawn(200, 0, (1, 1)).values()
    long_ = long_[7::2]
    found = joined({"x": {"a": all_, "b": long_.reset_index(drop=True)}}, n_boot=0)
    assert found == joined({"x": {"a": all_.loc[long_.index], "b": long_}}, n_boot=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("groups", [2, 3, 5])
def test_a_class_in_few_groups_is_joined_without_a_fold_that_lacks_it_or_left_out(groups: int) -> None:
    few = {
        name: one.assign(group=one.group.where(one.label == 1, [f"real {k % groups}" for k in range(len(one))]))
        for name, one in drawn(200, 0, (1, 1)).items()
    }
    result = joined({"many": drawn(200, 1, (1, 1)), "few": few}, n_boot=20)
    assert result["left_out"] == (["few"] if groups == 2 else [])
    if groups > 2:
        assert joined({"few": few}, n_boot=20)["sets"]["few"]["known"]["difference"] > 0


def test_sets_that_cannot_be_split_are_named() -> None:
    single = {name: videos.assign(label=1) for name, videos in drawn(20, 0, (1, 1)).items()}
    alone = {name: one.assign(group=one.group.where(one.label == 1, "g")) for name, one in drawn(20, 0, (1, 1)).items()}
    result = joined({"x": single, "one real group": alone})
    assert (result["left_out"], result["sets"], result["mean"]) == (["one real group", "x"], {}, None)


def test_the_mean_of_one_set_is_that_sets_difference() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    a, b = np.clip(y * 0.3 + rng.random(100), 0, 1.3) / 1.3, rng.random(100)
    alone, mean = paired(y, a, b, np.arange(100), 200), paired_mean([(y, a, b, np.arange(100))], 200)
    assert mean["difference"] == pytest.approx(alone["difference"])
    assert mean["difference_ci95"] == pytest.approx(alone["difference_ci95"], abs=0.05)
