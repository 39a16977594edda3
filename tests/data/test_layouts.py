"""Every layout: which label is which, what belongs together, what a partial copy lacks, and what is refused."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from facetell.data.layouts import Options, layouts, read, recognise
from facetell.data.layouts.base import Listing
from facetell.data.manifest import FAKE, REAL, Item, manifest_of
from facetell.data.split import assign_splits
from facetell.data.summary import summarise
from facetell.errors import DataError, FileMissingError, LayoutError, ManifestError, UsageError
from tests.data.made import add_member, as_json, as_text, face_jpeg, face_tar, files


def by_video(listing: Listing) -> dict[str, Item]:
    found = {item.video: item for item in listing.items}
    assert len(found) == len(listing.items)
    return found


def test_dfdc_parts_with_missing_files_and_originals(tmp_path: Path) -> None:
    files(tmp_path, "dfdc_train_part_3/aaa.mp4", "dfdc_train_part_3/bbb.mp4", "dfdc_train_part_3/stray.mp4")
    rows = {
        "aaa.mp4": {"label": "FAKE", "split": "train", "original": "bbb.mp4"},
        "bbb.mp4": {"label": "REAL", "split": "train", "original": None},
        "ccc.mp4": {"label": "FAKE", "split": "train", "original": "bbb.mp4"},
        "ddd.mp4": {"label": "FAKE", "split": "train", "original": float("nan")},
    }
    files(tmp_path, "dfdc_train_part_3/ddd.mp4")
    as_json(tmp_path / "dfdc_train_part_3/metadata.json", rows)
    listing = read(tmp_path)
    items = by_video(listing)
    assert listing.layout == "dfdc"
    assert items["aaa"].label == FAKE
    assert items["aaa"].original == "bbb"
    assert items["ddd"].original == ""
    assert items["bbb"].label == REAL
    assert {item.group for item in items.values()} == {"part 3"}
    assert {item.split for item in items.values()} == {""}, "DFDC's own split says nothing"
    assert listing.missing == ["dfdc_train_part_3/ccc.mp4"]
    assert any("stray.mp4" in note for note in listing.notes)


def test_dfdc_flat_folder_groups_by_original(tmp_path: Path) -> None:
    files(tmp_path, "train_sample_videos/aaa.mp4", "train_sample_videos/ddd.mp4")
    rows = {
        "aaa.mp4": {"label": "FAKE", "split": "train", "original": "gone.mp4"},
        "ddd.mp4": {"label": "FAKE", "split": "train", "original": "gone.mp4"},
    }
    as_json(tmp_path / "train_sample_videos/metadata.json", rows)
    for root in (tmp_path, tmp_path / "train_sample_videos"):
        manifest = manifest_of(read(root).items)
        assert manifest.group.tolist() == ["gone"] * 2


def test_dfdc_video_in_its_part_and_in_the_sample_stays_in_one_split(tmp_path: Path) -> None:
    for folder in ("dfdc_train_part_0", "train_sample_videos"):
        files(tmp_path, *(f"{folder}/v{k}.mp4" for k in range(8)))
        rows = {f"v{k}.mp4": {"label": "FAKE", "original": f"o{k // 2}.mp4"} for k in range(8)}
        as_json(tmp_path / folder / "metadata.json", rows)
    manifest, _ = assign_splits(manifest_of(read(tmp_path).items), {"train": 0.5, "test": 0.5})
    assert (manifest.split.groupby(manifest.video).nunique() == 1).all()


def test_dfdc_parts_that_are_links_keep_their_number(tmp_path: Path) -> None:
    for number in (3, 4):
        files(tmp_path, f"disk/{number}/v{number}.mp4", "set/x")
        as_json(
            tmp_path / f"disk/{number}/metadata.json", {f"v{number}.mp4": {"label": "REAL"}, "gone.mp4": {"label": 0}}
        )
        (tmp_path / f"set/dfdc_train_part_{number}").symlink_to(tmp_path / f"disk/{number}")
    listing = read(tmp_path / "set")
    assert {name: item.group for name, item in by_video(listing).items()} == {"v3": "part 3", "v4": "part 4"}
    assert listing.missing == ["dfdc_train_part_3/gone.mp4", "dfdc_train_part_4/gone.mp4"]


def test_dfdc_parts_that_lie_deeper_are_noted(tmp_path: Path) -> None:
    for folder in ("dfdc_train_part_3", "more/dfdc_train_part_4", "more/dfdc_train_part_5"):
        files(tmp_path, f"{folder}/{folder[-1]}.mp4", f"{folder}/._{folder[-1]}.mp4")
        as_json(tmp_path / folder / "metadata.json", {f"{folder[-1]}.mp4": {"label": "REAL"}})
    listing = read(tmp_path)
    assert list(by_video(listing)) == ["3"]
    assert listing.notes == [
        "Left out, as they lie more than one folder down: 2 lists, more/dfdc_train_part_4/metadata.json first."
    ]


def test_a_flat_dfdc_among_other_sets_is_not_all_there_is(tmp_path: Path) -> None:
    for folder in ("mine", "dfdc_train_part_3"):
        files(tmp_path, f"{folder}/{folder}.mp4", "other/real/a.mp4", ".hidden/x")
        as_json(tmp_path / folder / "metadata.json", {f"{folder}.mp4": {"label": "REAL"}})
        if folder == "mine":
            with pytest.raises(LayoutError):
                read(tmp_path)
    listing = read(tmp_path)
    assert list(by_video(listing)) == ["dfdc_train_part_3"], "a folder of a part's name says that the rest is DFDC, too"
    assert listing.notes == [
        "Left out, as they lie outside the folders whose lists are read: 2 videos, mine/mine.mp4 first."
    ]


def test_dfdc_folders_of_any_name_are_parts_where_each_has_a_list(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        files(tmp_path, f"{folder}/{folder}.mp4", ".hidden/x")
        as_json(tmp_path / folder / "metadata.json", {f"{folder}.mp4": {"label": "REAL"}})
    listing = read(tmp_path)
    assert (list(by_video(listing)), listing.notes) == (["a", "b"], [])


def test_dfdc_test_videos_are_found_in_linked_folders_and_taken_once(tmp_path: Path) -> None:
    files(tmp_path, "disk/aaa.mp4", "set/old/deep/bbb.mp4", "set/test/bbb.mp4", "set/dfdc_train_part_3/ccc.mp4")
    files(tmp_path, "set/test/ccc.mp4")
    (tmp_path / "set/a").symlink_to(tmp_path / "disk")
    as_json(tmp_path / "set/dfdc_train_part_3/metadata.json", {"ccc.mp4": {"label": "REAL"}})
    as_text(tmp_path / "set/labels.csv", '"filename","label"', "aaa.mp4,1", "bbb.mp4,0", "ccc.mp4,0")
    listing = read(tmp_path / "set")
    places = [(Path(item.path).relative_to(tmp_path / "set").as_posix(), item.split) for item in listing.items]
    test = [("a/aaa.mp4", "test"), ("test/bbb.mp4", "test"), ("test/ccc.mp4", "test")]
    assert places == [("dfdc_train_part_3/ccc.mp4", "train"), *test]
    assert listing.missing == []
    assert listing.notes == ["Here more than once: 2 videos of labels.csv; each is taken where it lies least deep."]


def test_dfdc_test_set_has_one_for_fake(tmp_path: Path) -> None:
    files(tmp_path, "videos/aaa.mp4", "videos/bbb.mp4")
    as_text(tmp_path / "labels.csv", "filename,label", "aaa.mp4,1", "bbb.mp4,0", "ccc.mp4,0")
    listing = read(tmp_path)
    assert {name: item.label for name, item in by_video(listing).items()} == {"aaa": FAKE, "bbb": REAL}
    assert {item.split for item in listing.items} == {"test"}
    assert listing.missing == ["ccc.mp4"]


def test_dfdc_parts_beside_the_test_set_are_for_training(tmp_path: Path) -> None:
    files(tmp_path, "test/aaa.mp4", "dfdc_train_part_3/bbb.mp4")
    as_text(tmp_path / "labels.csv", "filename,label", "aaa.mp4,1")
    as_json(tmp_path / "dfdc_train_part_3/metadata.json", {"bbb.mp4": {"label": "REAL", "split": "train"}})
    manifest, _ = assign_splits(manifest_of(read(tmp_path).items))
    assert dict(zip(manifest.video, manifest.split, strict=True)) == {"aaa": "test", "bbb": "train"}


@pytest.mark.parametrize(
    "content", ["[]", '{"a.mp4": 1}', "{", '{"a.mp4": {"label": "MAYBE"}}', '{"../a.mp4": {"label": "REAL"}}']
)
def test_broken_dfdc_list_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(DataError, match=r"metadata\.json"):
        read(tmp_path)


def test_dfdc_face_crops_in_a_tar(tmp_path: Path) -> None:
    listing = read(face_tar(tmp_path, pairs=2, extra={"loose": face_jpeg(2)}))
    items = by_video(listing)
    assert listing.layout == "dfdc-faces"
    assert items["f1"] == Item(
        path=str(tmp_path / "train.tar"),
        member="faces_224/f1.jpg",
        label=FAKE,
        dataset="DFDC",
        method="DFDC",
        original="r1",
        group="part 1",
        split="train",
        video="f1",
        crop=True,
    )
    assert items["r0"].label == REAL
    assert items["loose"].group == "", "part -1 stands for several: the original is the group"
    assert manifest_of(listing.items).set_index("video").group["loose"] == "loose"


def test_dfdc_face_crops_in_a_folder_with_a_missing_one(tmp_path: Path) -> None:
    files(tmp_path, "faces_224/a.jpg", "faces_224/unlisted.jpg")
    as_text(
        tmp_path / "metadata.csv",
        '"videoname","original_width","original_height","label","original"',
        "a.mp4,1,1,FAKE,b.mp4",
        "b.mp4,1,1,REAL,",
    )
    listing = read(tmp_path)
    assert [(item.video, item.label, item.original) for item in listing.items] == [("a", FAKE, "b")]
    assert listing.missing == ["b.mp4 (metadata.csv)"]
    assert any("1 picture of " in note for note in listing.notes)


def test_dfdc_face_crops_named_twice_and_parts_with_a_gap(tmp_path: Path) -> None:
    files(tmp_path, "faces_224/a.jpg", "faces_224/b.jpg")
    rows = ["videoname,label,original,part", "a.mp4,FAKE,b.mp4,10.0", "a.mp4,FAKE,b.mp4,10.0", "b.mp4,REAL,,"]
    table = as_text(tmp_path / "metadata.csv", *rows)
    listing = read(tmp_path)
    assert [(item.video, item.group) for item in listing.items] == [("a", "part 10"), ("b", "")]
    assert listing.missing == []
    assert listing.notes == ["1 row of metadata.csv left out: an earlier one names the same video."]
    as_text(table, *rows, "b.mp4,FAKE,,")
    with pytest.raises(ManifestError, match=r"line 5: b\.mp4 is REAL and FAKE"):
        read(tmp_path)


def test_lists_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    files(tmp_path, "test/a.mp4", "faces/faces_224/a.jpg", "part/a.mp4", "celeb/Celeb-real/a.mp4", "b.jpg")
    as_text(tmp_path / "test/labels.csv", "\ufefffilename,label", "a.mp4,1")
    as_text(tmp_path / "faces/m.csv", "\ufeffvideoname,label,original", "a.mp4,FAKE,b.mp4")
    as_text(tmp_path / "part/metadata.json", '\ufeff{"a.mp4": {"label": "FAKE"}}')
    as_text(tmp_path / "celeb/List_of_testing_videos.txt", "\ufeff1 Celeb-real/a.mp4")
    as_text(tmp_path / "t.jsonl", '\ufeff{"path": "b.jpg", "label": 1}')
    found = [len(read(tmp_path / name).items) for name in ("test", "faces", "part", "celeb", "t.jsonl")]
    assert found == [1] * 5


def test_commas_that_end_the_rows_shift_no_columns(tmp_path: Path) -> None:
    files(tmp_path, "a.jpg", "b.jpg")
    as_text(tmp_path / "t.csv", "path,label", "a.jpg,REAL,", "b.jpg,FAKE,")
    assert [item.label for item in read(tmp_path / "t.csv").items] == [REAL, FAKE]


def test_dfdc_preview_is_not_dfdc(tmp_path: Path) -> None:
    files(tmp_path, "method_A/7/7_9_B_0.mp4", "original_videos/7/7_B.mp4")
    as_json(
        tmp_path / "dataset.json",
        {
            "method_A/7/7_9_B_0.mp4": {"label": "fake", "set": "train", "target_id": 7},
            "original_videos/7/7_B.mp4": {"label": "real", "set": "train"},
            "method_B/8/gone.mp4": {"label": "fake", "set": "test"},
        },
    )
    listing = read(tmp_path)
    items = by_video(listing)
    assert items["method_A/7/7_9_B_0"].label == FAKE
    assert items["method_A/7/7_9_B_0"].method == "method_A"
    assert items["original_videos/7/7_B"].label == REAL
    assert {item.group for item in listing.items} == {"actor 7"}
    assert {item.dataset for item in listing.items} == {"DFDC preview"}
    assert listing.missing == ["method_B/8/gone.mp4"]
    assert ["may stand in another split" in note for note in listing.notes] == [True]


def ffpp(root: Path) -> Path:
    return files(
        root,
        "original_sequences/youtube/c23/videos/071.mp4",
        "original_sequences/youtube/c23/videos/054.mp4",
        "original_sequences/youtube/c40/videos/071.mp4",
        "original_sequences/youtube/c23/videos/300.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4",
        "manipulated_sequences/Face2Face/c23/videos/071_054.mp4",
        "manipulated_sequences/Face2Face/c40/videos/054_071.mp4",
        "original_sequences/actors/c23/videos/01__walking.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walking__ABCDEFGH.mp4",
    )


def test_faceforensics_same_stem_under_two_methods(tmp_path: Path) -> None:
    files(tmp_path, "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4")
    listing = read(ffpp(tmp_path))
    items = by_video(listing)
    assert {item.compression for item in listing.items} == {"c23", "c40"}, "a mask is no video of a face"
    one, other = items["c23/Deepfakes/071_054"], items["c23/Face2Face/071_054"]
    assert (one.label, one.method, one.compression) == (FAKE, "Deepfakes", "c23")
    assert other.method == "Face2Face"
    assert one.original == other.original == "c23/youtube/071"
    assert items["c23/youtube/071"].label == REAL
    pair = {items[name].group for name in items if "071" in name or "054" in name}
    assert pair == {"pair 054"}, "both originals, every method and compression of a pair belong together"
    assert listing.missing == ["original_sequences: c40/youtube/054"]


def test_faceforensics_official_splits_and_dfd(tmp_path: Path) -> None:
    ffpp(tmp_path)
    as_json(tmp_path / "splits/train.json", [["071", "054"], ["998", "999"]])
    as_json(tmp_path / "splits/test.json", [["300", "301"]])
    listing = read(tmp_path)
    items = by_video(listing)
    assert items["c23/Face2Face/071_054"].split == items["c23/youtube/054"].split == "train"
    assert items["c23/youtube/300"].split == "test"
    assert any("3 of the 6 originals" in note for note in listing.notes)
    dfd = items["c23/DeepFakeDetection/01_02__walking__ABCDEFGH"]
    assert (dfd.label, dfd.dataset, dfd.original, dfd.group) == (
        FAKE,
        "DeepFakeDetection",
        "c23/actors/01__walking",
        "actor 01",
    )
    assert dfd.original in items


def test_faceforensics_files_in_other_places_are_noted(tmp_path: Path) -> None:
    files(
        ffpp(tmp_path),
        "original_sequences/youtube/c23/videos/._071.mp4",
        "original_sequences/youtube/c23/images/071/0000.png",
        "original_sequences/youtube/c23/videos/README.txt",
        "manipulated_sequences/NeuralTextures/c23/071_054.mp4",
        "manipulated_sequences/Deepfakes/masks/images/071_054.png",
    )
    (tmp_path / "original_sequences/youtube/c23/videos/999.mp4").symlink_to(tmp_path / "gone.mp4")
    listing = read(tmp_path)
    assert len(listing.items) == 9
    assert listing.notes[0] == (
        "Left out, as it is the videos in */*/videos/ that count: 2 files, "
        "original_sequences/youtube/c23/images/071/0000.png first."
    )
    assert listing.missing[0] == "original_sequences/youtube/c23/videos/999.mp4"


def test_celeb_df_list_without_header_and_one_for_real(tmp_path: Path) -> None:
    files(
        tmp_path,
        "Celeb-real/id0_0000.mp4",
        "Celeb-real/id1_0000.mp4",
        "Youtube-real/00170.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
        "Celeb-synthesis/id1_id0_0000.mp4",
    )
    as_text(
        tmp_path / "List_of_testing_videos.txt",
        "1 YouTube-real/00170.mp4",
        "0 Celeb-synthesis/id0_id1_0000.mp4",
        "1 Celeb-real/id9_0000.mp4",
    )
    listing = read(tmp_path)
    items = by_video(listing)
    assert items["youtube-real/00170"].label == REAL, "the first line of the list is no header, and 1 is REAL"
    assert items["youtube-real/00170"].split == "test"
    fake = items["celeb-synthesis/id0_id1_0000"]
    assert (fake.label, fake.split, fake.original, fake.group) == (FAKE, "test", "celeb-real/id0_0000", "id0")
    assert items["celeb-synthesis/id1_id0_0000"].split == "train", "what is not listed is training data"
    assert listing.missing == ["Celeb-real/id9_0000.mp4"]


def test_both_people_of_a_fake_are_one_group_where_groups_are_left(tmp_path: Path) -> None:
    celebs = [f"Celeb-real/id{k}_0000.mp4" for k in range(6)]
    files(tmp_path, *celebs, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id3_id2_0000.mp4")
    listing = read(tmp_path)
    groups = {name: item.group for name, item in by_video(listing).items()}
    assert groups["celeb-real/id1_0000"] == groups["celeb-synthesis/id0_id1_0000"] == groups["celeb-real/id0_0000"]
    assert groups["celeb-real/id2_0000"] == groups["celeb-synthesis/id3_id2_0000"]
    assert len({groups[name] for name in groups if name.startswith("celeb-real")}) == 4
    assert not [note for note in listing.notes if "connect" in note]
    files(tmp_path, "Celeb-synthesis/id2_id0_0000.mp4")
    listing = read(tmp_path)
    assert by_video(listing)["celeb-synthesis/id2_id0_0000"].group == "id2"
    assert any("connect 4 of the 6 people" in note for note in listing.notes)


def test_celeb_df_test_videos_of_another_suffix_are_test_videos(tmp_path: Path) -> None:
    files(tmp_path, "Celeb-real/id0_0000.MP4", "Celeb-synthesis/id0_id1_0000.avi", "Celeb-real/._id0_0000.MP4")
    as_text(tmp_path / "List_of_testing_videos.txt", "1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id0_id1_0000.mp4")
    listing = read(tmp_path)
    assert [item.split for item in listing.items] == ["test", "test"]
    assert listing.missing == []


def test_both_actors_of_dfd_are_one_group_where_groups_are_left(tmp_path: Path) -> None:
    reals = [f"original_sequences/actors/c23/videos/{k:02d}__walking.mp4" for k in range(1, 7)]
    files(tmp_path, *reals, "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walking__ABCDEFGH.mp4")
    items = by_video(read(tmp_path))
    assert items["c23/actors/02__walking"].group == items["c23/actors/01__walking"].group == "actor 01"
    assert items["c23/actors/03__walking"].group == "actor 03"


@pytest.mark.parametrize("line", ["0 Celeb-real/id0_0000.mp4", "REAL Celeb-real/id0_0000.mp4", "1 elsewhere/a.mp4"])
def test_celeb_df_list_that_contradicts_itself_is_refused(tmp_path: Path, line: str) -> None:
    files(tmp_path, "Celeb-real/id0_0000.mp4")
    as_text(tmp_path / "List_of_testing_videos.txt", line)
    with pytest.raises(ManifestError, match="List_of_testing_videos"):
        read(tmp_path)


def test_deepfake_timit_with_vidtimit_beside_it(tmp_path: Path) -> None:
    files(
        tmp_path,
        "higher_quality/fadg0/sa1-video-fram1.avi",
        "lower_quality/fadg0/sa1-video-fram1.avi",
        "lower_quality/fadg0/sa2-video-fram1.avi",
        "lower_quality/fadg0/._sa2-video-fram1.avi",
        "VidTIMIT/fadg0/video/sa1/001",
        "VidTIMIT/fadg0/video/sa1/002",
        "VidTIMIT/fadg0/video/sa1/²",
        "VidTIMIT/fadg0/audio/sa1.wav",
        "VidTIMIT/fadg0/._sa1.avi",
    )
    listing = read(tmp_path)
    fakes = [item for item in listing.items if item.label == FAKE]
    reals = [item for item in listing.items if item.label == REAL]
    assert {item.method for item in fakes} == {"higher_quality", "lower_quality"}
    assert [(item.video, item.frame) for item in reals] == [("fadg0/sa1", 1), ("fadg0/sa1", 2)]
    assert {item.group for item in listing.items} == {"fadg0"}
    assert listing.missing == ["VidTIMIT: fadg0/sa2"]
    assert ["may stand in another split" in note for note in listing.notes] == [True]


def test_deepfakebench_json_with_and_without_compression(tmp_path: Path) -> None:
    files(tmp_path, "FF/c23/000/000.png", "FF/c23/000_003/000.png", "FF/c23/000_003/001.png", "CDF/id0_0001/000.png")

    def entry(label: str, *frames: str) -> dict[str, object]:
        return {"label": label, "frames": list(frames)}

    as_json(
        tmp_path / "FaceForensics++.json",
        {
            "FaceForensics++": {
                "FF-real": {"train": {"c23": {"000": entry("FF-real", "FF\\c23\\000\\000.png")}}},
                "FF-F2F": {
                    "train": {
                        "c23": {
                            "000_003": entry(
                                "FF-F2F", "FF/c23/000_003/000.png", "FF/c23/000_003/001.png", "FF/c23/000_003/002.png"
                            )
                        }
                    }
                },
            }
        },
    )
    as_json(
        tmp_path / "Celeb-DF-v2.json",
        {"Celeb-DF-v2": {"CelebDFv2_real": {"test": {"id0_0001": entry("CelebDFv2_real", "CDF/id0_0001/000.png")}}}},
    )
    listing = read(tmp_path)
    assert listing.layout == "deepfakebench"
    fakes = [item for item in listing.items if item.label == FAKE]
    assert [(item.frame, item.compression, item.split) for item in fakes] == [(0, "c23", "train"), (1, "c23", "train")]
    real = next(item for item in listing.items if item.dataset == "FaceForensics++" and item.label == REAL)
    assert {item.original for item in fakes} == {real.video}
    assert {item.group for item in fakes} == {real.group}
    assert all(item.crop for item in listing.items)
    assert listing.missing == ["FF/c23/000_003/002.png"]
    assert listing.notes == []
    files(tmp_path, "CDF/id0_id1_0001/000.png")
    fake = entry("CelebDFv2_fake", "CDF/id0_id1_0001/000.png")
    as_json(tmp_path / "Celeb-DF-v2.json", {"Celeb-DF-v2": {"CelebDFv2_fake": {"test": {"id0_id1_0001": fake}}}})
    assert ["may stand in another split" in note for note in read(tmp_path).notes] == [True]


def test_deepfakebench_lists_each_file_once_in_its_most_held_out_split(tmp_path: Path) -> None:
    files(tmp_path, "r/0.png", "FF-DF/0.png", "FF-F2F/0.png", "c/²/²7.png")
    for method in ("FF-DF", "FF-F2F"):
        real = {"train": {"c23": {"000": {"label": "FF-real", "frames": ["r/0.png"]}}}}
        fake = {"train": {"c23": {"000_003": {"label": method, "frames": [f"{method}/0.png"]}}}}
        as_json(tmp_path / f"{method}.json", {method: {"FF-real": real, method: fake}})
    celeb = {"id0_0001": {"label": "CelebDFv2_real", "frames": ["c/²/²7.png"]}}
    splits = {"train": {}, "test": celeb, "val": celeb}
    as_json(tmp_path / "Celeb-DF-v2.json", {"Celeb-DF-v2": {"CelebDFv2_real": splits}})
    listing = read(tmp_path)
    manifest = manifest_of(listing.items)
    assert manifest.split.tolist() == ["test", "train", "train", "train"]
    assert summarise(listing)["paired"] == 2, "both methods' fakes have the one original"
    assert manifest.group.tolist()[1:] == ["pair 000"] * 3
    assert listing.notes == ["Listed in several splits: 1 file; each is in the test split, else in val."]


def test_deepfakebench_data_sets_of_one_list_with_the_same_names_keep_their_own_originals(tmp_path: Path) -> None:
    content = {
        f"Celeb-DF-v{k}": {
            f"CelebDFv{k}_{kind}": {"test": {name: {"label": f"CelebDFv{k}_{kind}", "frames": [f"{k}/{name}/0.png"]}}}
            for kind, name in (("real", "id0_0001"), ("fake", "id0_id1_0001"))
        }
        for k in (1, 2)
    }
    files(tmp_path, *(f"{k}/{name}/0.png" for k in (1, 2) for name in ("id0_0001", "id0_id1_0001")))
    as_json(tmp_path / "both.json", content)
    listing = read(tmp_path)
    originals = {item.dataset: item.original for item in listing.items if item.label == FAKE}
    assert originals == {f"Celeb-DF-v{k}": f"Celeb-DF-v{k}/CelebDFv{k}_real/id0_0001" for k in (1, 2)}
    assert summarise(listing)["paired"] == 2


def test_deepfakebench_names_of_dfd_and_uadfv_tell_originals_and_people(tmp_path: Path) -> None:
    labels = {
        "DeepFakeDetection": {
            "DFD_real": [f"{k:02d}__walk" for k in range(1, 7)],
            "DFD_fake": ["01_02__walk__YVGY8LOK"],
        },
        "UADFV": {"UADFV_Real": ["0047", "0048"], "UADFV_Fake": ["0047_fake"]},
    }
    for dataset, names_of in labels.items():
        content = {}
        for label, names in names_of.items():
            files(tmp_path, *(f"{dataset}/{name}/000.png" for name in names))
            videos = {name: {"label": label, "frames": [f"{dataset}/{name}/000.png"]} for name in names}
            content[label] = {"test": videos}
        as_json(tmp_path / f"{dataset}.json", {dataset: content})
    listing = read(tmp_path)
    items = by_video(listing)
    fake = items["DeepFakeDetection/DFD_fake/01_02__walk__YVGY8LOK"]
    assert fake.original == "DeepFakeDetection/DFD_real/01__walk"
    people = {name: items[f"DeepFakeDetection/DFD_real/{name}__walk"].group for name in ("01", "02", "03")}
    assert fake.group == people["01"] == people["02"] != people["03"]
    assert items["UADFV/UADFV_Fake/0047_fake"].original == "UADFV/UADFV_Real/0047"
    assert summarise(listing)["paired"] == 2
    manifest, _ = assign_splits(manifest_of(listing.items), {"train": 0.5, "test": 0.5}, resplit=True)
    split = manifest.set_index("video").split
    assert split["UADFV/UADFV_Fake/0047_fake"] == split["UADFV/UADFV_Real/0047"]


def test_deepfakebench_frames_may_not_leave_the_folder(tmp_path: Path) -> None:
    content = {"D": {"D_fake": {"test": {"v": {"label": "D_fake", "frames": ["../../etc/passwd"]}}}}}
    with pytest.raises(ManifestError, match="leaves the folder"):
        read(as_json(tmp_path / "d.json", content), layout="deepfakebench")


def test_plain_folders_pair_by_stem_method_and_source(tmp_path: Path) -> None:
    files(
        tmp_path,
        "Real/v1.mp4",
        "Real/015_0.jpg",
        "Real/015_2.jpg",
        "fake/v1.mp4",
        "fake/015_919_0.jpg",
        "fake/swap/v1.mp4",
        "fake/notes.txt",
    )
    items = {(item.video, item.frame): item for item in read(tmp_path).items}
    assert len(items) == 6
    assert items["fake/v1", -1].original == items["fake/swap/v1", -1].original == "real/v1"
    assert items["fake/swap/v1", -1].method == "swap"
    assert items["real/v1", -1].group == items["fake/v1", -1].group == items["fake/swap/v1", -1].group
    still = items["fake/015_919", 0]
    assert (still.label, still.original) == (FAKE, "real/015")
    assert still.group == items["real/015", 2].group


def test_plain_folders_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    files(tmp_path, "Real/a.mp4", "real/a.mp4", "fake/a.mp4")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("This file system does not tell the two apart.")
    with pytest.raises(ManifestError, match="both Real/ and real/"):
        read(tmp_path)


def test_plain_names_of_several_parts_pair(tmp_path: Path) -> None:
    files(tmp_path, *(f"real/video_{k}.mp4" for k in range(1, 13)), "real/1.mp4")
    files(tmp_path, *(f"fake/video_{k}_fake.mp4" for k in range(1, 13)))
    items = by_video(read(tmp_path))
    for k in range(1, 13):
        fake = items[f"fake/video_{k}_fake"]
        assert fake.original == f"real/video_{k}", "the longest part"
        assert fake.group == items[f"real/video_{k}"].group
    assert items["fake/video_12_fake"].group != items["fake/video_11_fake"].group
    assert items["real/1"].group != items["fake/video_2_fake"].group
    assert items["fake/video_1_fake"].group == "1", "the real video 1 may be the one that video_1 is named for"


def test_plain_names_as_in_celeb_df_and_dfd_tell_originals_and_people(tmp_path: Path) -> None:
    files(tmp_path, *(f"real/id{k}_000{take}.mp4" for k in range(20) for take in (0, 1)), "fake/id0_id10_0000.mp4")
    files(tmp_path, *(f"real/{k:02d}__walk.mp4" for k in range(1, 7)), "fake/01_02__walk__YVGY8LOK.mp4")
    listing = read(tmp_path)
    items = by_video(listing)
    assert items["fake/id0_id10_0000"].original == "real/id0_0000"
    celebs = {items[f"real/id{k}_000{take}"].group for k in (0, 10) for take in (0, 1)}
    assert celebs == {items["fake/id0_id10_0000"].group}
    assert items["real/id1_0000"].group == items["real/id1_0001"].group != items["fake/id0_id10_0000"].group
    assert items["fake/01_02__walk__YVGY8LOK"].original == "real/01__walk"
    assert len({items[f"real/{k}__walk"].group for k in ("01", "02", "03")}) == 2
    assert listing.notes == []
    files(tmp_path, *(f"fake/id{k}_id{k + 1}_0000.mp4" for k in range(19)))
    listing = read(tmp_path)
    assert by_video(listing)["real/id5_0001"].group == by_video(listing)["fake/id5_id6_0000"].group == "id5"
    assert any("connect 20 of the 26 people" in note for note in listing.notes)


def test_plain_folders_with_regular_expressions(tmp_path: Path) -> None:
    files(tmp_path, "real/annA-1.png", "real/annB-1.png", "fake/annC-7.png")
    items = read(tmp_path, Options(video_regex=r"^(\w+)-", group_regex=r"^([a-z]+)", crop=True)).items
    assert {item.group for item in items} == {"ann"}
    assert {item.video for item in items} == {"real/annA", "real/annB", "fake/annC"}
    assert all(item.crop for item in items)
    with pytest.raises(ManifestError, match="does not match 'annC-7'"):
        read(tmp_path, Options(group_regex="^(x)"))
    with pytest.raises(ManifestError, match="not a regular expression"):
        read(tmp_path, Options(video_regex="("))


def test_the_folder_in_fake_names_the_method_whatever_the_video_is_called(tmp_path: Path) -> None:
    files(tmp_path, "fake/swap/a_1.jpg", "fake/clip/0007.jpg")
    assert {item.video: item.method for item in read(tmp_path).items} == {"fake/swap/a": "swap", "fake/clip": "unknown"}
    by_name = read(tmp_path, Options(video_regex=r"(\w+)/?\d*$")).items
    assert {item.video: item.method for item in by_name} == {"fake/a_1": "swap", "fake/clip": "unknown"}


def test_a_long_number_is_no_frame(tmp_path: Path) -> None:
    files(tmp_path, "FB_IMG_1699999999999.jpg", "a_123456789.jpg")
    items = read(tmp_path, Options(label=REAL)).items
    assert [(item.video, item.frame) for item in items] == [("FB_IMG_1699999999999", -1), ("a", 123456789)]
    manifest_of(items)


def test_linked_folders_are_looked_into_and_hidden_files_are_not(tmp_path: Path) -> None:
    files(tmp_path, "away/x.jpg", "set/real/a.jpg", "set/real/._a.jpg", "set/real/.trash/b.jpg", "set/fake/b.jpg")
    (tmp_path / "set/fake/swap").symlink_to(tmp_path / "away")
    (tmp_path / "set/real/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/real/self").symlink_to(tmp_path / "set/real")
    assert [item.video for item in read(tmp_path / "set").items] == ["fake/b", "fake/swap/x", "real/a"]


def test_links_to_nothing_are_missing(tmp_path: Path) -> None:
    files(tmp_path, "real/a.jpg", "fake/swap/b.jpg")
    for name in ("real/c.mp4", "fake/swap/d.jpg", "fake/Deepfakes", "fake/._f.jpg"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    listing = read(tmp_path)
    assert sorted(by_video(listing)) == ["fake/swap/b", "real/a"]
    assert listing.missing == ["fake/Deepfakes", "fake/swap/d.jpg", "real/c.mp4"]
    assert read(tmp_path / "fake", Options(label=FAKE)).missing == ["Deepfakes", "swap/d.jpg"]


def test_hidden_folders_of_a_tar_and_hidden_lists_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.jpg", ".trash/b.jpg", "c/.d/e.jpg"):
            add_member(tar, name, b"x")
    for name in ("._s.tar", "._s.csv"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    listing = read(tmp_path, Options(label=REAL))
    assert [item.member for item in listing.items] == ["a.jpg"]
    assert listing.notes == []


def test_files_of_other_suffixes_and_closed_folders_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "real/a.jpg", "real/b.jfif", "real/c.gif", "real/list.txt", "real/closed/d.jpg")
    scandir = os.scandir

    def closed(folder: str) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    for listing in (read(tmp_path), read(tmp_path / "real", Options(label=REAL))):
        assert len(listing.items) == 1
        assert listing.notes == [
            f"{tmp_path}/real/closed cannot be read: Permission denied.",
            "Left out for their suffix: 2 files of real, b.jfif first.",
        ]


def test_what_cannot_be_opened_or_named_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileMissingError, match="cannot be read: File name too long"):
        read(tmp_path / ("a" * 300))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(LayoutError, match="no known layout"):
        read(tmp_path)

    def closed(folder: Path) -> object:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", closed)
    for options in (Options(), Options(label=REAL)):
        with pytest.raises(FileMissingError, match="cannot be read: Permission denied"):
            read(tmp_path, options)


def test_a_name_that_is_no_text_is_left_out_with_a_note(tmp_path: Path) -> None:
    files(tmp_path, "real/a.jpg", os.fsdecode(b"real/\xff.jpg"), os.fsdecode(b"real/\xff.gif"))
    listing = read(tmp_path)
    assert [item.video for item in listing.items] == ["real/a"]
    assert ["UTF-8" in note and "1 file" in note for note in listing.notes] == [False, True]
    listing.missing = [os.fsdecode(b"\xff.mp4")]
    assert json.dumps(summarise(listing), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("options", "users"),
    [
        ({"label": REAL}, "flat"),
        ({"video_regex": "(.+)"}, "flat, plain, table"),
        ({"group_regex": "(.+)"}, "flat, plain"),
    ],
)
def test_an_option_that_the_layout_does_not_use_is_refused(tmp_path: Path, options: dict, users: str) -> None:
    files(tmp_path, "Celeb-real/id0_0000.mp4")
    with pytest.raises(UsageError, match=f"means nothing to the layout celeb-df.* it is for: {users}\\.$"):
        read(tmp_path, Options(**options), "celeb-df")


def test_flat_folder_and_tar_take_the_label_given(tmp_path: Path) -> None:
    files(tmp_path, "set/Ann_0001.jpg", "set/Ann_0002.jpg", "set/clip.mp4")
    listing = read(tmp_path / "set", Options(label=REAL))
    assert listing.layout == "flat"
    manifest = manifest_of(listing.items)
    assert set(manifest.label) == {REAL}
    assert manifest.group.tolist() == ["Ann", "Ann", "clip"]
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add_member(tar, "a/one.jpg", b"x")
        add_member(tar, "a/two.jpg", b"x")
    as_text(tmp_path / "s.csv", "file,person", "a/one.jpg,Eve", "a/two.jpg,Eve", "a/gone.jpg,Bob")
    listing = read(tmp_path / "s.tar", Options(label=FAKE, crop=True))
    assert {(item.group, item.label, item.crop) for item in listing.items} == {("Eve", FAKE, True)}
    assert listing.missing == ["a/gone.jpg"]
    beside = read(tmp_path, Options(label=FAKE))  # the folder that holds both
    assert [item.member for item in beside.items] == ["", "", "", "a/one.jpg", "a/two.jpg"]
    assert beside.missing == ["a/gone.jpg"]


@pytest.mark.parametrize("lines", [("file;person", "a.jpg;Eve"), ("File,Person", "a.jpg,Eve")])
def test_a_list_that_tells_no_persons_is_noted(tmp_path: Path, lines: tuple[str, ...]) -> None:
    files(tmp_path, "set/a.jpg")
    as_text(tmp_path / "set/persons.csv", *lines)
    listing = read(tmp_path / "set", Options(label=REAL))
    assert [item.group for item in listing.items] == [""]
    assert listing.notes == ["persons.csv tells no persons: it has no columns file and person, parted by commas."]


def test_a_label_for_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    as_text(tmp_path / "t.csv", "path,label", "a.mp4,REAL")
    with pytest.raises(UsageError, match="--label is for folders and tars"):
        read(tmp_path / "t.csv", Options(label=REAL))
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as tar:
        add_member(tar, "a/one.jpg", b"x")
    (tmp_path / "broken.tar").write_bytes(b"x" * 2000)
    for name in ("s.tar.gz", "broken.tar"):
        with pytest.raises(DataError, match="is not an uncompressed tar"):
            read(tmp_path / name, Options(label=REAL))


def test_table_in_three_formats_says_the_same(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "b_3.jpg")
    rows = [
        {"path": "a.mp4", "label": "real", "group": "g1", "crop": ""},
        {"path": "b_3.jpg", "label": "FAKE", "group": "g2", "crop": "true"},
        {"path": "gone.mp4", "label": "1", "group": "g3", "crop": "no"},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    as_text(tmp_path / "t.jsonl", *(json.dumps(row) for row in rows))
    seen = [read(tmp_path / f"t.{suffix}") for suffix in ("csv", "parquet", "jsonl")]
    assert seen[0] == seen[1] == seen[2]
    assert [(item.label, item.group, item.crop, item.frame) for item in seen[0].items] == [
        (REAL, "g1", False, -1),
        (FAKE, "g2", True, 3),
    ]
    assert seen[0].missing == ["gone.mp4"]


def test_a_table_of_videos_keeps_fakes_and_their_originals_together(tmp_path: Path) -> None:
    files(tmp_path, "033.mp4", "033_097.mp4", "b_3.jpg", "c_4.jpg")
    rows = {"path": ["033.mp4", "033_097.mp4", "b_3.jpg", "c_4.jpg"], "label": [0, 1, 1, 1]}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    assert [item.frame for item in read(tmp_path / "t.csv").items] == [-1, -1, 3, 4], "097 is a person, no frame"
    pd.DataFrame(rows | {"frame": [None, None, 7, None]}).to_parquet(tmp_path / "t.parquet")
    assert [item.frame for item in read(tmp_path / "t.parquet").items] == [-1, -1, 7, 4]


def test_an_original_may_be_named_by_its_file(tmp_path: Path) -> None:
    files(tmp_path, "x/r0.mp4", "y/r0.mp4", "x/r1.mp4", "f0.mp4", "f1.mp4", "f2.mp4", "x/a_1.jpg", "b_1.jpg")
    rows = ["x/r0.mp4,REAL,", "y/r0.mp4,REAL,", "x/r1.mp4,REAL,", "f0.mp4,FAKE,y/r0.mp4", "f1.mp4,FAKE,r1.mp4"]
    rows += ["f2.mp4,FAKE,r0.mp4", "x/a_1.jpg,REAL,", "b_1.jpg,FAKE,a_1.jpg"]
    as_text(tmp_path / "t.csv", "path,label,original", *rows)
    items = read(tmp_path / "t.csv").items
    assert [item.original for item in items] == ["", "", "", items[1].path, items[2].path, "r0.mp4", "", "x/a"]
    manifest = manifest_of(items)
    assert manifest.group[3] == manifest.group[1], "a fake and its original are of one group"


def test_an_original_that_is_a_key_stays_it(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    as_text(tmp_path / "t.csv", "path,label,video,original", "a.mp4,0,b.mp4,", "b.mp4,0,v,", "c.mp4,1,w,b.mp4")
    assert read(tmp_path / "t.csv").items[2].original == "b.mp4"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_numbers_as_keys_pair_though_some_rows_lack_them(tmp_path: Path, suffix: str) -> None:
    files(tmp_path, "a.mp4", "b.mp4")
    rows = [{"path": "a.mp4", "label": 0, "video": 1}, {"path": "b.mp4", "label": 1, "video": 2, "original": 1}]
    as_text(tmp_path / "t.jsonl", *(json.dumps(row) for row in rows))
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    assert manifest_of(read(tmp_path / f"t.{suffix}").items).group.tolist() == ["1", "1"]


def test_keys_that_are_no_numbers_stay_as_they_are(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "1.0")
    as_text(tmp_path / "t.csv", "path,label,video,group", "a.mp4,0,1.0,1.0", "1.0,1,2.0,take 2.0")
    items = read(tmp_path / "t.csv").items
    assert [(Path(item.path).name, item.video, item.group) for item in items] == [
        ("a.mp4", "1", "1.0"),
        ("1.0", "2", "take 2.0"),
    ]


def test_numbered_pictures_of_a_table_are_stills(tmp_path: Path) -> None:
    names = ["x/a_1.jpg", "x/a_2.jpg", "y/a_1.jpg", "y/0001.jpg", "y/v_1.mp4"]
    files(tmp_path, *names)
    as_text(tmp_path / "t.csv", "path,label", *(f"{name},REAL" for name in names))
    listing = read(tmp_path / "t.csv")
    assert [item.video for item in listing.items] == ["x/a", "x/a", "y/a", "y/0001", ""]
    assert listing.notes == []
    named = read(tmp_path / "t.csv", Options(video_regex=r"^(\w+)/", crop=True)).items
    assert [item.video for item in named] == ["x", "x", "y", "y", ""]
    assert [item.crop for item in named] == [True] * 4 + [False], "a crop of a video would be one frame of it"
    as_text(tmp_path / "t.csv", "path,label,video", "x/a_1.jpg,REAL,mine")
    assert [item.video for item in read(tmp_path / "t.csv").items] == ["mine"]
    with pytest.raises(UsageError, match="has a column video"):
        read(tmp_path / "t.csv", Options(video_regex="(.+)"))


def test_a_tars_own_name_says_nothing_of_its_pictures(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "part_7.tar", "w") as tar:
        add_member(tar, "a_3.jpg", b"x")
        add_member(tar, "b.jpg", b"x")
    as_text(tmp_path / "t.csv", "path,member,label", "part_7.tar,a_3.jpg,REAL", "part_7.tar,b.jpg,REAL")
    items = read(tmp_path / "t.csv").items
    assert [(item.video, item.frame) for item in items] == [("part_7.tar/a", 3), ("part_7.tar/b", -1)]


def test_a_row_of_a_tar_that_is_not_here_is_missing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add_member(tar, "a.jpg", b"x")
    as_text(tmp_path / "t.csv", "path,member,label", "gone.tar,a.jpg,REAL", "s.tar,a.jpg,REAL", "s.tar,b.jpg,REAL")
    listing = read(tmp_path / "t.csv")
    assert [item.member for item in listing.items] == ["a.jpg"]
    assert listing.missing == ["gone.tar a.jpg", "s.tar b.jpg"]


@pytest.mark.parametrize("label", [0, 1])
def test_table_labels_as_numbers(tmp_path: Path, label: int) -> None:
    files(tmp_path, "a.mp4")
    pd.DataFrame({"path": ["a.mp4"], "label": [label]}).to_parquet(tmp_path / "t.parquet")
    assert [item.label for item in read(tmp_path / "t.parquet").items] == [label]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("path,label", "a.mp4,perhaps"), "row 1: the label 'perhaps'"),
        (("path,label", "a.mp4,"), "row 1: the label ''"),
        (("path,label", "../a.mp4,REAL"), "leaves the folder"),
        (("path,label", ",REAL"), "row 1 has no path"),
        (("path,label,crop", "a.mp4,REAL,maybe"), "crop is 'maybe'"),
        (("path,label,frame", "a.mp4,REAL,x"), "frame is 'x'"),
        (("path,label,frame", "a.mp4,REAL,--3"), "frame is '--3'"),
        (("path,label,frame", "a.mp4,REAL,²"), "frame is '²'"),
        (("path,label", "a.mp4,REAL", "a.mp4,FAKE"), "names a file that an earlier row names"),
        (("path,label", 'a.mp4,"REAL'), "cannot be read as CSV"),
        (("path,verdict", "a.mp4,REAL"), "no column label"),
    ],
)
def test_broken_table_rows_are_named(tmp_path: Path, lines: tuple[str, ...], problem: str) -> None:
    files(tmp_path, "a.mp4")
    table = as_text(tmp_path / "t.csv", *lines)
    with pytest.raises(DataError, match=problem):
        manifest_of(read(table, layout="table").items)


def test_broken_json_line_is_named(tmp_path: Path) -> None:
    table = as_text(tmp_path / "t.jsonl", '{"path": "a", "label": "REAL"}', "[1]")
    with pytest.raises(ManifestError, match="line 2"):
        read(table, layout="table")


def test_the_fault_of_a_table_is_named_without_its_layout(tmp_path: Path) -> None:
    files(tmp_path, "a\u2028.jpg")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read(as_text(tmp_path / "T.CSV", "path,label", "a,REAL", "b,FAKE,1,2"))
    with pytest.raises(ManifestError, match="line 3"):
        read(as_text(tmp_path / "t.jsonl", '{"path": "a", "label": 1}', "", "[1]"))
    line = json.dumps({"path": "a\u2028.jpg", "label": 1}, ensure_ascii=False)
    assert len(read(as_text(tmp_path / "t.jsonl", line, "", line.replace(".", "2."))).items) == 1


def test_unknown_folder_names_all_that_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LayoutError) as caught:
        recognise(tmp_path, Options())
    assert all(name in str(caught.value) for name in layouts())
    assert "Celeb-synthesis" in str(caught.value)


def test_two_data_sets_in_one_folder_are_not_guessed_at(tmp_path: Path) -> None:
    files(tmp_path, "real/a.mp4", "fake/a.mp4", "Celeb-real/id0_0000.mp4")
    with pytest.raises(LayoutError, match="more than one layout: celeb-df, plain"):
        read(tmp_path)
    assert read(tmp_path, layout="plain").layout == "plain"


def test_wrong_layout_or_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no layout 'xyz'"):
        read(tmp_path, layout="xyz")
    with pytest.raises(LayoutError, match="nothing of the layout ffpp"):
        read(tmp_path, layout="ffpp")
    for layout in (None, *layouts()):
        with pytest.raises(FileMissingError, match="nothing at"):
            read(tmp_path / "absent", Options(label=REAL), layout)
    files(tmp_path, "file")
    for layout in layouts():
        with pytest.raises(DataError):
            read(tmp_path / "file", Options(label=REAL if layout == "flat" else None), layout)


def test_numbered_pictures_taken_as_stills_of_one_video_are_noted(tmp_path: Path) -> None:
    names = [f"real/real_{k}.jpg" for k in range(4)] + ["real/clip.mp4"]
    files(tmp_path, *names, "fake/a_1.jpg", "fake/a_2.jpg", "fake/b_1.jpg", "fake/b_2.jpg")
    (note,) = read(tmp_path).notes
    assert note.startswith("4 REAL pictures are taken as stills of 1 video; --video-regex")
    assert read(tmp_path, Options(video_regex="(.+)")).notes == []
    assert len(read(tmp_path / "real", Options(label=FAKE)).notes) == 1
    assert read(tmp_path / "fake", Options(label=FAKE)).notes == []


def test_folders_of_numbered_pictures_are_methods_and_noted(tmp_path: Path) -> None:
    methods = ("Deepfakes", "Face2Face", "FaceSwap")
    files(tmp_path, *(f"fake/{method}/{k:04d}.jpg" for method in methods for k in range(6)))
    files(tmp_path, *(f"real/{k:04d}.jpg" for k in range(6)))
    listing = read(tmp_path)
    (note,) = listing.notes
    assert note.startswith("18 FAKE pictures are taken as stills of 3 videos; --video-regex")
    assert {item.method for item in listing.items if item.label == FAKE} == set(methods)
    assert len(read(tmp_path / "fake", Options(label=FAKE)).notes) == 1
    each = read(tmp_path, Options(video_regex="(.+)"))
    assert len({item.video for item in each.items}) == 24
    assert {item.method for item in each.items if item.label == FAKE} == set(methods)
    assert each.notes == []


def test_folders_of_a_videos_stills_are_no_methods(tmp_path: Path) -> None:
    names = [f"{folder}/clip{k}/{frame:04d}.jpg" for folder in ("real", "fake") for k in range(3) for frame in range(9)]
    files(tmp_path, *names)
    listing = read(tmp_path)
    assert {item.method for item in listing.items if item.label == FAKE} == {"unknown"}
    assert listing.notes == []
    files(tmp_path, *(f"fake/other{k}/{frame:04d}.jpg" for k in range(3) for frame in range(9)))
    assert {item.method for item in read(tmp_path).items if item.label == FAKE} == {"unknown"}, "real/ has such, too"


def hostile_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("/abs.jpg", tarfile.REGTYPE, "leaves the folder"),
        ("../up.jpg", tarfile.REGTYPE, "leaves the folder"),
        ("a.jpg", tarfile.SYMTYPE, "link or device"),
        ("a.jpg", tarfile.LNKTYPE, "link or device"),
    ],
)
def test_hostile_tar_is_refused(tmp_path: Path, name: str, kind: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(hostile_tar(tmp_path / "t.tar", name, kind), Options(label=REAL))


def test_compressed_or_broken_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(DataError, match="not an uncompressed tar"):
        read(tmp_path / "t.tar", Options(label=REAL))


def test_a_pair_is_a_fake_and_a_real_video_of_one_data_set() -> None:
    items = [
        Item("1.mp4", REAL, dataset="a", video="bc"),
        Item("2.mp4", FAKE, dataset="ab", video="x", original="c"),  # "ab" + "c" is "a" + "bc"
        Item("3.mp4", FAKE, dataset="a", video="y", original="x"),
        Item("4.mp4", FAKE, dataset="ab", video="z", original="x"),  # another fake
        Item("5.mp4", FAKE, dataset="a", video="w", original="bc"),
    ]
    assert summarise(Listing("table", items))["paired"] == 1


def test_summary_counts_and_notes(tmp_path: Path) -> None:
    files(tmp_path, "fake/a.mp4", "fake/b.mp4")
    (tmp_path / "fake/b.mp4").write_bytes(b"")
    summary = summarise(read(tmp_path))
    assert (summary["items"], summary["paired"]) == (2, 0)
    assert [(row["label"], row["items"]) for row in summary["counts"]] == [("FAKE", 2)]
    notes = " ".join(summary["notes"])
    assert "no REAL item" in notes
    assert "1 file without content" in notes
    assert "2 fakes have no original" in notes
