"""Verdicts on a terminal: a block for each file, a table for several, one line for scripts.

What is returned is Rich renderables; the caller's console decides on colour and width. Texts are built as
`rich.text.Text`, which knows no markup, from words that went through `plain`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from facetell.report.text import (
    count,
    coverage,
    is_still,
    moments,
    percent,
    plain,
    probability,
    score_and_threshold,
    strongest,
    threshold,
    unprotected,
)
from facetell.types import Label, TrackScore, Verdict

STYLES = {
    Label.FAKE: "bold red",
    Label.REAL: "bold green",
    Label.INCONCLUSIVE: "bold yellow",
    Label.NO_FACE: "bold cyan",
    Label.ERROR: "bold magenta",
}
_BARS = "▁▂▃▄▅▆▇█"
_WIDEST_CURVE = 16  # characters
_LEAST_REMARK = 9  # characters: its longest word
_MOST_PEOPLE = 10  # shown; a crowd's others are counted


def line(verdict: Verdict) -> str:
    """`path: LABEL p`, for scripts; p is a number between 0.001 and 0.999, for nothing is certain.

    >>> line(Verdict("a.mp4", Label.FAKE, p_fake=0.9712)), line(Verdict("b.mp4", Label.NO_FACE))
    ('a.mp4: FAKE 0.971', 'b.mp4: NO_FACE')
    """
    score = "" if verdict.p_fake is None else f" {min(max(verdict.p_fake, 0.001), 0.999):.3f}"
    return f"{plain(verdict.path)}: {verdict.label}{score}"


def block(verdict: Verdict) -> RenderableType:
    """Everything a person needs to know of one file, in a few lines.

    >>> from rich.console import Console
    >>> Console(width=60).print(block(Verdict("a.mp4", Label.NO_FACE, reasons=("No face in 1 frame.",))))
    a.mp4
      NO_FACE
      • No face in 1 frame.
      0 frames sampled, 0 with a face
    """
    lines: list[RenderableType] = [_headline(verdict)]
    if verdict.tracks:
        shown = sorted(verdict.tracks, key=lambda track: (track.counts, track.p_fake), reverse=True)[:_MOST_PEOPLE]
        lines.append(_People(verdict, shown))
        if len(verdict.tracks) > len(shown):
            more = count(len(verdict.tracks) - len(shown), "more person", "more people")
            lines.append(Text(f"and {more}; the JSON, CSV and HTML reports have all", style="dim"))
    lines += [_point(reason) for reason in verdict.reasons]
    if verdict.error is not None:
        lines.append(Text(f"{plain(verdict.error.message)} ({plain(verdict.error.type)})"))
    else:
        lines.append(Text(coverage(verdict), style="dim"))
    lines += [_point(note, style="yellow") for note in verdict.provenance.notes]
    if said := unprotected(verdict.unprotected):
        lines.append(Text(said, style="dim"))
    if verdict.detector is not None:
        lines.append(Text(_spoken_by(verdict), style="dim"))
    return Group(Text(plain(verdict.path), style="bold"), *(Padding.indent(part, 2) for part in lines))


def summary(verdicts: Sequence[Verdict]) -> RenderableType:
    """A table of several files, one row each, and how many have which label."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("verdict", no_wrap=True, min_width=max(map(len, Label)))
    table.add_column("P(fake)", justify="right", no_wrap=True, min_width=len("P(fake)"))
    table.add_column("people", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for verdict in verdicts:
        people = str(len(verdict.tracks)) if verdict.tracks else "–"
        name = Text(plain(verdict.path))
        table.add_row(_label(verdict.label), probability(verdict.p_fake), people, name)
    labels = [verdict.label for verdict in verdicts]
    tally = ", ".join(f"{labels.count(label)} {label}" for label in Label if label in labels)
    return Group(table, Text(f"{count(len(verdicts), 'file')}: {tally}", style="dim"))


def _headline(verdict: Verdict) -> Text:
    parts = [_label(verdict.label)]
    if verdict.p_fake is not None:
        parts.append(Text(f"  P(fake) {score_and_threshold(verdict)[0]}", style="bold"))
    said = threshold(verdict)
    if said:
        parts.append(Text(f"   {said}", style="dim"))
    return Text.assemble(*parts)


class _People:
    """A table with one row per person; where it is too wide, without their curves, then also without their times.

    Of a still it has neither.
    """

    def __init__(self, verdict: Verdict, tracks: Sequence[TrackScore]) -> None:
        self._remarks = [Text(_remark(track), style="dim") for track in tracks]
        self._columns: list[list[Text]] = [
            [Text(f"Person {track.id}") for track in tracks],
            [_label(track.label) for track in tracks],
            [Text(probability(track.p_fake)) for track in tracks],
        ]
        if not is_still(verdict):
            self._columns += [
                [Text("–".join(moments(track, verdict))) for track in tracks],
                [_curve(track) for track in tracks],
            ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._table(options.max_width))

    def _table(self, width: int) -> Table:
        widths = [max(cell.cell_len for cell in column) for column in self._columns]
        remark = _LEAST_REMARK if any(self._remarks) else 0
        fitting = [
            shown for shown in range(4, len(self._columns) + 1) if sum(widths[:shown]) + 2 * shown + remark <= width
        ]
        shown = max(fitting, default=3)
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for least in widths[:shown]:
            table.add_column(no_wrap=True, min_width=least)
        table.add_column(overflow="fold")
        for row in zip(*self._columns[:shown], self._remarks, strict=True):
            table.add_row(*row)
        return table


def _remark(track: TrackScore) -> str:
    if not track.counts:
        return "too few usable faces to count"
    if track.doubt:
        return "score means nothing known"
    return strongest(track)


def _curve(track: TrackScore) -> Text:
    """P(fake) over time as bars; of a long track, the highest of each stretch."""
    values = [score.p_fake for score in track.scores]
    step = -(-len(values) // _WIDEST_CURVE)
    highest = [max(values[k : k + step]) for k in range(0, len(values), max(step, 1))]
    return Text("".join(_BARS[min(int(value * len(_BARS)), len(_BARS) - 1)] for value in highest))


def _spoken_by(verdict: Verdict) -> str:
    assert verdict.detector is not None
    said = f"Detector {plain(verdict.detector.name)} {plain(verdict.detector.version)}"
    if not verdict.detector.shipped:
        said += " (a file from elsewhere, not one that ships with facetell)"
    if verdict.p_fake is not None:
        said += f"; P(fake) assumes that {percent(verdict.prior)} of all videos are fake"
    if verdict.seconds:
        said += f"; {sum(verdict.seconds.values()):.1f} s"
    return said


def _label(label: Label) -> Text:
    return Text(str(label), style=STYLES[label])


def _point(text: str, style: str = "") -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text("•", style=style), Text(plain(text), style=style))
    return grid
