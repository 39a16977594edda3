"""`facetell forge`: fakes from free faces, and what happens to a video on its way to a user."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facetell.cli._limits import limited
from facetell.cli.common import complain_of_missing
from facetell.video.limits import Limits

if TYPE_CHECKING:
    from facetell.forge.clips import Report

app = typer.Typer(help="Make test material: blends, swaps, degraded copies.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(metavar="IN", help="Picture or video.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help=".png or .jpg; for a video .mp4, .mov or .mkv.")]
Mask = Annotated[Path | None, typer.Option(metavar="FILE", help="Write where the face was altered, as grey levels.")]
NoMark = Annotated[bool, typer.Option("--no-mark", help="No visible mark; the metadata still says that it is forged.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is already there.")]


class Blend(StrEnum):
    """How a swapped face joins its surroundings."""

    seamless = "seamless"
    soft = "soft"


@app.command()
@limited
def blend(
    source: Source,
    out: Out,
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="face, jaw, inner, parts, mouth, lower, eyes, …; by default any.")
    ] = None,
    seed: Seed = 0,
    mask: Mask = None,
    no_mark: NoMark = False,
    force: Force = False,
    *,
    limits: Limits,
) -> None:
    """Blend a face with a slightly changed copy of itself."""
    from facetell.forge.clips import blend_file

    _say(
        blend_file(source, out, family=family, seed=seed, mask=mask, mark=not no_mark, force=force, limits=limits),
        limits,
    )


@app.command()
@limited
def swap(
    source: Source,
    out: Out,
    face: Annotated[Path, typer.Option(metavar="FILE", help="Picture or video whose face goes into IN.")],
    blending: Annotated[Blend, typer.Option("--blend", help="How the face joins its surroundings.")] = Blend.seamless,
    mask: Mask = None,
    no_mark: NoMark = False,
    force: Force = False,
    *,
    limits: Limits,
) -> None:
    """Put another person's face into the head in IN."""
    from facetell.forge.clips import swap_file

    _say(
        swap_file(source, out, face, blending=blending.value, mask=mask, mark=not no_mark, force=force, limits=limits),
        limits,
    )


@app.command()
@limited
def degrade(
    source: Source,
    out: Out,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="messaging, screen, h264, h265, small, double, noise, …")
    ] = "messaging",
    crf: Annotated[int | None, typer.Option(metavar="0-51", help="Instead of the preset's; higher is worse.")] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    limits: Limits,
) -> None:
    """Damage a picture or video as an upload or a messaging app does."""
    from facetell.forge.clips import degrade_file

    _say(degrade_file(source, out, preset, crf=crf, seed=seed, force=force, limits=limits), limits)


def _say(report: Report, limits: Limits) -> None:
    from facetell.report.text import count, plain
    from facetell.video import shared_readers

    complain_of_missing(shared_readers(limits).missing)
    print(f"{plain(str(report.path))}: {report.what}, {count(report.frames, 'frame')}")
    if report.gaps:
        reasons = ", ".join(f"{number} {reason}" for reason, number in report.gaps.items())
        print(f"{sum(report.gaps.values())} of them left as they were: {reasons}")
