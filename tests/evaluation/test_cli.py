"""`facetell evaluate` as a person calls it, and the page it writes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.detectors import Detector
from tests.evaluation import made

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with hostile names, and a detector."""
    folder = tmp_path_factory.mktemp("cli")
    manifest = made.stills(folder)
    manifest["dataset"] = NASTY
    manifest["method"] = manifest.method.replace("brighter", NASTY)
    manifest.to_csv(folder / "table.csv", index=False)
    made.detector(folder, name="tiny.onnx")
    return folder


def call(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--resamples", "50"])


def test_a_table_on_the_terminal(folder: Path) -> None:
    result = call("--data", folder / "table.csv", "--detector", folder / "tiny.onnx")
    assert result.exit_code == 0, result.output
    assert "35 of 36 items scored; not: 1 NO_FACE" in result.output
    assert re.search(r"AUC +1\.000 \(1\.000–1\.000\)", result.output)


def test_json_on_standard_output_is_all_there_is(folder: Path) -> None:
    result = call("--data", folder / "table.csv", "--detector", folder / "tiny.onnx", "--json", "-", "--quiet")
    assert json.loads(result.stdout)["schema"] == "facetell-eval/1"


@pytest.mark.parametrize(
    ("document", "first", "last"), [("--submission", "filename,label", ""), ("--out", "<!doctype html>", "</html>")]
)
def test_a_document_on_standard_output_is_all_there_is(folder: Path, document: str, first: str, last: str) -> None:
    result = call("--data", folder / "table.csv", "--detector", folder / "tiny.onnx", document, "-")
    assert result.exit_code == 0, result.output
    assert result.stdout.lower().startswith(first)
    assert result.stdout.strip().endswith(last)
    assert "35 of 36 items scored" in result.stderr
    assert "equal error rate" in result.stderr
    assert document == "--out" or len(result.stdout.splitlines()) == 36


def test_one_class_still_exits_with_zero(folder: Path) -> None:
    table = folder / "fakes.csv"
    rows = made.manifest_rows(folder / "table.csv", label=1)
    rows.to_csv(table, index=False)
    result = call("--data", table, "--detector", folder / "tiny.onnx")
    assert result.exit_code == 0
    assert "no real items" in " ".join(result.output.split())


def test_a_page_is_written_where_nothing_could_be_scored(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blank").mkdir()
    shutil.copy(folder / "real-0_0.png", tmp_path / "blank")
    arguments = ["--data", tmp_path / "blank", "--label", "REAL", "--detector", folder / "tiny.onnx"]
    result = call(*arguments, "-o", tmp_path / "page.html", "--json", tmp_path / "result.json")
    assert result.exit_code == 2
    assert "Nothing could be scored: 1 NO_FACE." in " ".join(result.stderr.split())
    assert "0 of 1 item scored" in (tmp_path / "page.html").read_text()
    assert json.loads((tmp_path / "result.json").read_text())["coverage"]["unscored"] == {"NO_FACE": 1}


@pytest.mark.parametrize("study", [["--against", "{folder}/tiny.onnx"], ["--suite", "aggregation"]])
def test_a_study_of_both_classes_is_refused_before_one_class_is_scored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: list[str]
) -> None:
    def refuse(self: Detector, crops: np.ndarray):
        raise AssertionError("looked at")

    monkeypatch.setattr(Detector, "score", refuse)
    made.manifest_rows(folder / "table.csv", label=0).to_csv(tmp_path / "reals.csv", index=False)
    given = [part.format(folder=folder) for part in study]
    result = call("--data", tmp_path / "reals.csv", "--detector", folder / "tiny.onnx", *given)
    assert result.exit_code == 2
    assert study[0] in result.stderr
    assert "all of these are of one class" in result.stderr


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (["--against", "{folder}/tiny.onnx"], "Against tiny 1: not compared"),
        (["--suite", "aggregation"], "Pooling rules: not compared"),
    ],
)
def test_a_study_of_which_one_class_could_be_scored_loses_nothing_else(
    folder: Path, tmp_path: Path, study: list[str], said: str
) -> None:
    rows = made.manifest_rows(folder / "table.csv")
    blank = Path(rows.path.iloc[0])  # shows no face
    for at in rows.index[rows.label == 1]:
        rows.loc[at, "path"] = str(shutil.copy(blank, tmp_path / Path(rows.path[at]).name))
    rows.to_csv(tmp_path / "dark.csv", index=False)
    given = [part.format(folder=folder) for part in study]
    result = call(
        "--data", tmp_path / "dark.csv", "--detector", folder / "tiny.onnx", *given, "-o", tmp_path / "page.html"
    )
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert f"{said}; the videos that could be scored are of one class only." in text
    assert "ot compared; the videos that could be scored are of one class only." in (tmp_path / "page.html").read_text()
    assert "real, called FAKE" in text


def test_a_comparison_is_resampled_as_often_as_asked(folder: Path, tmp_path: Path) -> None:
    words = ["--data", folder / "table.csv", "--detector", folder / "tiny.onnx", "--against", folder / "tiny.onnx"]
    words += ["--json", tmp_path / "x.json", "--resamples", 0]
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "x.json").read_text())["against"]["difference_ci95"] is None


def test_a_comparison_says_why_it_has_no_interval(folder: Path, tmp_path: Path) -> None:
    rows = made.manifest_rows(folder / "table.csv")
    rows["group"] = rows["original"] = rows.label.map({0: "a", 1: "b"})
    rows.to_csv(tmp_path / "people.csv", index=False)
    arguments = ["--data", tmp_path / "people.csv", "--detector", folder / "tiny.onnx"]
    text = " ".join(call(*arguments, "--against", folder / "tiny.onnx").output.split())
    assert "difference +0.000; no interval from a single group of real items." in text


def test_gaps_are_said_and_counted(folder: Path) -> None:
    rows = made.manifest_rows(folder / "table.csv")[["path", "label"]]
    rows.loc[0, "path"] = "gone.png"
    rows.to_csv(folder / "gaps.csv", index=False)
    result = call("--data", folder / "gaps.csv", "--detector", folder / "tiny.onnx", "--json", "-", "--quiet")
    assert "1 listed item missing, gone.png first." in result.stderr
    assert json.loads(result.stdout)["data"]["missing"] == 1


def test_submission_names_files_and_probabilities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "linesep", "\r\n")  # Windows'
    out = folder / "submission.csv"
    assert call("--data", folder / "table.csv", "--detector", folder / "tiny.onnx", "--submission", out).exit_code == 0
    assert b"\r" not in out.read_bytes()
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["filename", "label"]
    assert len(rows) == 35, "36 stills of 12 videos, one without a face"
    assert all(0 <= float(row["label"]) <= 1 for row in rows)


def test_the_page_stands_alone_and_escapes_what_it_is_given(folder: Path) -> None:
    out = folder / "page.html"
    arguments = ["--data", folder / "table.csv", "--detector", folder / "tiny.onnx", "-o", out]
    assert call(*arguments, "--against", folder / "tiny.onnx").exit_code == 0
    text = out.read_text()
    assert NASTY not in text
    assert "&lt;script&gt;" in text
    page = Elements()
    page.feed(text)
    assert "script" not in page.tags
    assert page.tags.count("svg") >= 5
    assert not [url for url in page.urls if not url.startswith(("data:", "#"))]
    assert len(page.ids) == len(set(page.ids))
    assert "1.000 against 1.000, difference +0.000" in " ".join(text.split())


def test_mistakes_are_shown(folder: Path) -> None:
    rows = made.manifest_rows(folder / "table.csv")
    rows["label"] = 1 - rows.label
    rows.to_csv(folder / "swapped.csv", index=False)
    out = folder / "swapped.html"
    assert call("--data", folder / "swapped.csv", "--detector", folder / "tiny.onnx", "-o", out).exit_code == 0
    text = out.read_text()
    assert text.count("data:image/jpeg;base64,") == 12
    assert len(re.findall(r'<img alt="Face in [^"]+/(real|fake)-\d_\d\.png"', text)) == 12


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "nowhere"], "nothing at nowhere"),
        (["--data", "{folder}/table.csv", "--split", "dev"], "No row belongs to split 'dev'"),
        (["--data", "{folder}/table.csv", "--detector", "none.onnx"], "no detector file"),
        (["--data", "{folder}/table.csv", "--data", "{folder}/table.csv"], "an earlier row names too"),
        (["--data", "{folder}/table.csv", "--label", "maybe"], "neither REAL nor FAKE"),
        (["--data", "{folder}/table.csv", "-o", "nowhere/page.html"], "cannot be written"),
    ],
)
def test_bad_input_ends_in_one_line(folder: Path, arguments: list[str], complaint: str) -> None:
    given = [argument.format(folder=folder) for argument in arguments]
    if "--detector" not in given:
        given += ["--detector", str(folder / "tiny.onnx")]
    result = call(*given)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


class Elements(HTMLParser):
    """The tags, ids and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in ("src", "href", "xlink:href"):
                self.urls.append(str(value))
