"""`facetell benchmark`: several detectors on several data sets, as tables and figures in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facetell.cli.common import JsonOption, ScoresOption, Verbose, check_outputs, complain_of_gaps, talk, write


def benchmark(
    context: typer.Context,
    sets: Annotated[Path, typer.Argument(metavar="SETS.toml", help="The data sets, each a table [[set]].")],
    detector: Annotated[
        list[str],
        typer.Option(
            metavar="NAME|FILE,…",
            help="Given once for each; the first one is studied closely. Of several files of one network, parted by "
            "commas, a set is measured by the first that was not trained on it.",
        ),
    ],
    out: Annotated[
        list[Path],
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.md",
            help="Fill the marked places of this document; make it if it is not there.",
        ),
    ],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What paths in SETS.toml are relative to; else its own folder.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where figures go; else beside the first document.")
    ] = None,
    json: JsonOption = None,
    scores: ScoresOption = None,
    resamples: Annotated[int, typer.Option(min=0, help="For the 95 % intervals.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    device: Annotated[str, typer.Option(help="An ONNX Runtime provider.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    verbose: Verbose = False,
) -> None:
    """Measure every detector on every data set. Write the tables and figures into documents."""
    from json import dumps

    from facetell.cli._counting import counting
    from facetell.errors import OutputError
    from facetell.evaluation import markdown
    from facetell.evaluation.benchmark import Contender, steps
    from facetell.evaluation.benchmark import benchmark as measure
    from facetell.evaluation.sources import read_sets
    from facetell.evaluation.store import Store
    from facetell.scanning import Scanner

    if verbose:
        talk(context)
    images = images or out[0].parent
    check_outputs([*map(str, out), json], [str(sets)])
    if not images.is_dir():
        raise OutputError(f"There is no folder {images} for the figures.", "Make it, or give another with --images.")
    folder = root or sets.parent
    chosen = read_sets(sets)
    for document in out:  # before long work: that every place in it is known
        if document.exists():
            markdown.check(_text(document), str(document))
    contenders = [Contender(tuple(Scanner(each, device=device) for each in files.split(","))) for files in detector]
    store = None if scores is None else Store(scores)
    found = {one.name: one.find(folder) for one in chosen}
    for each in found.values():
        complain_of_gaps(each.missing, each.notes)
    with counting(steps(chosen, found, contenders), quiet) as advance:
        result = measure(
            chosen, found, contenders, store, workers=workers, n_boot=resamples, progress=advance, device=device
        )
    drawn = {images / f"benchmark-{name}.svg": svg for name, svg in markdown.figures(result).items()}
    for path, svg in drawn.items():
        write(svg, str(path))
    for document in out:
        links = {path.stem.removeprefix("benchmark-"): markdown.address(path, document) for path in drawn}
        content = markdown.blocks(result, links)
        text = _text(document) if document.exists() else markdown.template(content)
        write(markdown.filled(text, content, str(document)), str(document))
    if json is not None:
        write(dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n", json)


def _text(document: Path) -> str:
    from facetell.errors import DataError

    try:
        return document.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{document} is not text in UTF-8.", "Save it in UTF-8, or give --out another name.") from error
