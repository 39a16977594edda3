"""`facetell train`: from face caches and a recipe to a detector file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetell.cli.common import in_numbers, training_stack


def train(
    name: Annotated[str, typer.Argument(metavar="NETWORK", help="What to train, such as meso or frame.")],
    data: Annotated[list[Path], typer.Option("--data", metavar="CACHE", help="Face cache; may be given repeatedly.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.")],
    recipe: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="Recipe; by default the network's.")] = None,
    backbone: Annotated[str | None, typer.Option(metavar="TIMM", help="For frame and noise: a timm model.")] = None,
    input: Annotated[
        str | None, typer.Option(metavar="rgb|residual", help="For frame: what the backbone sees.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over the recipe.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in DIR.")] = False,
    max_minutes: Annotated[float | None, typer.Option(help="End after so long, schedule run down.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, gpu, mps, …")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare batches.")] = 0,
) -> None:
    """Train a detector on face caches. Write it, with its card, as an ONNX file."""
    from facetell.training.recipe import load_recipe
    from facetell.training.tasks import get_task, recipe_for

    with training_stack():
        from facetell.data.cache import FaceCache
        from facetell.training.fit import fit

        task = get_task(name)

    given = {"backbone": backbone, "input": input}
    overrides = [*(f"{key}={value}" for key, value in given.items() if value is not None), *(settings or [])]
    loaded = load_recipe(recipe_for(name, recipe), task.recipe, overrides)
    caches = [FaceCache.open(folder) for folder in data]
    run = fit(task, loaded, caches, out, resume=resume, max_minutes=max_minutes, device=device, workers=workers)
    path = task.export(run, caches)
    typer.echo(f"{path}: best of {run.seconds / 60:.1f} minutes at step {run.step}: {in_numbers(run.metrics)}")
