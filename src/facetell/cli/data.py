"""`facetell data`: look into a data set, prepare a face cache, explore it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facetell.cli._limits import limited
from facetell.cli.common import JsonOption, check_outputs, complain, complain_of_gaps, complain_of_missing, write
from facetell.video.limits import Limits

if TYPE_CHECKING:
    from facetell.data.layouts import Listing

app = typer.Typer(help="Look into data sets and prepare them for training.", no_args_is_help=True)

Root = Annotated[Path, typer.Argument(metavar="DIR", help="Data set: a folder, a tar or a table.")]
LabelOption = Annotated[str | None, typer.Option("--label", metavar="REAL|FAKE", help="Label of everything in DIR.")]
LayoutOption = Annotated[str | None, typer.Option("--layout", metavar="NAME", help="Instead of recognising it.")]
CropOption = Annotated[bool, typer.Option("--crop", help="Every picture is one already cut-out face.")]
VideoRegex = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Its first group: the video that a picture is a still of.")
]
GroupRegex = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Its first group: what must stay together in a split.")
]
ManifestOption = Annotated[
    Path | None, typer.Option("--manifest", metavar="FILE", help="Write the manifest too, as .csv or .parquet.")
]


@app.command()
def inspect(
    root: Root,
    label: LabelOption = None,
    layout: LayoutOption = None,
    crop: CropOption = False,
    video_regex: VideoRegex = None,
    group_regex: GroupRegex = None,
    manifest: ManifestOption = None,
    json: JsonOption = None,
) -> None:
    """Say what DIR holds, what is missing, and what looks odd. Its layout, items per class, method and split."""
    from json import dumps

    from rich.console import Console

    from facetell.data.manifest import check_name, manifest_of, write_manifest
    from facetell.data.summary import summarise
    from facetell.data.terminal import summary_report
    from facetell.errors import LeakError

    check_outputs([json, None if manifest is None else str(manifest)], [str(root)])
    if manifest is not None:
        check_name(manifest)
    listing = _listing(root, label, layout, crop, video_regex, group_regex)
    summary = summarise(listing)
    if json is not None:
        write(dumps(summary, ensure_ascii=False, indent=1) + "\n", json)
    Console(stderr=json == "-").print(summary_report(summary, root), soft_wrap=True)
    if manifest is not None:
        try:
            write_manifest(manifest_of(listing.items), manifest)
        except LeakError as error:
            raise LeakError(
                error.message,
                "facetell data prepare writes a --manifest without the training rows that leak, or, with --resplit, "
                "with a split of its own.",
            ) from error


@app.command()
@limited
def prepare(
    root: Root,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="CACHE", help="Folder of the cache.")],
    label: LabelOption = None,
    layout: LayoutOption = None,
    crop: CropOption = False,
    video_regex: VideoRegex = None,
    group_regex: GroupRegex = None,
    sample: Annotated[str, typer.Option(metavar="PLAN", help="Frames taken from each video.")] = "uniform:20",
    faces: Annotated[str, typer.Option(metavar="all|largest", help="Faces taken from each frame.")] = "all",
    size: Annotated[int, typer.Option(help="Side in pixels of the pictures cut from videos.")] = 320,
    splits: Annotated[
        str, typer.Option(metavar="NAME=SHARE,…", help="For data sets without an official split.")
    ] = "train=0.8,val=0.1,test=0.1",
    seed: Annotated[int, typer.Option(min=0, help="Of the split.")] = 0,
    resplit: Annotated[bool, typer.Option("--resplit", help="Pass over official splits.")] = False,
    paper_protocol: Annotated[
        bool,
        typer.Option(
            "--paper-protocol", help="Also write the paper's split, which leaks; to reproduce it, never to use."
        ),
    ] = False,
    manifest: ManifestOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")] = False,
    *,
    limits: Limits,
) -> None:
    """Cut the faces out of every video and picture of DIR. Stop it anywhere; run it again and it goes on."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    from facetell.data.cache import FaceCache
    from facetell.data.manifest import check_name, manifest_of, write_manifest
    from facetell.data.prepare import Settings
    from facetell.data.prepare import prepare as run
    from facetell.data.split import assign_splits, parse_fractions, write_paper_protocol
    from facetell.data.summary import class_notes, pair_notes
    from facetell.data.terminal import cache_report
    from facetell.errors import UsageError
    from facetell.report.text import count
    from facetell.video import shared_readers

    settings = Settings(plan=sample, faces=faces, size=size)
    if manifest is not None and Path(os.path.realpath(manifest)).is_relative_to(os.path.realpath(out)):
        raise UsageError(
            f"{manifest} lies in the cache's own folder.", "The cache keeps its manifest itself; choose another place."
        )
    fractions = parse_fractions(splits)
    check_outputs([None if manifest is None else str(manifest)], [str(root)])
    if manifest is not None:
        check_name(manifest)
    listing = _listing(root, label, layout, crop, video_regex, group_regex)
    rows, notes = assign_splits(manifest_of(listing.items), fractions, seed, resplit=resplit)
    complain_of_gaps(listing.missing, [*listing.notes, *class_notes(rows), *pair_notes(rows), *notes])
    if manifest is not None:
        write_manifest(rows, manifest)
    complain_of_missing(shared_readers(limits).start())
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=quiet) as bar:
            task = bar.add_task("preparing", total=len(rows))
            run(
                rows,
                out,
                settings,
                workers=workers,
                progress=lambda done, _: bar.update(task, completed=done),
                limits=limits,
            )
    except KeyboardInterrupt as stop:
        complain(f"Stopped. The same command goes on with {out}.")
        raise typer.Exit(130) from stop
    if paper_protocol:
        torn = write_paper_protocol(rows, out / "paper_protocol.csv", fractions, seed)
        complain(
            f"paper_protocol.csv leaks: {count(torn, 'group')} in more than one of its splits. Publish no result of it."
        )
    cache = FaceCache.open(out)
    if not quiet:
        console.print(cache_report(cache), soft_wrap=True)


def _listing(
    root: Path,
    label: str | None,
    layout: str | None,
    crop: bool,
    video_regex: str | None,
    group_regex: str | None,
) -> Listing:
    from facetell.data.layouts import Options, read
    from facetell.data.layouts.base import label_of

    known = None if label is None else label_of(label, "--label")
    return read(root, Options(label=known, crop=crop, video_regex=video_regex, group_regex=group_regex), layout)


@app.command()
def explore(
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="A cache made by facetell data prepare.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.html", help="Write the page here.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of faces that are looked at.")] = 0,
    json: JsonOption = None,
) -> None:
    """Write a page on what a cache holds. It shows the shortcuts, too, by which it could be learned."""
    from dataclasses import asdict
    from json import dumps

    from facetell.data.cache import FaceCache
    from facetell.data.explore import explore as page
    from facetell.data.explore import shortcuts

    check_outputs([out, json], [str(cache)])
    opened = FaceCache.open(cache)
    write(page(opened, seed), out)
    if json is not None:
        write(dumps({"shortcuts": [asdict(found) for found in shortcuts(opened)]}, indent=1) + "\n", json)
