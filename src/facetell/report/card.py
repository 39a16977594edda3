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
    if card.flicker is not None:
        facts["Flicker, in a video"] = f"counts; {card.flicker.words}"
    lines += [f"- **{name}**: {fact}" for name, fact in facts.items()]
    for name, measured in card.metrics.items():
        if name in _SECTIONS:
            lines += _SECTIONS[name](measured)
            continue
        lines += ["", f"## Measured on {name}", "", "| metric | value | 95 % interval |", "|---|---|---|"]
        intervals = dict(measured.get("ci95") or {}, auc=measured.get("auc_ci95"))
        for key, value in measured.items():
            if isinstance(value, int | float):
                low_high = intervals.get(key)
                interval = "" if low_high is None else f"{low_high[0]:.3f} … {low_high[1]:.3f}"
                lines.append(f"| {key} | {value if isinstance(value, int) else format(value, '.3f')} | {interval} |")
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


def _heatmap(measured: Mapping[str, Any]) -> list[str]:
    """What `facetell calibrate --pairs` measured of the heat map."""
    lines = ["", "## Heat map, against where faces were altered", ""]
    lines += [
        "| altered | n | pixel AUC in a face | of one fixed map | part named | of those right |",
        "|---|---|---|---|---|---|",
    ]
    for words, numbers in (("labelled pairs", measured["pairs"]), ("self-blends", measured["blends"])):
        if numbers:
            names = ("auc", "fixed_map", "region_named", "region_right")
            lines.append(
                " | ".join([f"| {words}", str(numbers["n"]), *(_valued(numbers[name]) for name in names)]) + " |"
            )
    return lines


def _valued(numbers: Mapping[str, Any]) -> str:
    if numbers["value"] is None:
        return "–"
    bounds = f" ({numbers['ci95'][0]:.3f} … {numbers['ci95'][1]:.3f})" if numbers["ci95"] else ""
    return f"{numbers['value']:.3f}{bounds}"


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
