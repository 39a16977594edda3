"""The command line: one file per verb, thin. Verbs import what they need when they run, so that `--help` stays fast."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from facetell import __version__
from facetell.cli import (
    average,
    benchmark,
    calibrate,
    data,
    ensemble,
    evaluate,
    forge,
    inspect,
    models,
    reproduce,
    scan,
    train,
)
from facetell.cli.common import (
    Verbs,
    complain,
    end_on_signals,
    fill_closed_streams,
    name_output_errors,
    print_what_fits,
)
from facetell.errors import OutputError

app = typer.Typer(
    name="facetell",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: loading what draws its boxes takes as long as everything else
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"facetell {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Tells whether a face in a video was manipulated, on your own computer, and how sure it is."""


app.command()(scan.scan)
app.add_typer(models.app, name="models")
app.command()(inspect.inspect)
app.add_typer(data.app, name="data")
app.add_typer(forge.app, name="forge")
app.command()(evaluate.evaluate)
app.command()(benchmark.benchmark)
app.command()(calibrate.calibrate)
app.command()(train.train)
app.command()(average.average)
app.command()(ensemble.ensemble)
app.add_typer(reproduce.app, name="reproduce")


def main() -> None:
    """Entry point of the `facetell` command. Whatever breaks down ends in 2: an exit code of 1 always means FAKE."""
    name_output_errors()
    print_what_fits()
    fill_closed_streams()
    end_on_signals()
    try:
        app()
    except OutputError as error:  # help or version; a verb ends in its own way
        complain(error)
        sys.exit(2)
    except Exception:  # pragma: boundary  the interpreter would end in 1
        traceback.print_exc()
        sys.exit(2)
