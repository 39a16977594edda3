"""Small charts as inline SVG, coloured by the page's own style."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT, FOOT = 320, 120, 18  # pixels


def histogram(real: np.ndarray, fake: np.ndarray, bins: int = 24) -> Markup:
    """Two distributions, each as shares of its own class, from the 0.5th to the 99.5th percentile of both together.

    >>> histogram(np.arange(9.0), np.arange(9.0) + 3).count("<rect")
    48
    """
    every = np.concatenate([real, fake])
    every = every[np.isfinite(every)]
    if not len(every):
        return Markup("<p class='quiet'>No values.</p>")
    low, high = np.percentile(every, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    shares = [_shares(values, edges) for values in (real, fake)]
    top = max(float(share.max()) for share in shares) or 1.0
    step = WIDTH / bins
    bars = [
        f'<rect class="{name}" x="{k * step + shift:.1f}" y="{HEIGHT * (1 - value / top):.1f}" '
        f'width="{step * 0.45:.1f}" height="{HEIGHT * value / top:.1f}"/>'
        for name, share, shift in (("real", shares[0], 0), ("fake", shares[1], step / 2))
        for k, value in enumerate(share)
    ]
    return _svg(bars, edges[0], edges[-1])


def lines(series: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Markup:
    """Curves (class name for the style, x, y) over common axes that begin at zero."""
    xs = np.concatenate([x for _, x, _ in series])
    ys = np.concatenate([y for _, _, y in series])
    right, top = float(np.nanmax(xs)) or 1.0, float(np.nanmax(ys)) or 1.0
    drawn = []
    for name, x, y in series:
        points = " ".join(f"{WIDTH * a / right:.1f},{HEIGHT * (1 - b / top):.1f}" for a, b in zip(x, y, strict=True))
        drawn.append(f'<polyline class="{name}" points="{points}"/>')
    label = f'<text x="0" y="10">{top:.3g}</text>'
    return _svg([*drawn, label], 0.0, right)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    values = values[np.isfinite(values)]
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return counts / max(len(values), 1)


def _svg(marks: Sequence[str], left: float, right: float) -> Markup:
    """The marks over a baseline that says where the axis begins and ends."""
    foot = HEIGHT + FOOT - 4
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" role="img">{"".join(marks)}'
        f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}"/><text x="0" y="{foot}">{left:.4g}</text>'
        f'<text x="{WIDTH}" y="{foot}" text-anchor="end">{right:.4g}</text></svg>'
    )
