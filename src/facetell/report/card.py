"""A detector's card as a page of Markdown, for docs/cards and beside a trained detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facetell.detectors import DetectorCard
from facetell.report.heat import MEASURED, worth


def card_page(card: DetectorCard, sha256: str) -> str:
    """The model card of a detector file with this SHA-256, as Markdown."""
    lines = [f"# Detector {card.name}, version {card.version}", "", card.description, ""]
    facts = {
        "Input": f"{card.kind}, {card.channels} × {card.input_size} × {card.input_size}, geometry {card.geometry.kind}",
        "Training data": card.training_data,
        "Licence": card.licence,
        "Calibration": f"{card.calibration.method}, of the mean weighted by {card.aggregation}",
        "SHA-256": f"`{sha256}`",
    }
    facts |= {f"{name.capitalize()}, in a video": words for name, words in card.in_a_video.items()}
    lines += [f"- **{name}**: {fact}" for name, fact in facts.items()]
    for name, measured in card.metrics.items():
        lines += _SECTIONS[name](measured) if name in _SECTIONS else _figures(name, measured)
    if MEASURED not in card.metrics and card.heatmap:
        lines += ["", worth(card)]
    if card.thresholds:
        kind = "provisional thresholds" if card.provisional else "thresholds"
        lines += ["", f"## {kind.capitalize()}", "", "| false positives | logit | read off |", "|---|---|---|"]
        for threshold in card.thresholds:
            logit = "too few to tell" if threshold.logit is None else f"{threshold.logit:.3f}"
            lines.append(f"| {threshold.false_positive_rate:.1%} | {logit} | {threshold.n_real} {threshold.source} |")
    if card.scope is not None:
        lines += ["", "## Nothing is decided on", "", *(f"- {words}" for words in card.scope.beyond)]
    lines += ["", "## Known limits", "", *(f"- {limit}" for limit in card.limits), ""]
    return "\n".join(lines)


def _figures(name: str, measured: object) -> list[str]:
    """A row for each number; of a card's figures, which are any JSON, the rest can be read in the card."""
    lines = ["", f"## Measured on {name}", "", "| metric | value | 95 % interval |", "|---|---|---|"]
    figures = measured if isinstance(measured, Mapping) else {"value": measured}
    intervals = {**_part(figures, "ci95"), "auc": figures.get("auc_ci95")}
    for key, value in figures.items():
        if isinstance(value, int | float):
            shown = value if isinstance(value, int) else format(value, ".3f")
            lines.append(f"| {key} | {shown} | {_bounds(intervals.get(key))} |")
    return lines


def _heatmap(measured: object) -> list[str]:
    """What `facetell calibrate --pairs` measured of the heat map."""
    lines = ["", "## Heat map, against where faces were altered", ""]
    lines += [
        "| altered | n | pixel AUC in a face | of one fixed map | part named | of those right |",
        "|---|---|---|---|---|---|",
    ]
    for words, kind in (("labelled pairs", "pairs"), ("self-blends", "blends")):
        if numbers := _part(measured, kind):
            shares = (_valued(_part(numbers, name)) for name in ("auc", "fixed_map", "region_named", "region_right"))
            lines.append(f"| {' | '.join([words, str(numbers.get('n', '–')), *shares])} |")
    return lines


def _part(figures: object, key: str) -> Mapping[str, Any]:
    """The figures under a key; none where there is something else."""
    part = figures.get(key) if isinstance(figures, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _valued(numbers: Mapping[str, Any]) -> str:
    value, bounds = numbers.get("value"), _bounds(numbers.get("ci95"))
    if not isinstance(value, int | float):
        return "–"
    return f"{value:.3f} ({bounds})" if bounds else f"{value:.3f}"


def _bounds(interval: object) -> str:
    match interval:
        case [int() | float() as low, int() | float() as high]:
            return f"{low:.3f} … {high:.3f}"
    return ""


def _calibration(report: Mapping[str, Any]) -> list[str]:
    """What `facetell calibrate` measured on the half of the groups that it did not fit."""
    lines = ["", "## Calibration, on held-out groups", "", "| | before | after |", "|---|---|---|"]
    for name in ("log_loss", "brier", "ece"):
        lines.append(f"| {name} | {report['before'][name]['value']:.3f} | {report['after'][name]['value']:.3f} |")
    lines += ["", "| real videos called FAKE | at | share | 95 % interval | n |", "|---|---|---|---|---|"]
    for source, rates in report["false_positives"].items():
        for rate, share in rates.items():
            low, high = share["ci95"]
            shown = f"{share['value']:.1%} | {low:.1%} … {high:.1%} | {share['n']}"
            lines.append(f"| {source} | {100 * float(rate):g}% | {shown} |")
    return lines


_SECTIONS = {"calibration": _calibration, MEASURED: _heatmap}
