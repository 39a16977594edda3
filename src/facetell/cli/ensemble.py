"""`facetell ensemble`: several trained networks as one detector file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetell.cli.common import in_numbers, training_stack


def ensemble(
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CKPT...", help="One of each network, the main first.")],
    data: Annotated[list[Path], typer.Option("--data", metavar="CACHE", help="The caches they were trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the detector file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over the first one's recipe.")
    ] = None,
) -> None:
    """Join networks of `train frame` into one detector. It takes the mean of their opinions, and is measured."""
    with training_stack():
        from facetell.data.cache import FaceCache
        from facetell.training.frame import TASK
        from facetell.training.frame import ensemble as join

    caches = [FaceCache.open(folder) for folder in data]
    run = join(checkpoints, caches, out, settings or [])
    path = TASK.export(run, caches)
    typer.echo(f"{path}: {in_numbers(run.metrics)}")
