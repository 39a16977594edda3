"""`facetell data`: look into a data set, prepare a face cache, explore it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look into data sets and prepare them for training.", no_args_is_help=True)

Root = Annotated[Path, typer.Argument(metavar="DIR", help="Data set: a folder, a tar or a table.")]
LabelOption = Annotated[str | None, typer.Option("--label", metavar="REAL|FAKE", help="Label of everything in DIR.")]
LayoutOption = Annotated[str | None, typer.Option("--layout", metavar="NAME", help="Instead of recognising it.")]
CropOption = Annotated[bool, typer.Option("--crop", help="Every picture is one already cut-out face.")]
VideoRegex = Annotated[str | None, typer.Option(help="First group: the video that a picture is a still of.")]
GroupRegex = Annotated[str | None, typer.Option(help="First group: what must stay together in a split.")]


@app.command()
def prepare(
    root: Root,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="CACHE", help="Folder of the cache.")],
    label: LabelOption = None,
    layout: LayoutOption = None,
    crop: CropOption = False,
    video_regex: VideoRegex = None,
    group_regex: GroupRegex = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
) -> None:
    """Cut the faces out of every video and picture of DIR; stop it anywhere, run it again and it goes on."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from facetell.data.cache import FaceCache
    from facetell.data.layouts import Options, read
    from facetell.data.layouts.base import label_of
    from facetell.data.manifest import manifest_of
    from facetell.data.prepare import prepare as run

    options = Options(
        label=None if label is None else label_of(label, "--label"),
        crop=crop,
        video_regex=video_regex,
        group_regex=group_regex,
    )
    manifest = manifest_of(read(root, options, layout).items)
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("preparing", total=len(manifest))
        run(manifest, out, workers=workers, progress=lambda done, total: bar.update(task, completed=done, total=total))
    cache = FaceCache.open(out)
    console.print(f"{len(cache)} faces of {len(manifest)} items in {out}")
