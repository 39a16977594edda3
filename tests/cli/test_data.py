from __future__ import annotations

from pathlib import Path

import pytest

from tests import media
from tests.cli.test_scan import run


@pytest.mark.parametrize("verb", ["inspect", "prepare"])
def test_a_manifest_of_another_suffix_is_refused_before_anything_is_done(verb: str, tmp_path: Path) -> None:
    manifest = tmp_path / "m.txt"
    out = ["-o", tmp_path / "cache"] if verb == "prepare" else []
    result = run("data", verb, tmp_path / "missing", *out, "--manifest", manifest)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"facetell: {manifest} is no name for a manifest. Let it end in .csv or .parquet.\n"
    assert not manifest.exists()


def test_a_label_for_a_table_is_refused(tmp_path: Path) -> None:
    photo = media.write_picture(tmp_path / "photo.png", media.astronaut())
    table = tmp_path / "table.csv"
    table.write_text("path,label\nphoto.png,REAL\n")
    assert run("data", "inspect", table).exit_code == 0
    for given in (table, photo):
        for words in (("data", "inspect", given), ("evaluate", "--data", given)):
            result = run(*words, "--label", "REAL")
            assert result.exit_code == 2
            assert f"--label is for folders and tars, and {given} is neither." in result.stderr
