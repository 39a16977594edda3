"""Figures of an evaluation, each as one inline SVG. They hold numbers only, never a file's name."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import count

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import roc_curve

from facetell.evaluation.metrics import share

REAL_COLOUR, FAKE_COLOUR = "#0072b2", "#d55e00"  # Okabe & Ito: told apart by colour-blind eyes too
OTHER_COLOUR = "#666666"  # of the detector compared with
RELIABILITY_BINS = 10
DET_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
_serial = count()


def roc(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Receiver operating characteristic of one or more detectors: name -> (labels, logits)."""
    figure, axes = _figure("False positive rate", "Fakes found")
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for (name, (labels, scores)), colour in zip(curves.items(), (FAKE_COLOUR, OTHER_COLOUR), strict=False):
        fpr, tpr, _ = roc_curve(labels, scores)
        axes.plot(fpr, tpr, color=colour, label=_literal(name))
    axes.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
    return _svg(figure, legend=len(curves) > 1)


def det(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Detection error trade-off on normal-deviate axes: false positives against misses (Martin et al., 1997)."""
    figure, axes = _figure("False positive rate", "Fakes missed")
    for (name, (labels, scores)), colour in zip(curves.items(), (FAKE_COLOUR, OTHER_COLOUR), strict=False):
        fpr, tpr, _ = roc_curve(labels, scores)
        inside = (fpr > 0) & (tpr < 1)
        axes.plot(norm.ppf(fpr[inside]), norm.ppf(1 - tpr[inside]), color=colour, label=_literal(name))
    ticks = norm.ppf(DET_TICKS)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{100 * rate:g} %" for rate in DET_TICKS])
    axes.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]), aspect="equal")
    return _svg(figure, legend=len(curves) > 1)


def histogram(labels: np.ndarray, scores: np.ndarray) -> str:
    """P(fake) of real and of fake items, each class summing to one."""
    figure, axes = _figure("P(fake)", "Share of the class")
    edges = np.linspace(0, 1, 26).tolist()
    for value, name, colour in ((0, "real", REAL_COLOUR), (1, "fake", FAKE_COLOUR)):
        of_class = scores[labels == value]
        if len(of_class):
            weights = np.full(len(of_class), 1 / len(of_class))
            axes.hist(of_class, edges, weights=weights, color=colour, alpha=0.6, label=f"{name} ({len(of_class)})")
    axes.set_xlim(0, 1)
    return _svg(figure, legend=True)


def reliability(labels: np.ndarray, scores: np.ndarray) -> str:
    """Share of fakes among items of about equal P(fake), with exact 95 % intervals and n.

    A calibrated detector lies on the diagonal.
    """
    figure, axes = _figure("P(fake) said", "Share that was fake")
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    place = np.minimum((scores * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    for k in np.unique(place):
        inside = place == k
        shown = share(int(labels[inside].sum()), int(inside.sum()))
        x, (low, high) = scores[inside].mean(), shown["ci95"]
        axes.plot([x, x], [low, high], color=FAKE_COLOUR, linewidth=1.2)
        axes.plot(x, shown["value"], "o", color=FAKE_COLOUR, markersize=4)
        axes.annotate(str(shown["n"]), (x, high), fontsize=9, ha="center", va="bottom")  # the page colours it
    axes.set(xlim=(0, 1), ylim=(0, 1.05), aspect="equal")
    return _svg(figure)


def lines(
    x_label: str,
    y_label: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    ticks: Sequence[float] | None = None,
    marked: tuple[float, float] | None = None,
) -> str:
    """Plain curves, name -> (x, y); `bands` gives the (low, high) around one of that name, `marked` is a point."""
    figure, axes = _figure(x_label, y_label)
    for name, (x, y) in series.items():
        drawn = axes.plot(x, y, marker="." if len(x) < 40 else "", label=_literal(name))[0]
        if bands and name in bands:
            axes.fill_between(x, *bands[name], color=drawn.get_color(), alpha=0.2, linewidth=0)
    if marked is not None:
        axes.plot(*marked, "x", color=FAKE_COLOUR, markersize=8, markeredgewidth=2)
    if ticks is not None:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    return _svg(figure, legend=len(series) > 1)


def bars(values: Mapping[str, tuple[float, Sequence[float] | None]], x_label: str) -> str:
    """One row per name: a change with its interval, beside a vertical line at none."""
    figure = Figure(figsize=(6.4, 0.6 + 0.28 * len(values)), layout="constrained")
    axes = figure.subplots()
    for row, (value, interval) in enumerate(values.values()):
        if interval:
            axes.plot(interval, [row, row], color=FAKE_COLOUR, linewidth=1.5)
        axes.plot(value, row, "o", color=FAKE_COLOUR, markersize=5)
    axes.axvline(0, color="#999999", linewidth=1)
    axes.set_yticks(range(len(values)), [_literal(name) for name in values])
    axes.invert_yaxis()
    axes.set_xlabel(x_label)
    _quiet(axes)
    return _svg(figure)


def _figure(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    _quiet(axes)
    axes.grid(color="#999999", alpha=0.2, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _quiet(axes: Axes) -> None:
    """Lines that can be read on a light and on a dark page; the page colours the text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color("#999999")
    axes.tick_params(color="#999999")


def _svg(figure: Figure, legend: bool = False) -> str:
    """The figure as an `<svg>` element; its ids are its own, so that several can stand in one page."""
    if legend:
        figure.axes[0].legend(frameon=False, fontsize=8)
    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "facetell"}):  # the same picture, the same bytes
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    own = f"f{next(_serial)}-"
    text = re.sub(r'\bid="', f'id="{own}', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}", text)


def _literal(name: str) -> str:
    """The name as itself, not as a formula."""
    return name.replace("$", r"\$")
