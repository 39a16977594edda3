from __future__ import annotations

from facetell.report.timing import longest_gap, runs
from facetell.types import Label
from tests.report import made


def test_gap_comes_from_all_people() -> None:
    one = made.track(1, Label.REAL, [made.face(time, 0.1) for time in (0.0, 1.0, 2.0)])
    two = made.track(2, Label.REAL, [made.face(time, 0.1) for time in (2.0, 3.0, 9.0)])
    assert longest_gap([one, two]) == 1.5
    assert longest_gap([]) == 0


def test_runs_break_where_a_sample_is_missing() -> None:
    scores = [made.face(time, 0.1) for time in (0.0, 1.0, 2.5, 4.1, 5.0)]
    assert [[score.time_s for score in run] for run in runs(scores, 1.5)] == [[0.0, 1.0, 2.5], [4.1, 5.0]]
    assert runs([], 1.5) == []
    assert runs(scores[:1], 0.0) == [scores[:1]]
