"""A benchmark as Markdown: tables and figures that take marked places in documents written by hand.

A place is `<!-- benchmark: NAME -->` … `<!-- end -->`; what stands between is replaced, the rest is left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facetell.errors import DataError
from facetell.evaluation import plots, terminal
from facetell.evaluation.page import frames_figure, robustness_figure

OPENING = "<!-- benchmark:"
PLACE = re.compile(rf"({OPENING} ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SHOWN = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)  # shares undecided that the table of the curve states
NONE = "–"


def blocks(result: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, str]:
    """Name of a place -> Markdown, from the result of `benchmark` and the addresses of its `figures`."""
    studied = {f"robustness-{number}": name for number, name in enumerate(result["robustness"], start=1)}
    words = {name: f"Change of AUC under each degradation, {_cell(of)}" for name, of in studied.items()}
    pictures = {f"figure-{name}": f"![{words.get(name, name)}]({place})" for name, place in images.items()}
    return {name: write(result) for name, write in TABLES.items()} | pictures


def filled(text: str, content: Mapping[str, str], name: str) -> str:
    """The document with its places filled; a figure or study that was not made leaves "Not measured." in its place.

    >>> filled("A\\n<!-- benchmark: sets -->\\nold\\n<!-- end -->\\nB", {"sets": "new"}, "a.md")
    'A\\n<!-- benchmark: sets -->\\nnew\\n<!-- end -->\\nB'

    Raises:
        DataError: as `check`.
    """
    check(text, name)
    return PLACE.sub(lambda match: f"{match[1]}{content.get(match[2], 'Not measured.')}\n{match[4]}", text)


def check(text: str, name: str) -> None:
    """Nothing, if a document has places and knows them all.

    Raises:
        DataError: a place that no benchmark fills, or that has no end before the next one begins; or none at all.
    """
    places = PLACE.findall(text)
    if endless := [match[1] for match in places if OPENING in match[2]]:
        raise DataError(
            f"{name} does not say where its place for {endless[0]!r} ends.", "Write <!-- end --> before the next place."
        )
    wanted = [match[1] for match in places]
    if not wanted:
        raise DataError(f"{name} has no place for a table.", "Mark one: <!-- benchmark: sets -->, <!-- end -->.")
    if unknown := [place for place in wanted if place not in TABLES and not place.startswith("figure-")]:
        raise DataError(f"{name} has a place for {unknown[0]!r}.", f"There are: {', '.join(TABLES)}, figure-….")


def template(content: Mapping[str, str]) -> str:
    """A document with a place for everything."""
    places = "\n\n".join(f"<!-- benchmark: {name} -->\n<!-- end -->" for name in content)
    return f"# Benchmark\n\n{places}\n"


def figures(result: Mapping[str, Any]) -> dict[str, str]:
    """Name -> SVG file: of the first detector, its reliability, its curves, and its studies."""
    labels, scores = (np.array(result["reliability"].get(key, [])) for key in ("label", "p_fake"))
    drawn: dict[str, str | None] = {"reliability": plots.reliability(labels, scores) if len(labels) else None}
    if result["curves"]:
        curves = {name: (curve["undecided"], curve["wrong"]) for name, curve in result["curves"].items()}
        drawn["undecided"] = plots.lines("Share left undecided", "Share wrong among the decided", curves)
    if "none" not in result["aggregation"]:
        drawn["frames"] = frames_figure(result["aggregation"])
    for number, study in enumerate(result["robustness"].values(), start=1):
        drawn[f"robustness-{number}"] = robustness_figure(study)
    return {name: _file(svg) for name, svg in drawn.items() if svg}


def address(image: Path, document: Path) -> str:
    """An image's address relative to a document."""
    return Path(os.path.relpath(image, document.parent)).as_posix()


def _detectors(result: Mapping[str, Any]) -> str:
    rows = [
        (name, about["kind"], about["sample"], file["training_data"], f"`{file['sha256'][:12]}`")
        for name, about in result["detectors"].items()
        for file in about["files"]
    ]
    return _table(("detector", "kind", "frames", "trained on", "SHA-256"), rows)


def _sets(result: Mapping[str, Any]) -> str:
    """One table a set, a row a detector."""
    parts = []
    for name, about in result["sets"].items():
        n = f"{about['real']} real + {about['fake']} fake"
        head = f"**{_cell(name)}**: video level, {n}; {_cell(about['compression'])}"
        head += f"; {about['missing']} listed but not there" if about["missing"] else ""
        rows = []
        for detector, cell in result["cells"][name].items():
            if cell is None:
                rows.append((detector, "trained on these", *[NONE] * 5))
                continue
            tally = cell["verdicts"]
            measured = cell["n_real"] + cell["n_fake"]
            rows.append(
                (
                    detector,
                    f"{measured} of {cell['videos']}",
                    terminal.written(cell, "auc"),
                    terminal.written(cell, "tpr_at_fpr_1"),
                    *(terminal.shared(tally[key]) for key in ("undecided", "wrong", "false_alarms")),
                )
            )
        columns = (
            "detector",
            "measured",
            "AUC (95 %)",
            "TPR at 1 % FPR",
            "undecided",
            "wrong of the decided",
            "real called FAKE",
        )
        parts.append(f"{head}\n\n{_table(columns, rows)}")
    return "\n\n".join(parts)


def _cross(result: Mapping[str, Any]) -> str:
    """Training data against test sets: AUC, marked where a detector was trained on the same collection."""
    rows = []
    for detector, about in result["detectors"].items():
        cells = []
        for name in result["sets"]:
            cell = result["cells"][name][detector]
            if cell is None or cell["auc"] is None:
                cells.append(NONE)
            else:
                cells.append(f"{cell['auc']:.3f}{' *' if cell['own'] else ''}")
        rows.append((detector, " / or ".join(file["training_data"] for file in about["files"]), *cells))
    return _table(("detector", "trained on", *result["sets"]), rows)


def _curve(result: Mapping[str, Any]) -> str:
    """Wrong of the decided, where the surest share is decided."""
    rows = []
    for name, curve in result["curves"].items():
        undecided, wrong = np.array(curve["undecided"]), curve["wrong"]
        reached = [int(np.searchsorted(undecided, least - 1e-9)) for least in SHOWN]
        n = sum(result["sets"][name][label] for label in ("real", "fake"))
        cells = [f"{wrong[at]:.1%}" if at < len(wrong) and (1 - undecided[at]) * n >= 1 else NONE for at in reached]
        rows.append((name, *cells))
    return _table(("undecided", *(f"{least:.0%}" for least in SHOWN)), rows)


def _robustness(result: Mapping[str, Any]) -> str:
    parts = []
    for name, study in result["robustness"].items():
        parts.append(f"**{_cell(name)}**\n\n{_table(terminal.ROBUSTNESS, terminal.robustness_rows(study))}")
    return "\n\n".join(parts) or "Not measured."


def _aggregation(result: Mapping[str, Any]) -> str:
    study = result["aggregation"]
    if "none" in study:
        return f"Not measured: {_cell(study['none'])}."
    rules = _table(("a video's score", "AUC (95 %)", "against the shipped"), terminal.aggregation_rows(study))
    frames = [
        (number, f"{point['faces']:.1f}", terminal.plus(point["auc"], point["auc_ci95"]))
        for number, point in study["frames"].items()
    ]
    n = f"{study['n_real']} real + {study['n_fake']} fake videos of {_cell(', '.join(study['sets']))}"
    return f"{n}\n\n{rules}\n\n{_table(('faces', 'on average', 'AUC (95 %)'), frames)}"


VIEWS_RULES = {
    "ignored": "it is judged as any other",
    "never": "it is never decided",
    "margin": "it is never REAL, and FAKE from further up",
}


def _views(result: Mapping[str, Any]) -> str:
    """What each rule for views that disagree does."""
    study = result["views"]
    if "none" in study:
        return f"Not measured: {_cell(study['none'])}."
    rows = []
    for name, words in VIEWS_RULES.items():
        rule = study["rules"][name]
        apart = {"ignored": rule["threshold"], "never": None}.get(name, rule["threshold"] + (rule["margin"] or 0.0))
        worst = max(rule["false_alarms"].values(), key=lambda one: one["value"])
        rows.append(
            (
                words,
                f"{rule['threshold']:.2f}",
                "never" if apart is None else f"{apart:.2f}",
                *(terminal.shared(rule[key]) for key in ("undecided", "wrong", "found")),
                terminal.shared(worst),
                terminal.shared(rule["blends"]),
            )
        )
    columns = (
        f"a face whose views lie more than {study['apart']:.2f} apart",
        "FAKE from logit",
        "such a face",
        "undecided",
        "wrong of the decided",
        "fakes found",
        "real called FAKE, worst source",
        "self-blends called FAKE",
    )
    return _table(columns, rows)


def _joined(result: Mapping[str, Any]) -> str:
    parts = []
    for study in result["joined"]:
        if not study["sets"]:
            parts.append(
                f"{' + '.join(map(_cell, study['detectors']))}: no set that all could score has enough groups."
            )
            continue
        ways = list(study["mean"])
        rows = []
        for name, compared in study["sets"].items():
            known = compared["known"]
            cells = [f"{compared[way]['auc_a']:.3f}, {terminal.gain(compared[way])}" for way in ways]
            rows.append((name, f"{known['n_real']} + {known['n_fake']}", f"{known['auc_b']:.3f}", *cells))
        rows.append(("mean", "", "", *(terminal.gain(study["mean"][way]) for way in ways)))
        columns = ("set", "n", "the first alone", "joined", "joined, fitted to other sources")[: 3 + len(ways)]
        head = " + ".join(map(_cell, study["detectors"]))
        if study["left_out"]:
            head += f"; without {_cell(', '.join(study['left_out']))}, of which they could not all score enough groups"
        parts.append(f"{head}\n\n{_table(columns, rows)}")
    return "\n\n".join(parts) or "One detector alone has nothing to be joined with."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Harmless in a table, whatever a card or a manifest says."""
    return re.sub(r"[<>&|\\\[\]]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def _file(svg: str) -> str:
    """An inline figure as a file of its own: on white, as the page that colours it is not there."""
    opening, rest = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{opening}><rect width="100%" height="100%" fill="white"/>{rest}'


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "detectors": _detectors,
    "sets": _sets,
    "cross": _cross,
    "curve": _curve,
    "robustness": _robustness,
    "aggregation": _aggregation,
    "views": _views,
    "joined": _joined,
}
