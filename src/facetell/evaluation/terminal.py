"""An evaluation on a terminal: Rich renderables, every number with its n and, where it has one, its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from facetell.detectors import DetectorCard
from facetell.report.text import count, plain

NAMES = {
    "auc": "AUC",
    "ap": "average precision",
    "eer": "equal error rate",
    "log_loss": "log loss",
    "brier": "Brier score",
    "balanced_accuracy": "balanced accuracy",
    "tpr_at_fpr_1": "fakes found at 1 % false positives",
    "tpr_at_fpr_5": "fakes found at 5 % false positives",
    "ece": "calibration error (ECE)",
}
VERDICTS = {
    "undecided": "undecided",
    "wrong": "wrong among the decided",
    "false_alarms": "real, called FAKE",
    "missed": "fake, called REAL",
}
COLUMNS = {
    "auc": "AUC",
    "balanced_accuracy": "bal. acc.",
    "tpr_at_fpr_1": "TPR@1%",
    "eer": "EER",
    "log_loss": "log loss",
}


def written(numbers: Mapping[str, Any], name: str) -> str:
    """A metric with its interval.

    >>> written({"auc": 0.9, "auc_ci95": [0.85, 0.95], "ci95": {}}, "auc")
    '0.900 (0.850–0.950)'
    """
    return plus(numbers[name], numbers["auc_ci95"] if name == "auc" else numbers["ci95"].get(name))


def report(result: Mapping[str, Any]) -> RenderableType:
    """The whole result: coverage, both levels, and what came out by dataset, method and the rest."""
    parts: list[RenderableType] = [Text(line) for line in headline(result)]
    parts += [_levels(result), *[Text(f"• {note}", style="yellow") for note in notes(result)]]
    parts.append(_verdicts(result["verdicts"]))
    parts += [_slices(dimension, values) for dimension, values in result["by"].items() if len(values) > 1]
    if "against" in result:
        parts.append(Text(f"Against {against(result['against'])}"))
    if "robustness" in result:
        parts.append(_robustness(result["robustness"]))
    if "aggregation" in result:
        parts += _aggregation(result["aggregation"])
    if "heatmap" in result:
        parts += _heatmap(result["heatmap"])
    return Group(*parts)


def headline(result: Mapping[str, Any]) -> list[str]:
    """What was evaluated on what, and how much of it could be scored."""
    detector, data, coverage = result["detector"], result["data"], result["coverage"]
    unscored = ", ".join(f"{n} {plain(reason)}" for reason, n in coverage["unscored"].items())
    return [
        f"{plain(detector['name'])} {plain(detector['version'])} on {plain(', '.join(data['datasets']))}: "
        f"{count(data['real_videos'], 'real video')}, {count(data['fake_videos'], 'fake video')}",
        f"{coverage['scored']} of {count(coverage['items'], 'item')} scored"
        + (f"; not: {unscored}" if unscored else ""),
        f"In brackets: 95 % intervals, {data['n_boot']} resamples by {data['resampled_by']}. {data['seconds']:.0f} s.",
    ]


def against(comparison: Mapping[str, Any]) -> str:
    """A paired comparison in one sentence."""
    rival = f"{plain(comparison['detector']['name'])} {plain(comparison['detector']['version'])}"
    if "none" in comparison:
        return f"{rival}: not compared; {comparison['none']}."
    p_value, notes = comparison["p_value"], comparison["notes"].values()
    sure = "".join(f"; {note}" for note in notes) if p_value is None else f", p = {p_value:.2g}"
    return (
        f"{rival} on the "
        f"{comparison['n_real']} real and {comparison['n_fake']} fake videos that both could score: AUC "
        f"{comparison['auc_a']:.3f} against {comparison['auc_b']:.3f}, difference {gain(comparison)}{sure}."
    )


def robustness_rows(robustness: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Degradation, AUC, its change, drift of real and fake, false alarms and lost videos, as text."""
    rows = []
    for name, numbers in robustness.items():
        comparison = numbers["comparison"]
        auc = "–" if comparison is None else f"{comparison['auc_a']:.3f}"
        drift = [signed(numbers[key]["value"], numbers[key]["ci95"]) for key in ("drift_real", "drift_fake")]
        alarms = numbers["false_alarms"]
        share = "–" if alarms["value"] is None else f"{alarms['value']:.1%} of {alarms['n']}"
        rows.append((plain(name), auc, gain(comparison), *drift, share, str(numbers["lost"])))
    return rows


ROBUSTNESS = ("degraded by", "AUC", "change of AUC", "drift of real", "drift of fake", "real called FAKE", "lost")


def notes(result: Mapping[str, Any]) -> list[str]:
    """Why a number is missing or weak, each reason once, level by level."""
    lines = []
    for level in ("video", "frame"):
        reasons: dict[str, list[str]] = {}
        for name, reason in result[level]["notes"].items():
            if name == "auc_ci95" and "auc" in result[level]["notes"]:
                continue
            reasons.setdefault(reason, []).append(NAMES.get(str(name), "intervals"))
        lines += [f"{level}: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return lines


def calibration(card: DetectorCard) -> RenderableType:
    """What `facetell calibrate` found out, from the card it wrote."""
    report = card.metrics["calibration"]
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in report["cross_validated_log_loss"].items())
    before, after = report["before"], report["after"]
    parts: list[RenderableType] = [
        Text(
            f"{plain(card.name)} {plain(card.version)}: {card.calibration.method} (cross-validated log loss: {losses})"
        ),
        Text(f"Held out, n = {after['n_real']} real + {after['n_fake']} fake, both classes weighing the same:"),
    ]
    table = _table("", "before", "after")
    for name in ("log_loss", "brier", "ece"):
        table.add_row(NAMES[name], *(_valued(one[name]) for one in (before, after)))
    table.add_row("AUC", "", written(report["held_out"], "auc"))
    parts.append(table)
    for threshold in card.thresholds:
        rate = f"{threshold.false_positive_rate:g}"
        if threshold.logit is None:
            parts.append(Text(f"False positives at most {rate}: no threshold; it {plain(threshold.source)}."))
            continue
        band = "none" if threshold.real_below is None else f"{threshold.real_below:.2f}"
        parts.append(
            Text(
                f"False positives at most {rate}: FAKE from logit {threshold.logit:.2f} (n = {threshold.n_real}, "
                f"{plain(threshold.source)}), REAL below {band}."
            )
        )
        for source, shares in report["decisions"][rate].items():
            said = ", ".join(f"{name.replace('_', ' ')} {shared(one)}" for name, one in shares.items())
            parts.append(Text(f"  held out, {plain(source)}: {said}"))
    if card.scope is not None:
        parts.append(Text(f"Nothing is decided on {plain(', '.join(card.scope.beyond))}."))
    if "none" not in report["views"]:
        apart, elsewhere = (shared(report["views"][name]) for name in ("wrong_apart", "wrong_elsewhere"))
        parts.append(Text(f"Held out, on the wrong side of even where views disagree: {apart}; elsewhere {elsewhere}."))
    rates = [f"{t.false_positive_rate:g}" for t in card.thresholds if t.logit is not None]
    sources = _table("real videos called FAKE", *(f"at {rate}" for rate in rates), justify="left")
    for source, shares in report["false_positives"].items():
        sources.add_row(Text(plain(source)), *(shared(shares[rate]) for rate in rates))
    return Group(*parts, sources)


def gain(comparison: Mapping[str, Any] | None) -> str:
    """A paired difference with its interval."""
    if comparison is None:
        return "–"
    return signed(comparison["difference"], comparison["difference_ci95"])


def plus(value: float | None, bounds: list[float] | None = None) -> str:
    """A value with its interval, if it has one."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({bounds[0]:.3f}–{bounds[1]:.3f})" if bounds else "")


def shared(numbers: Mapping[str, Any]) -> str:
    """A share with its interval and n."""
    if numbers["value"] is None:
        return "–"
    low, high = numbers["ci95"]
    return f"{numbers['value']:.1%} ({low:.1%}–{high:.1%}, n = {numbers['n']})"


def _levels(result: Mapping[str, Any]) -> Table:
    levels = ("video", "frame")
    table = _table("", *(f"{level} (n = {result[level]['n_real']} + {result[level]['n_fake']})" for level in levels))
    for name, words in NAMES.items():
        table.add_row(words, *(written(result[level], name) for level in levels))
    return table


def _verdicts(tally: Mapping[str, Any]) -> Table:
    table = _table("verdicts at the default setting", "")
    for name, words in VERDICTS.items():
        table.add_row(words, shared(tally[name]))
    return table


def _slices(dimension: str, values: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(dimension.replace("_", " "), "real", "fake", *COLUMNS.values())
    for value, numbers in values.items():
        cells = [written(numbers, name) if name == "auc" else plus(numbers[name]) for name in COLUMNS]
        table.add_row(Text(plain(value)), str(numbers["n_real"]), str(numbers["n_fake"]), *cells)
    return table


def _robustness(robustness: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(*ROBUSTNESS)
    for row in robustness_rows(robustness):
        table.add_row(*map(Text, row))
    return table


def aggregation_rows(aggregation: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rule, its AUC, and what it gains over the shipped one, as text."""
    return [
        (name, plus(numbers["auc"], numbers["auc_ci95"]), gain(numbers["gain"]))
        for name, numbers in aggregation["rules"].items()
    ]


def _aggregation(aggregation: Mapping[str, Any]) -> list[RenderableType]:
    if "none" in aggregation:
        return [Text(f"Pooling rules: not compared; {aggregation['none']}.")]
    n = f"{aggregation['n_real']} + {aggregation['n_fake']}"
    rules = _table(f"a video's score (n = {n})", "AUC", "against the shipped", justify="left")
    for row in aggregation_rows(aggregation):
        rules.add_row(*row)
    frames = _table("faces", "on average", "AUC", justify="left")
    for number, numbers in aggregation["frames"].items():
        frames.add_row(number, f"{numbers['faces']:.1f}", plus(numbers["auc"], numbers["auc_ci95"]))
    return [rules, frames]


HEATMAP = ("altered", "n", "AUC in a face", "of one fixed map", "AUC of all pixels", "part named", "of those right")


def heatmap_rows(heatmap: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What was altered, n, and the numbers of `facetell.evaluation.heatmap` as text."""
    rows = {
        "labelled pairs": heatmap["pairs"],
        "self-blends": heatmap["blends"],
        **{f"– {family}": numbers for family, numbers in heatmap["families"].items()},
    }
    return [
        (
            what,
            str(numbers["n"]),
            _valued(numbers["auc"]),
            _valued(numbers["fixed_map"]),
            plus(numbers["auc_pooled"], numbers["auc_pooled_ci95"]),
            *(_valued(numbers[name]) for name in ("region_named", "region_right")),
        )
        for what, numbers in rows.items()
        if numbers
    ]


def heatmap_notes(heatmap: Mapping[str, Any]) -> str:
    """What was left out of the heat map's numbers, and by what they were resampled."""
    skipped = ", ".join(f"{n} {plain(reason)}" for reason, n in heatmap["skipped"].items())
    return f"Intervals by {heatmap['resampled_by']}." + (f" Left out: {skipped}." if skipped else "")


def _heatmap(heatmap: Mapping[str, Any]) -> list[RenderableType]:
    if "none" in heatmap:
        return [Text(f"Heat map: not measured; {heatmap['none']}.")]
    table = _table(*HEATMAP)
    for row in heatmap_rows(heatmap):
        table.add_row(*row)
    return [Text("Heat map against where the faces were altered"), table, Text(heatmap_notes(heatmap), style="dim")]


def _valued(numbers: Mapping[str, Any]) -> str:
    return plus(numbers["value"], numbers["ci95"])


def signed(value: float | None, bounds: list[float] | None) -> str:
    """A change with its interval."""
    if value is None:
        return "–"
    return f"{value:+.3f}" + (f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else "")


def _table(*columns: str, justify: Literal["left", "right"] = "right") -> Table:
    """Without lines; all columns but the first are justified so."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, words in enumerate(columns):
        table.add_column(words, justify=justify if number else "left")
    return table
