"""Evaluation from pictures to the result, with a detector whose answers are known."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from onnx import helper

from facetell.data.layouts import Options
from facetell.data.manifest import Item, manifest_of
from facetell.detectors import Calibration, Threshold
from facetell.errors import DataError
from facetell.evaluation import protocol
from facetell.evaluation.protocol import compare, evaluate, submission_table, summary, undecided_against_wrong
from facetell.evaluation.scoring import LABELS, TOO_FEW, Scored, score
from facetell.evaluation.sources import find, tell_apart
from facetell.scanning import Scanner, pipeline
from tests import media
from tests.detectors import networks
from tests.evaluation import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> pd.DataFrame:
    return made.stills(folder)


@pytest.fixture(scope="module")
def scanner(folder: Path) -> Scanner:
    thresholds = (
        Threshold(0.05, 0.5, 100, "made", real_below=-0.5),
        Threshold(0.01, 1.0, 100, "made", real_below=-0.5),
    )
    return Scanner(made.detector(folder, thresholds=thresholds))


@pytest.fixture(scope="module")
def scored(manifest: pd.DataFrame, scanner: Scanner) -> Scored:
    return score(manifest, scanner)


def test_the_result_has_every_key_of_the_schema(scored: Scored, scanner: Scanner) -> None:
    result = summary(scored, scanner, n_boot=50)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["schema"] == "facetell-eval/1"
    assert result["detector"]["name"] == "tiny"
    keys = {"auc", "auc_ci95", "ap", "eer", "log_loss", "brier", "balanced_accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5"}
    for numbers in (result["video"], result["frame"], result["by"]["method"]["brighter"]):
        assert keys | {"ece", "n_real", "n_fake"} <= numbers.keys()
    assert (result["video"]["auc"], result["video"]["n_real"], result["video"]["n_fake"]) == (1.0, 6, 6)
    assert (result["frame"]["n_real"], result["frame"]["n_fake"]) == (17, 18)


def test_what_could_not_be_scored_is_counted_with_its_reason(scored: Scored, scanner: Scanner) -> None:
    coverage = summary(scored, scanner, n_boot=0)["coverage"]
    assert coverage == {"items": 36, "scored": 35, "unscored": {"NO_FACE": 1}, "videos": 12, "videos_scored": 12}


def test_a_video_of_stills_is_the_mean_of_their_logits(scored: Scored) -> None:
    for key, row in scored.videos.iterrows():
        logits = scored.faces[scored.faces.key == key].logit
        assert row.logit == pytest.approx(logits.mean(), abs=1e-6)
        assert row.p_fake == pytest.approx(1 / (1 + np.exp(-row.logit)))


def test_a_still_is_scored_as_a_scan_scores_it(scored: Scored, scanner: Scanner) -> None:
    row = scored.items.iloc[-1]
    verdict = scanner.scan(row.path)
    face = scored.faces[scored.faces.item == len(scored.items) - 1].iloc[0]
    assert verdict.p_fake == pytest.approx(face.p_fake, abs=1e-6)


def test_of_a_crowd_in_a_still_the_largest_faces_are_looked_at(
    scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.concatenate([made.portrait(0), np.full_like(made.portrait(0), 90)], axis=1)
    image[:160, 240:400] = cv2.resize(made.portrait(1), (160, 160))  # the brighter, and the smaller one
    rows = manifest_of([Item(str(media.write_picture(tmp_path / "two.png", image)), 0)])
    both = score(rows, scanner)
    monkeypatch.setattr(pipeline, "MOST_FACES", 1)
    largest = score(rows, scanner)
    assert largest.videos.logit.tolist() < both.videos.logit.tolist()
    assert largest.videos.p_fake.iat[0] == pytest.approx(scanner.scan(rows.path[0]).p_fake, abs=1e-6)


def test_the_height_is_that_of_the_faces_that_decide(scanner: Scanner, tmp_path: Path) -> None:
    large, tiny = made.portrait(0), np.full_like(made.portrait(0), 90)
    tiny[:60, :60] = cv2.resize(large, (60, 60), interpolation=cv2.INTER_AREA)
    paths = [media.write_picture(tmp_path / f"{k}.png", image) for k, image in enumerate((large, tiny, tiny))]
    rows = [Item(str(path), 0, video="v", frame=k) for k, path in enumerate(paths)]
    scored = score(manifest_of(rows), scanner)
    assert scored.faces.usable.tolist() == [True, False, False]
    assert scored.videos.height.tolist() == scored.faces.height.tolist()[:1]


def test_one_face_among_stills_without_any_does_not_count(scanner: Scanner, tmp_path: Path) -> None:
    blank = np.full_like(made.portrait(1), 90)
    paths = [media.write_picture(tmp_path / f"{k}.png", blank if k else made.portrait(1)) for k in range(29)]
    rows = [Item(str(path), 1, video="v", frame=k) for k, path in enumerate([*paths, tmp_path / "missing.png"])]
    scored = score(manifest_of(rows), scanner)
    assert scored.items.reason.value_counts().to_dict() == {"NO_FACE": 28, "": 1, "FileMissingError": 1}
    assert scored.videos.verdict.tolist() == ["INCONCLUSIVE"]
    assert score(manifest_of(rows[:1]), scanner).videos.verdict.tolist() == ["FAKE"]


def test_unreadable_items_are_counted(folder: Path, scanner: Scanner) -> None:
    (folder / "broken.jpg").write_bytes(b"not a picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video")
    names = ["broken.jpg", "empty.png", "missing.png", "text.mp4"]
    result = evaluate(manifest_of([Item(str(folder / name), k % 2) for k, name in enumerate(names)]), scanner)
    assert result["coverage"]["unscored"] == {"NotVideoError": 3, "FileMissingError": 1}
    assert result["video"]["auc"] is None
    assert result["video"]["notes"]["auc"] == "no items"


@pytest.mark.parametrize("frames", [None, made.STILLS])
def test_a_still_without_a_finite_logit_is_a_gap_and_the_rest_is_kept(
    manifest: pd.DataFrame, tmp_path: Path, frames: int | None
) -> None:
    network = networks.brightness(gain=20.0, bias=-8.0, frames=frames)
    network.graph.node[-1 if frames else 2].output[0] = "sum"
    network.graph.node.append(helper.make_node("Log", ["sum"], ["logit"]))  # none for a dark face
    changes = {"kind": "clip", "frames": frames} if frames else {}
    scored = score(manifest, Scanner(networks.write(tmp_path, network, **changes)))
    assert scored.items.reason[scored.items.label == 1].unique().tolist() == [""]
    assert scored.items.reason[scored.items.label == 0].unique().tolist() == ["NO_FACE", "DetectorFileError"]
    assert scored.videos.label.tolist() == [1] * made.PEOPLE


def test_a_manifest_from_another_machine_is_refused(scanner: Scanner) -> None:
    rows = [Item(f"/elsewhere/{name}.png", k) for k, name in enumerate("ab")]
    with pytest.raises(DataError, match=r"None of the 2 files .* first is /elsewhere/a.png.*another machine"):
        score(manifest_of(rows), scanner)


def test_without_groups_or_strata_every_video_stands_for_itself(
    manifest: pd.DataFrame, scanner: Scanner, tmp_path: Path
) -> None:
    table = tmp_path / "bare.csv"
    manifest[["path", "label", "crop"]].to_csv(table, index=False)
    result = evaluate(find([table]).manifest, scanner, n_boot=20)
    assert result["video"]["n_groups"] == 12  # stills of one video by their names
    assert result["by"]["method"] == result["by"]["compression"] == {}
    assert result["curve"]["undecided"][0] == 0


def test_a_detector_without_thresholds_decides_nothing_and_is_measured(manifest: pd.DataFrame, tmp_path: Path) -> None:
    result = evaluate(manifest, Scanner(made.detector(tmp_path)), n_boot=0)
    assert result["video"]["auc"] == 1
    assert result["verdicts"]["undecided"]["value"] == 1
    assert result["verdicts"]["wrong"]["value"] is None


def test_one_class_gives_null_with_the_reason(manifest: pd.DataFrame, scanner: Scanner) -> None:
    result = evaluate(manifest[manifest.label == 1], scanner, n_boot=10)
    assert result["video"]["auc"] is None
    assert result["video"]["notes"]["auc"] == "no real items"


def test_items_inside_a_tar_score_as_they_do_outside(
    manifest: pd.DataFrame, scored: Scored, scanner: Scanner, tmp_path: Path
) -> None:
    tar = tmp_path / "faces.tar"
    with tarfile.open(tar, "w") as out:
        for path in manifest.path:
            out.add(path, arcname=Path(path).name)
    inside = manifest.assign(member=[Path(path).name for path in manifest.path], path=str(tar))
    again = score(inside, scanner)
    assert again.videos.p_fake.tolist() == scored.videos.p_fake.tolist()
    assert submission_table(again).filename.str.endswith(".png").all()


def test_a_submission_tells_files_of_one_name_apart(scored: Scored) -> None:
    twice = replace(
        scored, items=scored.items.assign(path=["real/a.mp4", "fake/a.mp4"] * (len(scored.items) // 2), member="")
    )
    assert set(submission_table(twice).filename) == {"real/a.mp4", "fake/a.mp4"}
    inside = replace(scored, items=twice.items.assign(path=["a.tar", "b.tar"] * (len(scored.items) // 2), member="x/1"))
    assert set(submission_table(inside).filename) == {"a.tar/x/1", "b.tar/x/1"}


def test_a_submission_has_every_still_that_was_scored_with_its_videos_score(scored: Scored) -> None:
    table = submission_table(scored).set_index("filename").label
    faceless = Path(scored.items.path[0]).name  # a still of a video of which other stills are scored
    assert set(table.index) == {Path(path).name for path in scored.items.path} - {faceless}
    for key, row in scored.videos.iterrows():
        stills = scored.items[(scored.items.key == key) & (scored.items.reason == "")]
        assert table[[Path(path).name for path in stills.path]].tolist() == [row.p_fake] * len(stills)


@pytest.mark.skipif(os.name != "posix", reason="names that are no text")
def test_a_source_of_which_every_file_was_left_out_says_why(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = os.fsdecode(os.fsencode(tmp_path / "real") + b"/\xe9.jpg")
    media.write_picture(tmp_path / "a.jpg", media.astronaut()).rename(path)
    with pytest.raises(
        DataError, match=r"Nothing of .*real is left\. Left out, as their names are not in UTF-8.*1 file"
    ):
        find([tmp_path / "real"], Options(label=0))


def test_threads_change_nothing(manifest: pd.DataFrame, scored: Scored, scanner: Scanner) -> None:
    done = []
    again = score(manifest, scanner, workers=3, progress=done.append)
    pd.testing.assert_frame_equal(again.videos, scored.videos)
    pd.testing.assert_frame_equal(again.faces, scored.faces)
    assert sum(done) == len(manifest)


def test_a_video_goes_through_the_scan(portrait_clip: Path, scanner: Scanner) -> None:
    scored = score(manifest_of([Item(str(portrait_clip), 0, video="clip")]), scanner)
    verdict = scanner.scan(portrait_clip)
    assert scored.videos.p_fake.iat[0] == pytest.approx(verdict.p_fake)
    assert scored.videos.verdict.iat[0] == verdict.label
    assert len(scored.faces) == verdict.coverage.frames_with_face


def test_video_files_of_one_video_are_not_pooled_as_its_stills_are(
    portrait_clip: Path, scanner: Scanner, tmp_path: Path
) -> None:
    paths = [portrait_clip, Path(shutil.copy(portrait_clip, tmp_path / "v.mov"))]
    paths += [media.write_picture(tmp_path / f"v_{k}.png", made.portrait(0)) for k in range(2)]
    rows = [Item(str(path), 0, video="v", frame=frame) for path, frame in zip(paths, (-1, -1, 0, 1), strict=True)]
    scored = score(manifest_of(rows), scanner)
    whole = len(score(manifest_of([Item(str(portrait_clip), 0)]), scanner).faces)
    assert scored.videos.faces.tolist() == [whole, whole, 2]
    assert scored.faces.groupby("item").size().tolist() == [whole, whole, 1, 1]
    assert summary(scored, scanner, n_boot=0)["data"]["real_videos"] == 3
    assert not scored.videos.duplicated(list(LABELS)).any()
    unit, family = protocol.resampling_unit(scored.videos)
    assert family.nunique() == 1, unit


def test_a_detector_of_clips_sees_the_stills_of_a_video_as_one_run(manifest: pd.DataFrame, tmp_path: Path) -> None:
    network = networks.brightness(gain=20.0, bias=-8.0, frames=made.STILLS)
    scanner = Scanner(networks.write(tmp_path, network, kind="clip", frames=made.STILLS))
    scored = score(manifest, scanner)
    assert scored.videos.faces.tolist() == [made.STILLS] * 11
    assert summary(scored, scanner, n_boot=0)["video"]["auc"] == 1


def test_videos_too_short_for_a_detector_of_clips_are_not_measured_and_are_counted(
    manifest: pd.DataFrame, portrait_clip: Path, tmp_path: Path
) -> None:
    network = networks.brightness(gain=20.0, bias=-8.0, frames=made.STILLS)
    scanner = Scanner(networks.write(tmp_path, network, kind="clip", frames=made.STILLS), plan="uniform:2")
    clip = manifest_of([Item(str(portrait_clip), 0, video="clip")])
    scored = score(pd.concat([manifest, clip], ignore_index=True), scanner)
    result = summary(scored, scanner, n_boot=0)
    assert result["coverage"]["unscored"] == {"NO_FACE": 1, TOO_FEW: 3}
    assert (result["coverage"]["videos"], result["coverage"]["videos_scored"]) == (13, 11)
    assert (result["video"]["n_real"], result["video"]["n_fake"]) == (5, 6)
    assert (result["frame"]["n_real"], result["frame"]["n_fake"]) == (15, 18)
    assert compare(scored, scored, n_boot=10)["n_real"] == 5


def test_calibration_of_the_card_is_applied(manifest: pd.DataFrame, scored: Scored, tmp_path: Path) -> None:
    scanner = Scanner(made.detector(tmp_path, calibration=Calibration("temperature", temperature=4.0)))
    again = score(manifest, scanner)
    assert again.videos.logit.tolist() == pytest.approx(scored.videos.logit.tolist())
    assert again.videos.p_fake.tolist() == pytest.approx((1 / (1 + np.exp(-scored.videos.logit / 4))).tolist())


def test_a_steep_network_ranks_as_a_flat_one_does(manifest: pd.DataFrame, scored: Scored, tmp_path: Path) -> None:
    card = replace(scored.card, calibration=Calibration("temperature", bias=200.0))
    sure = replace(scored, card=card, faces=scored.faces.assign(p_fake=1.0), videos=scored.videos.assign(p_fake=1.0))
    assert summary(sure, Scanner(made.detector(tmp_path)), n_boot=0)["video"]["auc"] == 1
    compared = compare(sure, scored, n_boot=10)
    assert (compared["auc_a"], compared["auc_b"]) == (1, 1)


def test_methods_are_held_against_the_reals_of_their_data_set() -> None:
    videos = pd.DataFrame(
        {"dataset": list("AAAB"), "label": [0, 1, 1, 0], "method": ["", "swap", "lips", ""], "compression": ["c23"] * 4}
    )
    assert {value: len(rows) for value, rows in protocol.slices(videos, "method")} == {"lips": 2, "swap": 2}
    assert {value: len(rows) for value, rows in protocol.slices(videos, "dataset")} == {"A": 3, "B": 1}


def test_too_few_groups_are_resampled_by_family() -> None:
    videos = pd.DataFrame(
        {"dataset": "A", "group": ["p1", "p2"] * 10, "original": "", "video": list("abcdefghijklmnopqrst")}
    ).assign(compression="")
    unit, groups = protocol.resampling_unit(videos)
    assert "only 2 groups" in unit
    assert groups.nunique() == 20
    unit, groups = protocol.resampling_unit(videos.assign(group=videos.video))
    assert unit == "group"
    others = videos.assign(dataset="B", group=videos.video)
    both = pd.concat([others, videos]).sort_values("video", kind="stable", ignore_index=True)
    assert protocol.units(both).tolist()[:4] == ["B:a", "A:a", "B:b", "A:b"], "each set by itself, in the rows' order"
    assert protocol.units(both[:0]).empty


def test_an_original_and_its_fakes_are_one_family_in_all_compressions() -> None:
    rows = [
        {"compression": c, "video": f"{c}/{name}/{k}", "original": original and f"{c}/youtube/{k}"}
        for c in ("c40", "c23")
        for k in range(3)
        for name, original in (("youtube", ""), ("Deepfakes", "c"))
    ]
    videos = pd.DataFrame(rows).assign(dataset="FF++", group="pair")
    families = protocol.resampling_unit(videos)[1]
    assert families.groupby(families).size().to_dict() == {f"FF++:c23/youtube/{k}": 4 for k in range(3)}
    once = videos[(videos.compression == "c40") == videos.video.str.endswith("0")]
    families = set(protocol.resampling_unit(once)[1])
    assert families == {"FF++:c40/youtube/0", "FF++:c23/youtube/1", "FF++:c23/youtube/2"}, "names, and so draws, stay"


def test_verdicts_are_tallied(scored: Scored) -> None:
    tally = protocol.verdicts(scored.videos)
    assert sum(tally["real"].values()) == sum(tally["fake"].values()) == 6
    assert tally["wrong"]["value"] == 0
    assert tally["false_alarms"]["n"] == 6
    assert tally["false_alarms"]["ci95"][1] > 0.3


def test_undecided_against_wrong_starts_with_everything_decided() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 500)
    p = 1 / (1 + np.exp(-rng.normal(0, 1, 500) - 2 * label + 1))
    undecided, wrong = undecided_against_wrong(pd.DataFrame({"label": label, "p_fake": p}))
    assert undecided[0] == 0
    assert wrong[0] == pytest.approx(((p >= 0.5) != label).mean())
    assert (np.diff(undecided) > 0).all()
    assert wrong[undecided.searchsorted(0.7)] < wrong[0] / 2


def test_a_detector_does_not_beat_itself(scored: Scored) -> None:
    result = compare(scored, scored, n_boot=100)
    assert (result["difference"], result["p_value"], result["n_real"]) == (0, 1, 6)


def test_what_a_list_names_and_the_disk_lacks_is_counted(manifest: pd.DataFrame, tmp_path: Path) -> None:
    rows = manifest[["path", "label"]].copy()
    rows.loc[:1, "path"] = ["/elsewhere/a.png", "/elsewhere/b.png"]
    rows.to_csv(tmp_path / "part.csv", index=False)
    found = find([tmp_path / "part.csv"])
    assert len(found.manifest) == len(manifest) - 2
    assert found.missing == ["/elsewhere/a.png", "/elsewhere/b.png"]
    rows[:2].to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(DataError, match=r"Nothing that .*none\.csv lists is there: 2 files, "):
        find([tmp_path / "none.csv"])


def test_a_parquet_table_may_say_its_labels_in_words(manifest: pd.DataFrame, tmp_path: Path) -> None:
    words = manifest.assign(label=manifest.label.map({0: "REAL", 1: "FAKE"}))
    words[["path", "label"]].to_parquet(tmp_path / "short.parquet")
    words.to_parquet(tmp_path / "full.parquet", index=False)
    for name in ("short", "full"):
        assert find([tmp_path / f"{name}.parquet"]).manifest.label.tolist() == manifest.label.tolist()


def test_what_looks_odd_about_the_data_is_said(manifest: pd.DataFrame, tmp_path: Path) -> None:
    rows = pd.DataFrame({"path": manifest.path[:3], "label": 0})  # of one video
    rows.to_csv(tmp_path / "numbered.csv", index=False)
    notes = find([tmp_path / "numbered.csv"]).notes
    assert "3 REAL pictures are taken as stills of" in " ".join(notes)
    manifest.to_parquet(tmp_path / "own.parquet", index=False)
    (unheeded,) = find([tmp_path / "own.parquet"], Options(crop=True, group_regex="(.+)")).notes
    assert "says itself what --crop, --group-regex would say" in unheeded
    assert not find([tmp_path / "own.parquet"]).notes


def test_sources_are_recognised_joined_and_split(manifest: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "manifest.parquet"
    manifest.assign(split=["dev" if row % 2 else "train" for row in range(len(manifest))]).to_parquet(table)
    assert len(find([table]).manifest) == 36
    assert len(find([tmp_path], split="dev").manifest) == len(find([tmp_path], split="Dev").manifest) == 18
    with pytest.raises(DataError, match="'test'"):
        find([table], split="test")
    media.write_picture(tmp_path / "other.png", made.portrait(0))


def test_data_sets_in_folders_of_one_name_are_told_apart(tmp_path: Path, scanner: Scanner) -> None:
    folders = [tmp_path / part / "faces" for part in ("x", "y", "deep/y")]
    for folder in folders:
        for number in range(2):
            for label, name in enumerate(("real", "fake")):
                (folder / name).mkdir(parents=True, exist_ok=True)
                media.write_picture(folder / name / f"clip{number}_0.png", made.portrait(label))
    found = find(folders[:2])
    assert set(found.manifest.dataset) == {"x/faces", "y/faces"}
    assert f"{folders[0]} is called x/faces, as another data set is called faces." in found.notes
    assert len(score(found.manifest, scanner).videos) == 8
    assert {name.split("/")[-3] for name in find(folders).manifest.dataset} == {tmp_path.name, "deep"}
    assert set(find(folders[:1]).manifest.dataset) == {"faces"}
    one, other = tell_apart([find([folder]) for folder in folders[1:]])
    assert (set(one.manifest.dataset), set(other.manifest.dataset)) == ({f"{tmp_path.name}/y/faces"}, {"deep/y/faces"})


def test_a_folder_is_not_taken_for_the_data_set_that_a_list_names_so(manifest: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "made" / "real").mkdir(parents=True)
    media.write_picture(tmp_path / "made" / "real" / "clip.png", made.portrait(0))
    manifest.iloc[:6].to_csv(tmp_path / "list.csv", index=False)
    manifest.iloc[6:].to_csv(tmp_path / "more.csv", index=False)
    found = find([tmp_path / "list.csv", tmp_path / "more.csv", tmp_path / "made"]).manifest
    assert found.dataset.value_counts().to_dict() == {"made": 36, f"{tmp_path.name}/made": 1}


def test_parts_of_one_data_set_keep_its_name(tmp_path: Path) -> None:
    for part in ("x/dfdc_train_part_0", "y/dfdc_train_part_1"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / f"{part[0]}.mp4").touch()
        (tmp_path / part / "metadata.json").write_text(json.dumps({f"{part[0]}.mp4": {"label": "REAL"}}))
    assert set(find([tmp_path / "x", tmp_path / "y"]).manifest.dataset) == {"DFDC"}


def test_videos_of_which_several_sources_have_stills_are_noted(tmp_path: Path) -> None:
    for part in ("x", "y"):
        (tmp_path / part).mkdir()
        media.write_picture(tmp_path / part / "clip_0.png", made.portrait(0))
        (tmp_path / part / "list.csv").write_text("path,label\nclip_0.png,REAL\n")
    (note,) = find([tmp_path / "x" / "list.csv", tmp_path / "y" / "list.csv"]).notes
    assert note.startswith("Several sources have stills of 1 video, clip first; each is taken for one.")


@pytest.mark.slow
def test_crops_of_known_videos_are_nearly_all_scored(data_dir: Path) -> None:
    """FaceForensics++ crops, five of each video: levels, groups and coverage as the folder has them."""
    folder = data_dir / "ffpp_faces"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    result = evaluate(find([folder], Options(crop=True)).manifest, Scanner("meso"), n_boot=200)
    assert result["coverage"]["items"] == 700
    assert result["coverage"]["scored"] >= 665
    assert result["data"]["real_videos"] == result["data"]["fake_videos"] == 70
    assert result["frame"]["n_fake"] > 4 * result["video"]["n_fake"]
    low, high = result["video"]["auc_ci95"]
    assert low < result["video"]["auc"] < high
