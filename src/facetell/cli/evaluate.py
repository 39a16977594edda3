"""`facetell evaluate`: what a detector is worth on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetell.cli.common import STDOUT, JsonOption, ScoresOption, Verbose, check_outputs, complain_of_gaps, talk, write
from facetell.errors import DataError, UsageError


def evaluate(
    context: typer.Context,
    data: Annotated[
        list[Path], typer.Option(metavar="DIR|TABLE|MANIFEST", help="Labelled data; may be given several times.")
    ],
    detector: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="By default the shipped one.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE.html", help="Write a page with plots.")
    ] = None,
    json: JsonOption = None,
    submission: Annotated[
        str | None,
        typer.Option(metavar="FILE.csv", help="Write filename,label for each scored file; the label is P(fake)."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Compare with this detector on the same items.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="robustness|aggregation|heatmap",
            help="Also damage the items, compare pooling rules, or hold the heat map against truth.",
        ),
    ] = None,
    sample: Annotated[str | None, typer.Option(metavar="PLAN", help="Frames of a video, such as uniform:20.")] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split.")] = None,
    label: Annotated[str | None, typer.Option(metavar="REAL|FAKE", help="What everything in DATA is.")] = None,
    layout: Annotated[str | None, typer.Option(metavar="NAME", help="Of the data, instead of recognising it.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Every picture is one already cut-out face.")] = False,
    video_regex: Annotated[
        str | None, typer.Option(help="First group: the video that a picture is a still of.")
    ] = None,
    group_regex: Annotated[str | None, typer.Option(help="First group: what belongs together.")] = None,
    scores: ScoresOption = None,
    resamples: Annotated[int, typer.Option(min=0, help="For the 95 % intervals.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    device: Annotated[str, typer.Option(help="An ONNX Runtime provider.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Neither progress bar nor table.")] = False,
    verbose: Verbose = False,
) -> None:
    """State what a detector is worth on labelled material.

    Videos, stills or face crops; metrics with intervals, and coverage.
    """
    from json import dumps

    from rich.console import Console

    from facetell.cli._counting import counting
    from facetell.data.layouts import Options
    from facetell.data.layouts.base import label_of
    from facetell.evaluation.aggregation import aggregation, mirrored
    from facetell.evaluation.heatmap import check_heatmap, heatmap
    from facetell.evaluation.page import page
    from facetell.evaluation.protocol import compare, submission_table, summary
    from facetell.evaluation.robustness import SUITE, robustness
    from facetell.evaluation.scoring import Scored, score
    from facetell.evaluation.sources import find
    from facetell.evaluation.store import Store
    from facetell.evaluation.terminal import report
    from facetell.scanning import Scanner

    if verbose:
        talk(context)
    check_outputs([out, json, submission], [str(source) for source in data])
    if suite not in (None, "robustness", "aggregation", "heatmap"):
        raise UsageError(f"There is no suite {suite!r}.", "There are: robustness, aggregation, heatmap.")
    known = None if label is None else label_of(label, "--label")
    options = Options(label=known, crop=crop, video_regex=video_regex, group_regex=group_regex)
    found = find(data, options, layout, split)
    complain_of_gaps(found.missing, found.notes)
    manifest = found.manifest
    if manifest.label.nunique() < 2 and (against is not None or suite == "aggregation"):
        what = "--suite aggregation" if against is None else "--against"
        raise DataError(f"{what} compares on real and fake items, and all of these are of one class.", "Give both.")
    scanner = Scanner(detector, sample, device=device)
    if suite == "heatmap":
        check_heatmap(scanner.detector.card, manifest)
    store = None if scores is None else Store(scores)
    rival = None if against is None else Scanner(against, sample, device=device)

    def scored_by(scanner: Scanner) -> Scored:
        with counting(len(manifest), quiet) as advance:
            return score(manifest, scanner, workers, advance, store=store)

    scored = scored_by(scanner)
    result = summary(scored, scanner, resamples)
    result["data"]["missing"] = len(found.missing)
    other = None if rival is None else scored_by(rival)
    if other is not None:
        result["against"] = compare(scored, other, resamples)
    if suite == "aggregation":
        with counting(len(manifest), quiet) as advance:
            other_side = Scanner(mirrored(scanner.detector, device), sample)
            flipped = score(manifest, other_side, workers, advance, store=store)
        result["aggregation"] = aggregation(scored, flipped, resamples)
    if suite == "robustness":
        with counting(len(manifest) * len(SUITE), quiet) as advance:
            result["robustness"] = robustness(manifest, scanner, scored, workers, resamples, advance, store)
    if suite == "heatmap":
        with counting(len(manifest), quiet) as advance:
            result["heatmap"] = heatmap(manifest, scanner.detector, workers, resamples, advance)
    if submission is not None:
        write(submission_table(scored).to_csv(index=False, lineterminator="\n"), submission)
    if out is not None:
        write(page(result, scored, scanner, other), out)
    if json is not None:
        write(dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n", json)
    if not quiet:
        Console(stderr=STDOUT in (out, json, submission)).print(report(result))
    if scored.videos.empty:
        reasons = ", ".join(f"{number} {reason}" for reason, number in scored.unscored.items())
        raise DataError(f"Nothing could be scored: {reasons}.", "What was written has no numbers.")
