"""The manifest: what a row must say, how it is read back, and that no split tears a group or an original apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetell.data.manifest import (
    COLUMNS,
    FAKE,
    REAL,
    Item,
    check_leaks,
    items_of,
    manifest_of,
    originals,
    read_manifest,
    validate,
    write_manifest,
)
from facetell.data.split import assign_splits, parse_fractions, rows_in, write_paper_protocol
from facetell.errors import FileMissingError, LeakError, ManifestError, OutputError, UsageError


def made(families: int = 40, fakes: int = 3, split: str = "") -> pd.DataFrame:
    """Originals r0 … with `fakes` fakes each, of two methods."""
    items = [Item(f"/r{k}", REAL, "d", video=f"r{k}", split=split) for k in range(families)]
    items += [
        Item(f"/f{k}-{n}", FAKE, "d", method=f"m{n % 2}", video=f"f{k}-{n}", original=f"r{k}", split=split)
        for k in range(families)
        for n in range(fakes)
    ]
    return manifest_of(items)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_manifest_is_read_back_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    items = [
        Item("/a,“b”.mp4", REAL, "d", video="NA", group="1"),
        Item("/t.tar", FAKE, "d", "m", "NA", "2", "", "c23", "x", 7, True, "in/é.jpg"),
    ]
    path = tmp_path / f"m.{suffix}"
    write_manifest(manifest_of(items), path)
    assert items_of(read_manifest(path)) == items


def test_relative_paths_are_taken_from_the_manifests_folder(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\nclips/a.mp4,1\n")
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.path.tolist() == [str(tmp_path / "clips/a.mp4")]
    assert tuple(manifest) == COLUMNS


def test_keys_that_look_like_numbers_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,video,original\na,0,071,\nb,1,071_054,071\n")
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.video.tolist() == ["071", "071_054"]
    assert manifest.group.tolist() == ["071", "071"]
    (tmp_path / "m.csv").write_text("path,label,video,original\na,0,071,\n")
    assert read_manifest(tmp_path / "m.csv").video.tolist() == ["071"]
    numbers = {"path": ["a", "b"], "label": [0, 1], "video": [1, 2], "original": [None, 1]}
    pd.DataFrame(numbers).to_parquet(tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet").group.tolist() == ["1", "1"]


@pytest.mark.parametrize("word", ["no", "false ", "2"])
def test_a_crop_that_is_neither_true_nor_false_is_refused(tmp_path: Path, word: str) -> None:
    (tmp_path / "m.csv").write_text(f"path,label,crop\na,0,{word}\n")
    with pytest.raises(ManifestError, match="crop"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ({"path": ["a"]}, "no column “label”"),
        ({"path": ["a"], "label": [2]}, "neither 0"),
        ({"path": ["a"], "label": ["FAKE"]}, "neither 0"),
        ({"path": ["", "b"], "label": [0, 1]}, "Row 1 .* has no path"),
        ({"path": ["a", "a"], "label": [0, 0]}, r"Row 2 .* names a file that an earlier row names too\.$"),
        ({"path": ["a", "b"] * 2, "label": [0] * 4}, r"Row 3 .* names too; 1 more row like it\.$"),
        ({"path": ["a", "b"] * 2, "label": [0, 0, 0, 1]}, r"Row 4 .* earlier row names with the other label\.$"),
    ],
)
def test_unsound_manifest_is_refused(rows: dict[str, list], problem: str) -> None:
    with pytest.raises(ManifestError, match=problem):
        validate(pd.DataFrame(rows))


def test_manifest_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.parquet").write_bytes(b"no parquet")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "m.parquet")


def test_group_defaults_to_the_original() -> None:
    manifest = made(2, 1)
    assert manifest.group.tolist() == ["r0", "r1", "r0", "r1"]


def test_leaks_are_found_when_writing(tmp_path: Path) -> None:
    group = manifest_of([Item("a", REAL, split="train", group="g"), Item("b", REAL, split="test", group="g")])
    original = manifest_of(
        [
            Item("a", REAL, split="train", group="g", video="a"),
            Item("b", FAKE, split="test", group="h", video="b", original="a"),
        ]
    )
    for leaking, word in ((group, "group"), (original, "original")):
        with pytest.raises(LeakError, match=word):
            write_manifest(leaking, tmp_path / "m.parquet")
    assert not (tmp_path / "m.parquet").exists()
    unrelated = group.assign(dataset=["one", "two"])
    check_leaks(unrelated)


@pytest.mark.parametrize("name", ["m.txt", "manifest", "m.csv.gz"])
def test_manifest_of_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no name for a manifest"):
        write_manifest(manifest_of([Item("a.mp4", REAL)]), tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="absent"):
        write_manifest(made(2), tmp_path / "absent" / "m.csv")


def test_splits_keep_families_whole_and_classes_and_methods_even() -> None:
    manifest, notes = assign_splits(made(100, 3), seed=3)
    assert notes == []
    family = manifest.original.where(manifest.original != "", manifest.video)
    assert (manifest.split.groupby(family).nunique() == 1).all()
    shares = manifest.groupby(["label", "method"]).split.value_counts(normalize=True).unstack()
    assert np.allclose(shares[["train", "val", "test"]], [0.8, 0.1, 0.1], atol=0.02)
    again, _ = assign_splits(made(100, 3), seed=3)
    other, _ = assign_splits(made(100, 3), seed=4)
    assert again.equals(manifest)
    assert not other.equals(manifest)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40), st.integers(0, 5))
def test_no_split_ever_leaks(rows: list[tuple[int, int]], seed: int) -> None:
    """Groups and originals at odds with each other: both hold all the same."""
    items = [
        Item(
            f"/{n}",
            FAKE if original else REAL,
            group=f"g{group}",
            original=f"o{original}" if original else "",
            video=f"o{n}",
        )
        for n, (group, original) in enumerate(rows)
    ]
    manifest, _ = assign_splits(manifest_of(items), seed=seed)
    assert (manifest.split != "").all()
    check_leaks(manifest)


def test_official_split_is_kept_and_its_leaks_are_taken_out_of_training() -> None:
    manifest = made(4, 1)
    manifest["split"] = np.where(manifest.video.isin(["r0", "f0-0", "f1-0"]), "test", "train")
    kept, notes = assign_splits(manifest)
    by_video = kept.set_index("video").split
    assert by_video[["r0", "f0-0", "f1-0"]].tolist() == ["test"] * 3
    assert by_video["r1"] == "", "r1 is the original of f1-0, which is held out"
    assert by_video["r2"] == "train"
    assert notes[0].startswith("1 training row of d left out of the official split")
    anew, notes = assign_splits(manifest, resplit=True)
    assert not any("official" in note for note in notes)
    assert anew.set_index("video").split["r1"] != ""


def test_a_splits_name_may_have_capitals_and_unknown_ones_are_noted() -> None:
    manifest = made(6, 1)
    row = manifest.video.str.extract(r"(\d)")[0].astype(int)
    manifest["split"] = row.map({0: "Test", 1: "valid", 2: "VAL", 3: "Train", 4: "Train", 5: "holdout"})
    of_r0 = str(manifest.set_index("video").group["r0"])
    manifest["group"] = manifest.group.mask(manifest.video == "f3-0", of_r0)
    kept, notes = assign_splits(manifest)
    by_video = kept.set_index("video").split
    assert by_video[["r0", "r3", "r4"]].tolist() == ["Test", "", "Train"]
    assert set(kept.video[rows_in(kept, "train")]) == {"r4", "f4-0"}
    assert set(kept.video[rows_in(kept, "dev")]) == {"r1", "f1-0", "r2", "f2-0"}
    assert notes[-1].startswith("No training uses the split holdout: it learns from train, and chooses by dev, val,")


def test_official_held_out_splits_that_leak_into_each_other_are_refused() -> None:
    manifest = made(2, 1)
    manifest["split"] = ["val", "train", "test", "train"]
    with pytest.raises(LeakError):
        assign_splits(manifest)


@pytest.mark.parametrize("text", ["train", "train=x", "train=0,test=1", "=1", "train=1,train=1"])
def test_bad_fractions_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fractions(text)


def test_paper_protocol_copies_the_rarer_class_and_leaks(tmp_path: Path) -> None:
    manifest = made(50, 4)
    torn = write_paper_protocol(manifest, tmp_path / "p.csv", {"train": 0.8, "test": 0.2})
    table = pd.read_csv(tmp_path / "p.csv")
    labels = manifest.label.iloc[table["item"]]
    assert (labels == REAL).sum() == (labels == FAKE).sum() == 200
    assert table.split.value_counts().to_dict() == {"train": 320, "test": 80}
    assert torn > 25, "with one fifth for the test, most originals are torn apart"


def test_test_rows_and_rows_left_out_are_for_no_training() -> None:
    rows = pd.DataFrame({"split": ["train", "dev", "val", "validation", "test", ""]})
    assert rows_in(rows, "train").tolist() == [True, *[False] * 5]
    assert rows_in(rows, "dev").tolist() == [False, True, True, True, False, False]
    assert not rows_in(rows[4:], "train").any(), "what the test split knows is not trained on"
    assert rows_in(rows[5:], "train").all(), "a data set without any split is for training"


def test_splits_that_lack_a_class_are_noted() -> None:
    lone = made(10, 1).assign(group=["real"] * 10 + ["fake"] * 10, original="")
    _, notes = assign_splits(lone, {"train": 0.5, "val": 0.3, "test": 0.2})
    said = [note for note in notes if note.startswith("The split test of d holds no")]
    assert len(said) == 2
    _, notes = assign_splits(made(4, 1)[4:].assign(split="train"))
    assert notes == [], "a class that is nowhere is said once, for the whole data set"
    official = made(4, 0).assign(split=["train", "train", "test", "test"])
    official.loc[[0, 2], "label"] = FAKE
    official.loc[3, "label"] = FAKE
    assert assign_splits(official)[1] == ["The split test of d holds no REAL item."]


def test_a_fake_is_paired_with_its_original_of_the_same_compression_first() -> None:
    reals = [Item(f"{c}.png", REAL, dataset="d", video="real", compression=c) for c in ("c23", "c40")]
    fakes = [Item(f"f{c}.png", FAKE, dataset="d", original="real", compression=c) for c in ("c23", "c40", "raw")]
    other = Item("other.png", FAKE, dataset="d", original="gone", compression="c23")
    found = originals(manifest_of([*reals, *fakes, other]))
    assert (found[2], found[3]) == (0, 1)
    assert found[4] == 0
    assert 5 not in found
