"""The report of `facetell reproduce paper`: its prose is a template, its numbers are tables and curves from here."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from matplotlib import rc_context
from matplotlib.figure import Figure

from facetell.evaluation.terminal import written
from facetell.files import replacing
from facetell.report.inline import data_uri, page_style
from facetell.report.text import count, plain
from facetell.training.paper.protocols import PROTOCOLS

Result = Mapping[str, Any]
IMPORTANCES = "paper-importances.png"
PAPER = (  # model, what was measured in the paper, its number
    ("cnn3d", "3D-CNN, accuracy", "0.69"),
    ("gru", "GRU, accuracy after a split", "0.58"),
    ("gru", "GRU, accuracy without one", "0.80"),
    ("meso", "Meso-CNN, accuracy on training data", "0.95"),
    ("meso", "Meso-CNN, accuracy on test images", "> 0.9"),
)
BACKGROUNDS = {"keep": "as it is", "mean": "the face's mean colour", "green": "green"}


def write_page(result: Result, runs: Path, path: Path) -> None:
    """The report of a reproduction.

    Args:
        result: of `facetell.training.paper.run.reproduce`.
        runs: its folder of runs.
        path: where to write: one page that needs nothing else if this ends in .html, else Markdown, whose figures go
            into `img/` beside it.

    Raises:
        OutputError: it cannot be written.
    """
    titles = {one["model"]: one["title"] for one in result["models"]}
    figures = {f"paper-{model}.svg": draw_curves(_of(result, model)) for model in titles}
    figures[IMPORTANCES] = (runs / "lightgbm-b" / "fold-0" / "importances.png").read_bytes()
    curves = {f"paper-{model}.svg": f"{title}: loss and accuracy" for model, title in titles.items()}
    text = _markdown(result, curves)
    if path.suffix == ".html":
        text = _page(text, figures)
    else:
        (path.parent / "img").mkdir(exist_ok=True)
        for name, content in figures.items():
            with replacing(path.parent / "img" / name) as part:
                part.write_bytes(content)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; what the cells hold is text, never a mark.

    >>> print(table(["a", "b"], [["1|2", "3"]]))
    | a | b |
    |---|---|
    | 1\\|2 | 3 |
    """
    lines = ["| " + " | ".join(plain(cell).replace("|", "\\|") for cell in row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def draw_curves(protocols: Sequence[Result]) -> bytes:
    """A column for each protocol, loss above accuracy, as an SVG file."""
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    panels = figure.subplots(2, len(protocols), sharey="row", squeeze=False)
    for column, one in enumerate(protocols):
        for row, quantity in enumerate(("loss", "accuracy")):
            panel = panels[row, column]
            for part, words, colour in (("train", "training", "#0072b2"), ("val", "validation", "#d55e00")):
                panel.plot(one["curves"]["step"], one["curves"][f"{part}_{quantity}"], color=colour, label=words)
            panel.grid(color="#999999", alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0, column].set_title(f"({one['protocol']})")
        panels[1, column].set_xlabel("trees" if one["trees"] else "steps")
    panels[0, 0].set_ylabel("loss")
    panels[1, 0].set_ylabel("accuracy")
    panels[0, 0].legend(frameon=False)
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "facetell", "svg.fonttype": "none"}):  # the same curves give the same bytes
        figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="white")
    return out.getvalue()


def _markdown(result: Result, curves: Mapping[str, str]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facetell.training.paper"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"accuracy": _accuracy, "count": _count, "epochs": _epochs, "interval": _with_interval}
    environment.filters |= {"plain": plain, "written": written}
    trained = [*result["models"], *result["background"], *result["sweep"]]
    return environment.get_template("paper.md").render(
        **result,
        protocols=PROTOCOLS,
        ours={one["model"]: {each["protocol"]: each for each in _of(result, one["model"])} for one in result["models"]},
        best=min(result["sweep"], key=lambda one: one["dev"]["loss"]),
        trainings=sum(one["folds"] for one in trained),
        curves=curves,
        tables={
            "models": _models(result),
            "beside": _beside(result),
            "background": _background(result),
            "sweep": _sweep(result),
            "frame_150": _frame_150(result),
            "lower": _lower(result),
            "skin": _skin(result),
        },
    )


def _page(markdown: str, figures: Mapping[str, bytes]) -> str:
    """The Markdown as one HTML file with its figures inside."""
    kinds = {".svg": "image/svg+xml", ".png": "image/png"}
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for name, content in figures.items():
        body = body.replace(f'src="img/{name}"', f'src="{data_uri(content, kinds[Path(name).suffix])}"')
    environment = jinja2.Environment(loader=jinja2.PackageLoader("facetell.training.paper"), autoescape=True)
    return environment.get_template("paper.html").render(body=body, style=page_style())


def _of(result: Result, model: str) -> list[Result]:
    return [one for one in result["models"] if one["model"] == model]


def _models(result: Result) -> str:
    header = (
        *("model", "protocol", "parameters", "training, s", "epochs", "ms a video"),
        *("accuracy, train", "accuracy, test", "AUC", "log loss", "EER", "tested on"),
    )
    rows: list[tuple[str, ...]] = []
    for one in result["models"]:
        size = f"{one['trees']} trees" if one["trees"] else f"{one['parameters']:,}"
        head = (one["title"], f"({one['protocol']})", size, f"{one['seconds']:.0f}", _epochs(one))
        milliseconds = f"{one['milliseconds']:.0f}" if "detector" in one else "–"
        rows.append((*head, milliseconds, _accuracy(one, "train"), _accuracy(one), *_judged(one["test"])))
    for model in ("cnn3d", "meso"):  # the other models of clips are tested on the same rows
        rows += [_always_fake(one) for one in _of(result, model)]
    for one in result["mesonets"]:
        head = (one["title"], "imported", f"{one['parameters']:,}", "–", "–", f"{one['milliseconds']:.0f}", "–")
        for name, what in (("crops", "crops of (b)"), ("stills", "stills, each"), ("videos", "stills, by video")):
            if one[name] is not None:
                *judged, count = _judged(one[name])
                rows.append((*head, f"{one[name]['balanced_accuracy']:.2f} (balanced)", *judged, f"{what}: {count}"))
    return table(header, rows)


def _epochs(one: Result) -> str:
    return "–" if one["trees"] else f"{sum(one['epochs']) / len(one['epochs']):.1f}"


def _accuracy(one: Result, part: str = "test") -> str:
    """The accuracy that belongs to a protocol."""
    found = one[part]
    return f"{found['balanced_accuracy']:.2f} (balanced)" if one["protocol"] == "b" else f"{found['accuracy']:.2f}"


def _judged(test: Result) -> tuple[str, str, str, str]:
    numbers = f"{test['n_real']} real, {test['n_fake']} fake"
    return written(test, "auc"), written(test, "log_loss"), written(test, "eer"), numbers


def _always_fake(one: Result) -> tuple[str, ...]:
    share = "0.50 (balanced)" if one["protocol"] == "b" else f"{one['test']['always_fake']:.2f}"
    on = "clips" if one["model"] == "cnn3d" else "crops"
    head = (f"always FAKE, {on}", f"({one['protocol']})", "0", "–", "–", "–", "–", share)
    return (*head, "0.500", "infinite", "0.500", _judged(one["test"])[3])


def _beside(result: Result) -> str:
    rows = []
    for model, what, number in PAPER:
        cells = []
        for one in _of(result, model):
            if what.endswith("training data"):
                cells.append(_accuracy(one, "train"))
            elif what.endswith("test images"):
                frame = result["frame_150"][one["protocol"]]
                other = f"; frame 150 of other sets {frame['accuracy']:.2f}" if frame else ""
                cells.append(_accuracy(one) + other)
            else:
                cells.append(_accuracy(one))
        rows.append((what, number, *cells))
    return table(("in the paper", "its number", *(f"ours, ({name})" for name in PROTOCOLS)), rows)


def _background(result: Result) -> str:
    rows = []
    for one in result["background"]:
        head = (one["title"], BACKGROUNDS[one["changes"]["background"]], _epochs(one), _accuracy(one, "train"))
        head += (_accuracy(one),)
        rows.append((*head, *_judged(one["test"])[:2]))
    return table(("model", "background", "epochs", "accuracy, train", "accuracy, test", "AUC", "log loss"), rows)


def _sweep(result: Result) -> str:
    rows = []
    for one in result["sweep"]:
        dev = one["dev"]
        numbers = f"{dev['loss']:.3f}", f"{dev['accuracy']:.2f}", f"{dev['auc']:.3f}"
        rows.append((one["title"], f"{one['parameters']:,}", _epochs(one), *numbers))
    return table(("setting", "parameters", "epochs", "loss", "balanced accuracy", "AUC"), rows)


def _frame_150(result: Result) -> str:
    rows = []
    for protocol, test in result["frame_150"].items():
        if test is not None:
            accuracies = (f"{test[name]:.2f}" for name in ("accuracy", "balanced_accuracy", "always_fake"))
            rows.append((f"({protocol})", *accuracies, *_judged(test)))
    header = ("trained under", "accuracy", "balanced", "always FAKE", "AUC", "log loss", "EER", "clips")
    return table(header, rows)


def _lower(result: Result) -> str:
    rows = []
    for name in ("clips", "crops"):
        found = result["claims"][name]
        parts = found["real"], found["fake"], found["auc"], *found["pairs"].values()
        real, fake, auc, difference, lower = map(_with_interval, parts)
        rows.append((name, real, fake, f"{found['ratio']:.2f}", auc, difference, lower))
    return table(("", "real", "fake", "fake ÷ real", "AUC", "pairs: fake − original", "pairs: fake is lower"), rows)


def _skin(result: Result) -> str:
    rows = []
    for name in ("clips", "crops"):
        skin = result["claims"][name]["skin"]
        spread = f"{skin['tones'][0]:.0f}° … {skin['tones'][2]:.0f}°"
        rows.append((name, spread, *(_with_interval(skin[part]) for part in ("correlation", "darker", "lighter"))))
    return table(("", "5th … 95th percentile", "correlation", "AUC, darker half", "AUC, lighter half"), rows)


def _count(part: Result) -> str:
    sets = plain(", ".join(part["sets"]))
    return f"{part['real']} real and {part['fake']} fake of {sets}, in {count(part['groups'], 'group')}"


def _with_interval(found: Result) -> str:
    if found["value"] is None:
        return "–"
    interval = "" if found["ci95"] is None else f" ({found['ci95'][0]:.2f}–{found['ci95'][1]:.2f})"
    return f"{found['value']:.2f}{interval}, n = {found['n']}"
