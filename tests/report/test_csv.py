from __future__ import annotations

import csv
import io

import pytest

from facetell.report.csv import COLUMNS, dump
from tests.report import made


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_one_row_per_face() -> None:
    verdict = made.fake()
    table = rows(dump([verdict]))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == 24
    assert [row["track"] for row in table] == ["1"] * 20 + ["2"] * 4
    row = table[21]
    assert (row["path"], row["label"], row["time_s"]) == ("clip.mp4", "FAKE", "0.100")
    assert (row["x"], row["y"], row["w"], row["h"]) == ("200.0", "50.0", "70.0", "90.0")
    assert float(row["p_fake"]) == pytest.approx(0.3)
    assert (row["usable"], row["problems"]) == ("no", "blurred; too small")


def test_files_without_a_face_stay_in_the_table() -> None:
    table = rows(dump([made.no_face(), made.error()]))
    assert [(row["path"], row["label"], row["p_fake"]) for row in table] == [
        ("hills.webm", "NO_FACE", ""),
        ("notes.mp4", "ERROR", ""),
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\r=", "＝", "＋", "－", "＠"])
def test_a_path_is_never_a_formula(start: str) -> None:
    (row,) = rows(dump([made.no_face(f"{start}cmd|' /C calc'!A0.mp4")]))
    assert row["path"].startswith("'")


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_no_spreadsheet_takes_a_path_apart(separator: str) -> None:
    """Whatever it separates cells by: much of Europe does it by semicolons."""
    text = dump([made.no_face(f"x{separator}=cmd|' /C calc'!A0.mp4")])
    for taken_for in (";", "\t", ","):
        cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=taken_for) for cell in row]
        assert not any(cell.startswith("=") for cell in cells)


def test_hostile_path_stays_one_plain_cell() -> None:
    text = dump([made.hostile(), made.no_face('a,"b".mp4')])
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in text.replace("\n", ""))
    text.encode("utf-8")
    table = rows(text)
    assert len(table) == 25
    assert table[-1]["path"] == 'a,"b".mp4'
