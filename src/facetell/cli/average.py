"""`facetell average`: the mean of several checkpoints, as a detector file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetell.cli.common import in_numbers, training_stack


def average(
    name: Annotated[str, typer.Argument(metavar="NETWORK", help="What was trained, such as frame.")],
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CKPT...", help="Checkpoints of one network.")],
    data: Annotated[list[Path], typer.Option("--data", metavar="CACHE", help="The caches it was trained on.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the detector file.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over the recipe.")] = None,
) -> None:
    """Average the weights of checkpoints. Measure the mean on the dev split, and write it as an ONNX file."""
    from facetell.errors import UsageError
    from facetell.training.tasks import TrainsItself, get_task

    with training_stack():
        from facetell.data.cache import FaceCache
        from facetell.training.fit import average as mean

        task = get_task(name)

    if isinstance(task, TrainsItself):
        raise UsageError(f"{name} has no weights of which a mean could be taken.", "Train it anew with more data.")
    caches = [FaceCache.open(folder) for folder in data]
    run = mean(task, checkpoints, caches, out, settings or [])
    path = task.export(run, caches)
    typer.echo(f"{path}: {in_numbers(run.metrics)}")
