"""`facetell models`: which detectors there are, what one of them says of itself, and making a detector file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetell.cli.common import STDOUT, JsonOption, check_outputs, facts_table, training_stack, write

if TYPE_CHECKING:
    from facetell.detectors.file import DetectorFile

app = typer.Typer(help="List detectors, show one's card, make a detector file.")


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    detector: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Show everything this detector says of itself.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """List the detectors that ship: what they were trained on, size, SHA-256, licence."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from facetell.detectors import shipped
    from facetell.detectors.detector import find_detector_file

    files = [find_detector_file(name) for name in ([detector] if detector else shipped())]
    check_outputs([json], [str(file.path) for file in files])
    if json:
        import json as codec

        document = {"schema": "facetell-models/1", "detectors": [_as_dict(file) for file in files]}
        write(codec.dumps(document, indent=2) + "\n", json)
    if json != STDOUT:
        console = Console(highlight=False)
        for file in files:
            console.print(facts_table(_title(file), _facts(file, whole=detector is not None)))


@app.command()
def pack(
    network: Annotated[str, typer.Argument(metavar="FILE.onnx", help="The network.")],
    card: Annotated[str, typer.Option(metavar="CARD.toml", help="What the network is: docs/detector-file.md.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.onnx", help="The detector file to write.")],
) -> None:
    """Make a detector file of a network of your own. It is the ONNX file with its card inside."""
    from facetell.detectors import pack as pack_file
    from facetell.detectors import read_card

    check_outputs([out], [network, card])
    pack_file(network, read_card(card), out)
    print(f"{out}: use it with `facetell scan --detector {out}`.")


@app.command()
def quantise(
    detector: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The detector, in 32-bit numbers.")],
    data: Annotated[list[Path], typer.Option(metavar="CACHE", help="Face caches that it was trained on.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.onnx", help="The detector file to write.")],
    faces: Annotated[int, typer.Option(min=1, help="How many faces set the ranges of its activations.")] = 320,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of faces.")] = 0,
) -> None:
    """Make a smaller, faster detector file. Weights and activations have 8 bits; calibrate it afterwards."""
    from facetell.data.cache import FaceCache
    from facetell.evaluation.quantise import quantise as run

    check_outputs([out], [str(detector)])
    card = run(detector, [FaceCache.open(folder) for folder in data], out, faces, seed)
    before, after = (path.stat().st_size / 1e6 for path in (detector, Path(out)))
    has = "Its thresholds are the old ones" if card.thresholds else "It has no thresholds"
    print(f"{out}: {after:.1f} MB instead of {before:.1f}. {has}; run `facetell calibrate`.")


@app.command()
def unpack(
    detector: Annotated[Path, typer.Argument(metavar="NAME|FILE.onnx", help="A detector of `facetell train frame`.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.ckpt", help="The checkpoint to write.")],
    network: Annotated[int, typer.Option(min=1, help="Which of its networks, as its card names them.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Over the recipe `default`; its scale is the card's."),
    ] = None,
) -> None:
    """Write one network of a detector file as a checkpoint. Train on from it, average it, or join it anew."""
    from facetell.detectors.detector import find_detector_file

    with training_stack():
        from facetell.training.unpack import unpack as run
    check_outputs([str(out)], [str(detector)])
    run(find_detector_file(str(detector)), network, out, settings or [])
    print(f"{out}: go on with `facetell train frame --set start={out}`, or give it to `facetell ensemble`.")


@app.command("import-mesonet")
def import_mesonet(
    weights: Annotated[str, typer.Argument(metavar="FILE.h5", help="One of the MesoNet authors' weight files.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT.onnx", help="The detector file to write.")],
) -> None:
    """Make a detector file of published MesoNet weights. They are the authors' Keras file; no TensorFlow is needed."""

    with training_stack():
        from facetell.training.keras import import_mesonet as run
    check_outputs([out], [weights])
    run(weights, out)
    print(f"{out}: use it with `facetell scan --detector {out}`.")


def _as_dict(file: DetectorFile) -> dict[str, Any]:
    return {"file": file.path.name, "bytes": len(file.content), "sha256": file.sha256, "card": file.card.to_dict()}


def _title(file: DetectorFile) -> str:
    from facetell.detectors import zoo

    default = " (default)" if file.sha256 == zoo.SHIPPED[zoo.DEFAULT] else ""
    return f"{file.card.name} {file.card.version}{default}"


def _facts(file: DetectorFile, whole: bool) -> list[tuple[str, str]]:
    """What a detector says of itself: the `whole` of it, or what a list of several has room for."""
    from facetell.report.heat import worth

    card = file.card
    shape = f"{card.input_size}×{card.input_size}, {card.geometry.kind}"
    clip = "" if card.kind == "frame" else f", {card.frames} faces at once"
    facts: list[tuple[str, str]] = [
        ("looks at", f"{card.kind}{clip}: crops of {shape}"),
        ("trained on", card.training_data),
        ("size", f"{len(file.content) / 1e6:.1f} MB"),
        ("SHA-256", file.sha256),
        ("licence", card.licence),
    ]
    if whole:
        facts += [("about", card.description)] if card.description else []
        facts += [("outputs", ", ".join(key for key, name in card.outputs.items() if name))]
        facts += [("heat map", worth(card))] if card.heatmap else []
        facts += [("calibration", f"{card.calibration.method}, of the mean weighted by {card.aggregation}")]
        facts += card.in_a_video.items()
        facts += [
            (f"at {t.false_positive_rate:g} FPR", _threshold(t.logit, t.n_real, t.source)) for t in card.thresholds
        ]
        facts += [("not decided", words) for words in (card.scope.beyond if card.scope else ())]
        facts += [("measured", f"{name}: {_figures(values)}") for name, values in card.metrics.items()]
        facts += [("", "Every figure, by source and rate: --json FILE.")] if card.metrics else []
        facts += [("limit", limit) for limit in card.limits]
    if all(threshold.logit is None for threshold in card.thresholds):
        facts += [("note", "it states no thresholds, so nothing is decided by it")]
    elif card.provisional:
        facts += [("note", "its thresholds are provisional")]
    return facts


def _threshold(logit: float | None, n_real: int, source: str) -> str:
    at = "no threshold" if logit is None else f"logit {logit:.2f}"
    return f"{at}, from {n_real} real ones: {source}"


def _figures(values: object, deeper: int = 1) -> str:
    """A card's figures of one data set in one line, without those that lie deep; they are any JSON.

    >>> _figures({"auc": 0.9, "found": {"value": 0.5, "ci95": [0.4, 0.6], "n": 9}, "by": {"clean": {"x": {"y": 1}}}})
    'auc 0.900, found 0.500 (0.400–0.600)'
    """
    if isinstance(values, dict):
        if "value" in values:
            interval = f" ({_figures(values['ci95'])})" if values.get("ci95") else ""
            return _figures(values["value"]) + interval
        if deeper < 0:
            return ""
        parts = {key: _figures(value, deeper - 1) for key, value in values.items()}
        return ", ".join(f"{key} {part}" for key, part in parts.items() if part)
    if isinstance(values, list):
        return "–".join(map(_figures, values))
    return "" if values is None else f"{values:.3f}" if isinstance(values, float) else str(values)
