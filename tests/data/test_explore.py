"""The exploration page: shortcuts are found where they were planted and nowhere else; the page stands on its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data import FaceCache
from facetell.data.explore import explore, shortcuts
from facetell.data.layouts import read
from facetell.data.manifest import REAL, Item, manifest_of
from facetell.data.prepare import Settings, prepare
from facetell.errors import DataError
from tests.data.made import face_jpeg, video_pairs

RNG = np.random.default_rng(0)


def still_cache(folder: Path, pairs: int = 8, padding: int = 0) -> FaceCache:
    """Pairs of crops; a fake's file carries `padding` more bytes behind its picture."""
    items = []
    for k in range(pairs):
        for label, name in enumerate(("real", "fake")):
            path = folder / f"<b>{name}{k}.jpg"
            junk = int(RNG.integers(0, 20_000)) if padding == 0 else padding * label
            path.write_bytes(face_jpeg(k % 6, bool(label)) + b"\0" * junk)
            items.append(
                Item(
                    str(path),
                    label,
                    "<i>set",
                    method="m" * label,
                    video=f"{name}{k}",
                    original=f"real{k}" * label,
                    crop=True,
                )
            )
    prepare(manifest_of(items), folder / "cache", workers=1)
    return FaceCache.open(folder / "cache")


def test_planted_shortcut_is_flagged_and_others_are_not(tmp_path: Path) -> None:
    found = {shortcut.name: shortcut for shortcut in shortcuts(still_cache(tmp_path, padding=50_000))}
    size = found["file size"]
    assert (size.auc, size.higher, size.pairs, size.n, size.flagged) == (1.0, "FAKE", 1.0, 16, True)
    assert found["resolution"].auc == found["codec"].auc == 0.5
    assert not found["resolution"].flagged
    assert found["resolution"].pairs is None
    assert found["frame rate"].auc is None, "stills have none"
    assert {name for name, shortcut in found.items() if shortcut.flagged} == {"file size", "file size per pixel"}


def test_shortcut_within_pairs_only_is_flagged(tmp_path: Path) -> None:
    """Files of all sizes, but each fake a little smaller than its original: the plain AUC hides it."""
    cache = still_cache(tmp_path, pairs=10)
    items = cache.items
    step = np.repeat(np.arange(10) * 1000, 2) + 5000
    labels = cache.manifest.label.iloc[items["item"]].to_numpy()
    items["size_bytes"] = step - 10 * labels
    items.to_parquet(cache.folder / "items.parquet", index=False)
    size = next(shortcut for shortcut in shortcuts(cache) if shortcut.name == "file size")
    assert size.auc is not None
    assert size.auc < 0.65
    assert (size.pairs, size.flagged) == (0.0, True)


def test_a_fake_is_held_against_the_original_of_its_own_compression(tmp_path: Path) -> None:
    """Fakes are a little larger than originals, and anything at c23 is much larger than anything at c40."""
    cache = still_cache(tmp_path, pairs=12)
    table, items = cache.manifest, cache.items
    number = np.arange(24) // 2
    strong = number >= 6
    table["video"] = [f"{'fake' if label else 'real'}{k % 6}" for label, k in zip(table.label, number, strict=True)]
    table["original"] = [f"real{k % 6}" * label for label, k in zip(table.label, number, strict=True)]
    table["compression"] = np.where(strong, "c40", "c23")
    items["size_bytes"] = np.where(strong, 1000, 90_000)[items["item"]] + 5 * table.label.to_numpy()[items["item"]]
    items.to_parquet(cache.folder / "items.parquet", index=False)
    assert next(shortcut for shortcut in shortcuts(cache) if shortcut.name == "file size").pairs == 1.0
    table["compression"] = np.where(table.label == REAL, "", "c23")
    assert next(shortcut for shortcut in shortcuts(cache) if shortcut.name == "file size").pairs == 0.5


def test_page_of_videos_stands_on_its_own(tmp_path: Path) -> None:
    root = video_pairs(tmp_path / "set", pairs=2)
    prepare(manifest_of(read(root).items), tmp_path / "cache", Settings("uniform:4", size=128), workers=1)
    page = explore(FaceCache.open(tmp_path / "cache"))
    assert not re.search(r"(src|href)=[\"'](?!data:)", page), "nothing is loaded from elsewhere"
    assert "<script" not in page
    assert page.count("data:image/jpeg") == 4 * 4 + 4, "four strips of four faces, and the four steps of the residual"
    for words in (
        "real, consecutive samples",
        "its fake",
        "fakes per original",
        "over time",
        "mean residual",
        "shortcut",
    ):
        assert words in page
    assert "nan" not in re.sub(r"data:image/jpeg;base64,[^\"]+", "", page).lower()


def test_names_from_the_data_set_are_escaped(tmp_path: Path) -> None:
    page = explore(still_cache(tmp_path))
    assert "&lt;i&gt;set" in page
    assert "<i>set" not in page


def test_one_class_alone_gives_no_auc(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(face_jpeg())
    prepare(manifest_of([Item(str(path), REAL, crop=True)]), tmp_path / "cache", workers=1)
    cache = FaceCache.open(tmp_path / "cache")
    assert {shortcut.auc for shortcut in shortcuts(cache)} == {None}
    assert "No fake stands beside its original" in explore(cache)


def test_empty_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    prepare(manifest_of([Item(str(tmp_path / "a.jpg"), REAL, crop=True)]), tmp_path / "cache", workers=1)
    with pytest.raises(DataError, match="no face"):
        explore(FaceCache.open(tmp_path / "cache"))


def test_command_line_writes_page_and_numbers(tmp_path: Path) -> None:
    cache = still_cache(tmp_path)
    out, numbers = tmp_path / "e.html", tmp_path / "e.json"
    run = CliRunner().invoke(app, ["data", "explore", str(cache.folder), "-o", str(out), "--json", str(numbers)])
    assert run.exit_code == 0, run.output
    assert out.read_text().startswith("<!doctype html>")
    assert len(json.loads(numbers.read_text())["shortcuts"]) == 9
