"""Face scores as a table: one row per face that was scored."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from facetell.report.text import plain
from facetell.types import Verdict

COLUMNS = ("path", "label", "track", "time_s", "x", "y", "w", "h", "p_fake", "quality", "usable", "problems")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what begins one, also full-width


def dump(verdicts: Sequence[Verdict]) -> str:
    """A CSV table with the header `COLUMNS`; a file without a scored face has one row, whose other cells are empty.

    A path that a spreadsheet would run as a formula is given a leading apostrophe, and control characters are replaced;
    the JSON report has the path exactly as it was given. Every cell is in quotes, so that no spreadsheet takes one
    apart: many separate cells by semicolons, others by commas.

    >>> from facetell.types import Label
    >>> print(dump([Verdict("=1+1.mp4", Label.NO_FACE)]).splitlines()[1])
    "'=1+1.mp4","NO_FACE","","","","","","","","","",""
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for verdict in verdicts:
        head = (_cell(verdict.path), str(verdict.label))
        rows = [
            (
                track.id,
                f"{round(score.time_s, 6):.3f}",  # first as in the JSON report, from which a batch may go on
                *(f"{round(float(value), 2):.1f}" for value in score.box),
                f"{score.p_fake:.6f}",
                f"{score.quality:.3f}",
                "yes" if score.usable else "no",
                "; ".join(score.problems),
            )
            for track in verdict.tracks
            for score in track.scores
        ]
        writer.writerows((*head, *row) for row in rows or [("",) * (len(COLUMNS) - len(head))])
    return table.getvalue()


def _cell(text: str) -> str:
    text = plain(text)
    return "'" + text if text.lstrip().startswith(_FORMULA) else text
