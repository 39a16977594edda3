from __future__ import annotations

from facetell.report.timing import runs, sampling_interval
from facetell.types import Label
from tests.report import made


def test_interval_is_shared_by_all_people() -> None:
    one = made.track(1, Label.REAL, [made.face(time, 0.1) for time in (0.0, 1.0, 2.0)])
    two = made.track(2, Label.REAL, [made.face(time, 0.1) for time in (2.0, 3.0, 9.0)])
    assert sampling_interval([one, two]) == 1.0
    assert sampling_interval([]) is None


def test_runs_break_where_a_sample_is_missing() -> None:
    scores = [made.face(time, 0.1) for time in (0.0, 1.0, 2.5, 4.1, 5.0)]
    assert [[score.time_s for score in run] for run in runs(scores, 1.0)] == [[0.0, 1.0, 2.5], [4.1, 5.0]]
    assert runs([], 1.0) == []
    assert runs(scores[:1], None) == [scores[:1]]
