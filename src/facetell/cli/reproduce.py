"""`facetell reproduce`: published work again, on data of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetell.cli.common import check_outputs, complain, training_stack
from facetell.errors import UsageError

app = typer.Typer(no_args_is_help=True)


@app.callback()
def reproduce() -> None:
    """Train published detectors again and say what they are worth."""


@app.command()
def paper(
    data: Annotated[
        list[Path], typer.Option(metavar="DIR", help="A data set, or a folder of data sets; may be given repeatedly.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.html|FILE.md", help="Where to write the result.")],
    runs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where trainings are kept, to go on with them; by default beside the result."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, max=4, help="For each model and protocol, on average; by default 2.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="All of it on a subset, in five minutes: for tests.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of samples, splits and networks.")] = 0,
) -> None:
    """All models of "DeepFake Detection in Deep Learning". Under its protocols, and under an honest one."""
    from dataclasses import replace

    if Path(out).suffix not in (".html", ".md"):
        raise UsageError(f"{out} is neither a page nor Markdown.", "Let it end in .html or .md.")
    if quick and minutes is not None:
        raise UsageError("--quick has minutes of its own.", "Leave out --minutes, or --quick.")
    check_outputs([out], [str(folder) for folder in data])
    with training_stack():
        from facetell.training.paper.page import write_page
        from facetell.training.paper.run import QUICK, Effort, reproduce

    effort = replace(QUICK, seed=seed) if quick else Effort(minutes=minutes or 2.0, seed=seed)
    place = runs or Path(out).with_name(f"{Path(out).stem}-runs")
    write_page(reproduce(data, place, effort, complain), place, Path(out))
