"""`facetell calibrate`: probabilities and thresholds for a detector, measured and written into its file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facetell.cli.common import (
    STDOUT,
    JsonOption,
    ScoresOption,
    Verbose,
    check_outputs,
    complain,
    complain_of_gaps,
    talk,
    write,
)
from facetell.errors import UsageError

if TYPE_CHECKING:
    from facetell.detectors import Aggregation, DetectorCard


def calibrate(
    context: typer.Context,
    detector: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The detector to calibrate.")],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE.onnx", help="The detector file to write, and its page FILE.md.")
    ],
    data: Annotated[
        list[Path] | None, typer.Option(metavar="DIR|TABLE|MANIFEST", help="Labelled development data.")
    ] = None,
    reals: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR|TAR", help="Real faces of one source each, none of them trained on."),
    ] = None,
    sets: Annotated[
        Path | None,
        typer.Option(metavar="SETS.toml", help="Both, as for `benchmark`: the sets labelled REAL are the real faces."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What paths in SETS.toml are relative to; else its own folder.")
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR|TAR", help="Stills of fakes beside their originals: measure the heat map on them."),
    ] = None,
    json: JsonOption = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split of the development data.")] = None,
    sample: Annotated[str | None, typer.Option(metavar="PLAN", help="Frames of a video, such as uniform:20.")] = None,
    condition: Annotated[
        list[str],
        typer.Option(help="Damage that is measured beside the clean data, from the robustness suite; may be repeated."),
    ] = ["CRF 32"],  # noqa: B006 (Typer copies it)
    aggregation: Annotated[
        Literal["quality", "confidence"],
        typer.Option(help="How a person's faces weigh in their mean: docs/verdict.md."),
    ] = "confidence",
    flicker: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHT,CENTRE",
            help="Let a face's flicker count: logits for a unit of it, and where it says nothing; else as in the file.",
        ),
    ] = None,
    magnify: Annotated[
        float | None,
        typer.Option(
            metavar="TIMES",
            help="Magnify a face's change to the next frame before the network looks at it; else as in the file.",
        ),
    ] = None,
    instability: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHT,CENTRE",
            help="Let it count how far magnified changes move a face's logit, likewise; else as in the file.",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option(help="That the new file bears; else as in the old one.")] = None,
    scores: ScoresOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the halves and the resampling.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Neither progress bar nor table.")] = False,
    verbose: Verbose = False,
) -> None:
    """Fit probabilities, and read thresholds off real faces.

    Fitted on half of the development groups, reported on the other.
    """
    from json import dumps

    from rich.console import Console

    from facetell.cli._counting import counting
    from facetell.data.layouts import Options
    from facetell.data.layouts.base import label_of
    from facetell.detectors import load_detector, pack
    from facetell.evaluation.calibration import calibrate as fit
    from facetell.evaluation.calibration import halved
    from facetell.evaluation.heatmap import check_heatmap, heatmap
    from facetell.evaluation.robustness import SUITE
    from facetell.evaluation.scoring import score
    from facetell.evaluation.sources import find, read_sets, refuse_twice, tell_apart
    from facetell.evaluation.store import Store
    from facetell.evaluation.terminal import calibration
    from facetell.files import sha256_of
    from facetell.report.card import card_page
    from facetell.scanning import Scanner

    if verbose:
        talk(context)
    if out in ("", STDOUT):
        raise UsageError(f"A detector cannot be written to {out!r}.", "Give --out the path of a file.")
    page = os.path.splitext(out)[0] + ".md"
    inputs = (*(data or []), *(reals or []), *(pairs or []), *([sets] if sets else []))
    check_outputs([out, page, json], [str(path) for path in inputs])
    check_outputs([page, json], [str(detector)])  # which --out may take the place of
    if split is not None and not data:
        raise UsageError("There is no --data for --split to choose from.", "In SETS.toml each set names its split.")
    if root is not None and sets is None:
        raise UsageError("--root says where the files of --sets are, and there is no --sets.", "Leave it out.")
    if unknown := [name for name in condition if name not in SUITE]:
        raise UsageError(f"There is no degradation {unknown[0]!r}.", f"There are: {', '.join(SUITE)}.")
    if version == "":
        raise UsageError("--version is empty.", "Give the new file a version, or leave the option out.")
    uncalibrated = load_detector(detector)
    uncalibrated.card = _uncalibrated(uncalibrated.card, aggregation, version, flicker, magnify, instability)
    scanner = Scanner(uncalibrated, sample)
    of_pairs = find(pairs) if pairs else None
    paired = None if of_pairs is None else of_pairs.manifest
    if paired is not None:
        check_heatmap(uncalibrated.card, paired)
    known = read_sets(sets) if sets else []
    seen = [one.name for one in known if one.seen_by(uncalibrated.card.training_data)]
    chosen = [one for one in known if one.name not in seen]
    if seen and not chosen:
        raise UsageError(
            f"The detector was trained on every set of {sets}.",
            "Give others, or mark what it never saw: unseen = true.",
        )
    if seen:
        complain(f"Left out, as the detector was trained on them: {', '.join(seen)}.")
    listed = {one.name: one.find(root or Path(sets or ".").parent) for one in chosen}
    real = [one.name for one in chosen if one.label is not None and label_of(one.label, one.name) == 0]
    labelled = [found for name, found in listed.items() if name not in real]
    if data:
        labelled.append(find(data, split=split))
    if not labelled:
        raise UsageError("There is nothing to calibrate on.", "Give development data: --data, or --sets.")
    from pandas import concat  # here, for without it the modules above name what to install

    labelled = tell_apart(labelled)
    development = concat([found.manifest for found in labelled], ignore_index=True)
    of_reals = [(_source(path), path) for path in reals or []]
    refuse_twice(  # of two, one would have no say
        [*real, *(name for name, _ in of_reals), *development.dataset[development.label == 0].unique()],
        "sources of real faces",
        "Rename one, or name it in SETS.toml: --reals are called by the last two parts of their paths.",
    )
    stills = {name: listed[name] for name in real}
    stills |= {name: find([path], Options(label=0)) for name, path in of_reals}
    for found in (*([of_pairs] if of_pairs else []), *labelled, *stills.values()):
        complain_of_gaps(found.missing, found.notes)
    halved(development, seed)  # too few groups are said before hours of scoring
    manifests = {name: found.manifest for name, found in stills.items()}
    store = None if scores is None else Store(scores)
    conditions = {"clean": None} | {name: SUITE[name] for name in condition}
    with counting(len(conditions) * (len(development) + sum(map(len, manifests.values()))), quiet) as advance:
        scored = {name: score(development, scanner, workers, advance, kind, store) for name, kind in conditions.items()}
        measured = {
            f"{source} ({name})": score(manifest, scanner, workers, advance, kind, store)
            for source, manifest in manifests.items()
            for name, kind in conditions.items()
        }
    card = fit(scanner.detector.card, scored, measured, seed=seed)
    if paired is not None:
        with counting(len(paired), quiet) as advance:
            worth = heatmap(paired, scanner.detector, workers, progress=advance)
        if "none" in worth:
            complain(f"The heat map is not measured: {worth['none']}.")
        else:
            numbers = {key: worth[key] for key in ("pairs", "blends")}
            card = replace(card, metrics={**card.metrics, "heatmap": numbers})
    pack(detector, card, out)
    write(card_page(card, sha256_of(out)), page)
    if json is not None:
        write(dumps(card.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n", json)
    if not quiet:
        Console(stderr=json == STDOUT).print(calibration(card))


def _source(path: Path) -> str:
    """What `--reals` PATH is called: the last two parts of the path, without what only says its kind."""
    from facetell.data.layouts.table import SUFFIXES

    path = path.resolve()
    return "/".join((path.with_suffix("") if path.suffix.lower() in (".tar", *SUFFIXES) else path).parts[-2:])


def _uncalibrated(
    card: DetectorCard,
    aggregation: Aggregation,
    version: str | None,
    flicker: str | None,
    magnify: float | None,
    instability: str | None,
) -> DetectorCard:
    """The card with what the options ask for, and without what an earlier calibration put there."""
    from facetell.detectors import Calibration

    # Whom a video rests on must not depend on an earlier calibration.
    card = replace(card, aggregation=aggregation, calibration=Calibration(), thresholds=(), scope=None)
    if version is not None:
        card = replace(card, version=version)
    if magnify is not None:
        card = _with_magnification(card, magnify)
    if flicker is not None:
        card = _with_term(card, "flicker", flicker)
    return card if instability is None else _with_term(card, "instability", instability)


def _with_term(card: DetectorCard, name: Literal["flicker", "instability"], text: str) -> DetectorCard:
    """The card with what `--flicker` or `--instability` asks for."""
    from facetell.detectors import Term

    advice = f"Give two numbers, such as --{name} 4,-0.1, the first above 0."
    try:
        weight, centre = map(float, text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is not a weight and a centre.", advice) from None
    old = card.flicker if name == "flicker" else card.instability
    try:
        term = replace(old, weight=weight, centre=centre) if old else Term(weight, centre)
        return replace(card, **{name: term})
    except ValueError as error:
        raise UsageError(f"{name.capitalize()} cannot count {text} with {card.name}: {error}.", advice) from error


def _with_magnification(card: DetectorCard, times: float) -> DetectorCard:
    """The card with what `--magnify` asks for."""
    try:
        return replace(card, magnification=times)
    except ValueError as error:
        raise UsageError(
            f"{card.name} cannot be shown changes magnified {times:g} times: {error}.",
            "Give a number above 0 and at most 100, such as --magnify 1, or leave it out for this detector.",
        ) from error
