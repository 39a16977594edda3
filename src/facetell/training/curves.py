"""Learning curves as a table and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from facetell.files import replacing

Row = dict[str, float]
COLUMNS = 4  # panels beside each other


def write_curves(rows: Sequence[Row], path: Path) -> None:
    """One line per validation: step, seconds, learning rate, then train_* and val_* columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """One panel per quantity (loss, accuracy, …), training and validation in each, over the steps."""
    from matplotlib.figure import Figure

    names = [name.split("_", 1) for row in rows for name in row if name.startswith(("train_", "val_"))]
    quantities = list(dict.fromkeys(quantity for _, quantity in names))
    columns = min(len(quantities), COLUMNS)
    lines = -(-len(quantities) // columns)
    figure = Figure(figsize=(4.5 * columns, 3.5 * lines))
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    figure.subplots_adjust(  # inches, as shares; to have room fitted to the labels takes three times as long
        left=0.8 / (4.5 * columns),
        right=1 - 0.1 / (4.5 * columns),
        bottom=0.5 / (3.5 * lines),
        top=1 - 0.1 / (3.5 * lines),
        wspace=0.25,
        hspace=0.22,
    )
    for panel in panels[len(quantities) :]:
        panel.remove()
    for panel, quantity in zip(panels, quantities, strict=False):
        for part, title in (("train", "training"), ("val", "validation")):
            points = [(row["step"], row[f"{part}_{quantity}"]) for row in rows if f"{part}_{quantity}" in row]
            if points:
                panel.plot(*zip(*points, strict=True), label=title, marker="." if len(points) < 20 else "")
        panel.set(xlabel="step", ylabel=quantity)
        panel.grid(alpha=0.3)
        panel.legend()
    with replacing(path) as part:
        figure.savefig(part, dpi=110)
