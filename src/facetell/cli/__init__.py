"""The command line: one file per verb, thin. Verbs import what they need when they run, so that `--help` stays fast."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="facetell",
    help="Tells whether a face in a video was manipulated, on your own computer, and how sure it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

from facetell.cli import data  # noqa: E402  the verbs need `app`

app.add_typer(data.app, name="data")


def main() -> None:
    """Entry point of the `facetell` command."""
    app()
