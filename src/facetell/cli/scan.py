"""`facetell scan`: one verdict per file."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facetell.cli._limits import limited
from facetell.cli.common import (
    STDOUT,
    JsonOption,
    Verbose,
    check_outputs,
    complain,
    inputs_of,
    is_device,
    talk,
    write,
)
from facetell.errors import FacetellError, OutputError, UsageError
from facetell.video.limits import Limits

if TYPE_CHECKING:
    from facetell.report.journal import Journal
    from facetell.scanning import Scanner
    from facetell.types import Verdict

_LONGEST = 200  # bytes of a name that is given to a file, so that more fits behind it
THUMBNAILS = 10  # most and least suspicious faces of each person that the page can show: all 20 of the default plan


@limited
def scan(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="Videos or pictures, or folders of them.", metavar="FILE...")],
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN",
            help="Frames to look at: uniform:20 (default; for a detector of clips one run), every:5, at:150, "
            "seconds:30, times:1.5,20, clips:2x20@5.",
        ),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="One that `facetell models` lists, or an .onnx file.")
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", help="Share of real videos that may be called FAKE: 0.05 or 0.01 (default), as measured."
        ),
    ] = None,
    prior: Annotated[float, typer.Option(metavar="SHARE", help="Share of fakes that P(fake) assumes.")] = 0.5,
    start: Annotated[float | None, typer.Option(metavar="SECONDS", help="Look from here on.")] = None,
    end: Annotated[float | None, typer.Option(metavar="SECONDS", help="Look up to here.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="An ONNX Runtime provider, such as cuda.")] = "cpu",
    json: JsonOption = None,
    csv: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write every face's score as a table; - is standard output.")
    ] = None,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write a page to hand on.")] = None,
    annotate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the video with its faces marked; for several or a folder, a folder."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="One line per file, no progress bar.")] = False,
    verbose: Verbose = False,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 whatever the verdicts are.")] = False,
    *,
    limits: Limits,
) -> None:
    """Say whether faces in videos or pictures were manipulated.

    A run that is cut short goes on where it was if it writes a --json or --csv file and no --html: run the same again.

    Exit code: 2 if any file could not be judged or shows no face, else 1 if any is FAKE, else 0.
    """
    if verbose:
        talk(context)
    folders = any(map(os.path.isdir, [*files, annotate or ""]))
    for option, seconds in (("--start", start), ("--end", end)):
        if seconds is not None and not math.isfinite(seconds):
            raise UsageError(f"{option} cannot be {seconds:g}.", "Give a number of seconds.")
    if annotate is not None:
        _check_apart(annotate, files)
    files = inputs_of(files, but=annotate)
    several = folders or len(files) > 1
    kept = None if html else _journal_beside([json, csv])  # pages need pictures, and it keeps none
    check_outputs([json, csv, html, None if several else annotate], files, kept)

    from rich.console import Console

    from facetell.cli._progress import ScanProgress
    from facetell.report import terminal
    from facetell.report.text import count
    from facetell.scanning import Scanner

    thumbnails = THUMBNAILS if html else 0
    scanner = Scanner(detector, sample, fpr, prior, start, end, device, thumbnails, limits=limits)
    markings = None if annotate is None else _Markings(annotate, several, files, scanner)
    journal = None if kept is None else _journal(kept, context, scanner)
    finished = [journal.get(file) if journal is not None else None for file in files]
    if number := sum(verdict is not None for verdict in finished):
        complain(f"{number} of {count(len(files), 'file')} finished in an earlier run.")
    console = Console(quiet=STDOUT in (json, csv, html), highlight=False, emoji=False)
    verdicts: list[Verdict] = []
    page = None
    if html:
        from facetell.report.html import Page

        page = Page(scanner.detector.card)
    with _stopping(journal), ScanProgress(files, quiet) as progress:
        scanner.progress = progress.frame
        for verdict, fresh, stamp in _verdicts(files, scanner, finished):
            verdicts.append(verdict)
            if journal is not None and fresh:
                journal.add(verdict, stamp)
            failed = markings.add(verdict, fresh, journal) if markings and not verdict.error else None
            if page:
                page.add(verdict)
            _drop_pictures(verdict)  # all verdicts are held until the reports are written
            with progress.aside():
                if quiet:
                    console.print(terminal.line(verdict), soft_wrap=True, markup=False)
                elif verdict.error is None:
                    console.print(terminal.block(verdict))
                    if len(files) > 1:
                        console.print()
                if problem := failed or (verdict.error and verdict.error.message):
                    complain(problem if verdict.path in problem else f"{verdict.path}: {problem}")
    if len(files) > 1 and not quiet:
        console.print(terminal.summary(verdicts))
    if journal is not None:
        journal.check()  # else a report that cannot be written would take it along
    _report(verdicts, json, csv)
    if page and html:
        write(page.text(), html)
    if journal is not None:
        _settle(journal, files, again=markings is not None and markings.failed)
    if markings and markings.failed:
        raise typer.Exit(2)
    raise typer.Exit(0 if exit_zero else exit_code(verdicts))


def _check_apart(annotate: str, files: Sequence[str]) -> None:
    """That no folder to be scanned is, or lies in, the one for marked copies, which is not looked into.

    Raises:
        UsageError: one is or does.
    """
    for path in filter(os.path.isdir, files):
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(annotate)):
            raise UsageError(
                f"Marked copies of what is in {path} cannot go to {annotate}: they would be scanned the next time.",
                "Give --annotate another folder, or one within it.",
            )


def _drop_pictures(verdict: Verdict) -> None:
    for track in verdict.tracks:
        for score in track.scores:
            score.crop = score.heatmap = score.heat_to_frame = None


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """As virus scanners have it: 2 if any file is ERROR or NO_FACE, else 1 if any is FAKE, else 0.

    >>> from facetell.types import Label, Verdict
    >>> exit_code([Verdict("a", Label.FAKE), Verdict("b", Label.NO_FACE)]), exit_code([Verdict("a", Label.FAKE)])
    (2, 1)
    """
    from facetell.types import Label

    labels = {verdict.label for verdict in verdicts}
    if labels & {Label.ERROR, Label.NO_FACE}:
        return 2
    return 1 if Label.FAKE in labels else 0


def _journal_beside(outputs: list[str | None]) -> str | None:
    """Where what is finished is kept: beside the first report that becomes a file."""
    files = (output for output in outputs if output and output != STDOUT and not is_device(output))
    return next((f"{file}.journal" for file in files), None)


def _journal(path: str, context: typer.Context, scanner: Scanner) -> Journal:
    """The journal at this path, open as long as the command lasts."""
    from facetell.report.journal import Journal

    journal = Journal(path, scanner.settings)
    context.call_on_close(journal.close)
    if journal.set_aside:
        complain(
            f"{journal.set_aside} keeps what a run with other settings had finished."
            f" To go on with that, put it back as {path}."
        )
    return journal


def _settle(journal: Journal, files: Sequence[str], again: bool) -> None:
    """The reports are written: remove the journal, unless it holds what is in none of them, or copies failed."""
    from facetell.report.text import count

    others = journal.paths.difference(files)
    if again:
        complain(f"The same command tries the copies that failed again, with {journal.path}.")
    elif others:
        number = count(len(others), "file")
        complain(f"{journal.keep()} keeps what an earlier run had finished and is not in this report ({number}).")
    else:
        journal.remove()


@contextmanager
def _stopping(journal: Journal | None) -> Iterator[None]:
    """Whoever stops the scan, by hand or by a signal, is told that it can go on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if journal is not None:
            complain(f"Stopped. The same command goes on with {journal.path}.")
        raise


def _verdicts(
    files: Sequence[str], scanner: Scanner, finished: Sequence[Verdict | None]
) -> Iterator[tuple[Verdict, bool, list[int] | None]]:
    """Each file's verdict, whether it is new, and then the file's stamp from before it was read.

    Args:
        files: what was asked for.
        scanner: what judges them.
        finished: what is known of each already.
    """
    from facetell.report.journal import stamp_of

    stamps: deque[list[int] | None] = deque()

    def new() -> Iterator[str]:
        for file, verdict in zip(files, finished, strict=True):
            if verdict is None:
                stamps.append(stamp_of(file))  # before it is read
                yield file

    fresh = scanner.scan_many(new())
    for before in finished:
        if before is not None:
            yield before, False, None
        else:
            verdict = next(fresh)
            yield verdict, True, stamps.popleft()


def _report(verdicts: Sequence[Verdict], json: str | None, csv: str | None) -> None:
    """Write what was asked for; each format is made only if it was."""
    if json:
        from facetell.report import json as json_report

        write(json_report.dump(verdicts), json)
    if csv:
        from facetell.report import csv as csv_report

        write(csv_report.dump(verdicts), csv)


class _Markings:
    """The annotated copies of a call: one file, or a folder of them for several inputs.

    Args:
        target: the file or folder to write.
        several: it is a folder; it is made if it is missing.
        files: all inputs; none of them is written over.
        scanner: whose readers read the files again.

    Raises:
        UsageError: the file has the suffix of neither a video nor a picture that can be written.
        OutputError: the folder cannot be made, or nothing can be written to it.
    """

    def __init__(self, target: str, several: bool, files: Sequence[str], scanner: Scanner) -> None:
        from facetell.report.annotate import PICTURES, VIDEO

        self.failed = False
        self._scanner = scanner
        self._target = Path(target)
        self._several = several
        self._inputs = {os.path.realpath(file) for file in files}
        if not several and self._target.suffix.lower() not in (VIDEO, *PICTURES):
            raise UsageError(
                f"{target} is no name for an annotated video or picture.",
                f"Let it end in {' or '.join((VIDEO, *PICTURES))}.",
            )
        if several:
            try:
                self._target.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"The folder {target} cannot be made: {error.strerror}.", "Several videos need a folder."
                ) from error
            if not os.access(target, os.W_OK | os.X_OK):
                raise OutputError(f"Nothing can be written to the folder {target}.", "Choose another folder.")

    def add(self, verdict: Verdict, fresh: bool, journal: Journal | None) -> str | None:
        """Write the marked copy of one file, unless the journal says that it stands; if that fails, the reason.

        Raises:
            OutputError: the folder for them is gone, so that all others would fail likewise; or the journal's.
        """
        from facetell.report.annotate import annotate

        place = self._place(verdict) if self._several else self._target
        real = os.path.realpath(place)
        written = None if fresh or journal is None else journal.copy_of(verdict.path)
        if written == real and os.path.exists(real):
            return None
        if real in self._inputs:
            self.failed = True
            return f"{place} is not written over, for it is to be scanned itself. Give --annotate another folder."
        if not fresh:  # no journal keeps heat maps
            verdict = self._scanner.scan(verdict.path)
            if verdict.error is not None:
                self.failed = True
                return verdict.error.message
        try:
            annotate(verdict.path, verdict, place, self._scanner.readers)
        except FacetellError as error:
            self.failed = True
            if self._several and not os.access(self._target, os.W_OK | os.X_OK):
                advice = "Put it back and run the same again."
                raise OutputError(f"The folder {self._target} is gone, or closed.", advice) from error
            return str(error)
        if journal is not None:
            journal.add_copy(verdict.path, real)
        return None

    def _place(self, verdict: Verdict) -> Path:
        """Where in the folder a file's copy belongs: under a name that no other file's copy has, in any run."""
        suffix = ".png" if verdict.video and verdict.video.is_still else ".mp4"
        stem = Path(verdict.path).stem
        if len(os.fsencode(stem)) > _LONGEST:
            stem = os.fsencode(stem)[:_LONGEST].decode(errors="ignore")
        assert verdict.sha256 is not None  # it has no error
        return self._target / f"{stem}-{verdict.sha256[:8]}-marked{suffix}"
