"""`facetell inspect`: what a file's container says of itself, without looking at a single face."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetell.cli._limits import limited
from facetell.cli.common import (
    STDOUT,
    JsonOption,
    Verbose,
    check_outputs,
    complain,
    complain_of_missing,
    facts_table,
    inputs_of,
    talk,
    write,
)
from facetell.errors import FacetellError
from facetell.video.limits import Limits

if TYPE_CHECKING:
    from facetell.types import Provenance, VideoInfo


@limited
def inspect(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="Videos or pictures, or folders of them.", metavar="FILE...")],
    json: JsonOption = None,
    verbose: Verbose = False,
    *,
    limits: Limits,
) -> None:
    """Show what a file is, and what looks odd about it.

    Container, codec, frame rate, rotation, duration, sound, encoder.

    Exit code: 2 if any file cannot be read, else 0.
    """
    if verbose:
        talk(context)
    files = inputs_of(files)
    check_outputs([json], files)

    from rich.console import Console

    from facetell.video import ReaderPool

    readers = ReaderPool(limits)
    console = Console(quiet=json == STDOUT, highlight=False, emoji=False)
    results: list[dict[str, Any]] = []
    for file in files:
        try:
            info, origin = readers.probe(file)
        except FacetellError as error:
            problem = {"type": type(error).__name__, "message": str(error)}
            results.append({"path": file, "video": None, "provenance": None, "error": problem})
            complain(error)
            continue
        results.append({"path": file, "video": asdict(info), "provenance": asdict(origin), "error": None})
        console.print(facts_table(file, _facts(info, origin)))
    complain_of_missing(readers.missing)
    if json:
        import json as codec

        # Frame rates and pixel aspects are fractions.
        write(codec.dumps({"schema": "facetell-inspect/1", "files": results}, indent=2, default=float) + "\n", json)
    raise typer.Exit(2 if any(result["error"] for result in results) else 0)


def _facts(info: VideoInfo, origin: Provenance) -> list[tuple[str, str]]:
    """Those that are known, each with its name."""
    picture = f"{info.codec}, {info.width}×{info.height}, {info.bit_depth} bit {info.pixel_format}"
    rate = "" if info.frame_rate is None else f"{float(info.frame_rate):.3f} frames a second"
    sound = info.audio and f"{info.audio.codec}, {info.audio.sample_rate} Hz, {info.audio.channels} channels"
    facts = {
        "container": f"{info.container}, {info.size_bytes / 1e6:.2f} MB",
        "still" if info.is_still else "video": picture,
        "frame rate": rate + (", variable" if rate and info.variable_frame_rate else ""),
        "duration": "" if info.duration_s is None else f"{info.duration_s:.2f} s",
        "frames": "" if info.frame_count is None or info.is_still else str(info.frame_count),
        "bit rate": "" if info.bit_rate is None else f"{info.bit_rate / 1000:.0f} kbit/s",
        "rotation": f"{info.rotation}° clockwise" if info.rotation else "",
        "pixel aspect": str(info.pixel_aspect) if info.pixel_aspect != 1 else "",
        "transfer": info.transfer,
        "scan": "interlaced" if info.interlaced else "",
        "sound": sound or ("" if info.is_still else "none"),
        "encoder": origin.encoder or "",
        "created": origin.created or "",
        "device": origin.device or "",
    }
    known = [(name, value) for name, value in facts.items() if value]
    return [
        *known,
        *(("tag", f"{key}: {value}") for key, value in origin.tags.items()),
        *(("odd", n) for n in origin.notes),
    ]
