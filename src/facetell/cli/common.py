"""What the verbs share: errors in one line, results written to a file or to standard output."""

from __future__ import annotations

import codecs
import io
import logging
import os
import signal
import stat
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from facetell.errors import FacetellError, MissingExtraError, OutputError, UsageError
from facetell.video.file import files_in, passed_over

if TYPE_CHECKING:
    from rich.table import Table

STDOUT = "-"
_READER_GONE = 141  # as of a program that SIGPIPE ends

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, and show where in the code an error arose.")]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - is standard output.")
]

ScoresOption = Annotated[
    Path | None,
    typer.Option(
        "--scores", metavar="DIR", help="Keep raw scores and damaged copies here; run again, only look at what is new."
    ),
]


class Verbs(typer.core.TyperGroup):
    """The root command: a named error ends in one line on standard error and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FacetellError as error:
            if ctx.meta.get("verbose"):
                traceback.print_exc()
            complain(error)
            raise typer.Exit(2) from error
        except (BrokenPipeError, EOFError) as error:  # Typer would end in 1, which means FAKE
            traceback.print_exc()
            raise typer.Exit(2) from error


def fill_closed_streams() -> None:
    """Let the null device take the place of a standard stream that is closed, or the next file opened would take it.

    A document for standard output stays refused; complaints are lost, where `print` would have them there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  it stays open


def name_output_errors() -> None:
    """Let standard output raise named errors, and standard error none: there is nowhere left to say them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # None if it is closed
            output = io.BufferedWriter(_Output(stream.buffer, heard=name == "stdout"))
            wrapped = io.TextIOWrapper(output, stream.encoding, stream.errors, line_buffering=True)
            setattr(sys, name, wrapped)


def end_on_signals() -> None:
    """Let TERM and HUP end the program as Ctrl-C does, by an exception, so that nothing unfinished stays behind."""
    own = os.getpid()
    heeded = [
        number
        for number in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))  # Windows has no HUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL  # nohup has it ignored
    ]

    def end(number: int, _: object) -> None:
        if os.getpid() != own:  # a forked worker has nothing to clear away
            os._exit(128 + number)
        for again in heeded:  # a closed terminal sends HUP twice; Ctrl-C still cuts the clearing away short
            signal.signal(again, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in heeded:
        signal.signal(number, end)


class _Output(io.RawIOBase):
    """Standard output or error; after an error it swallows everything, or the interpreter would fail anew at its end.

    Args:
        stream: what is written to, behind its buffer.
        heard: whether an error is raised: an OutputError, or an exit with a code of its own if the reader has gone.
    """

    def __init__(self, stream: Any, heard: bool) -> None:
        self._raw: io.RawIOBase = getattr(stream, "raw", stream)  # `python -u` has no buffer
        self._heard, self._failed = heard, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any) -> int | None:
        if not self._failed:
            try:
                return self._raw.write(data)
            except OSError as error:
                self._failed = True
                if self._heard and isinstance(error, BrokenPipeError):
                    raise typer.Exit(_READER_GONE) from error
                if self._heard:
                    raise OutputError(f"Standard output cannot be written: {error.strerror}.") from error
        return len(data)


def print_what_fits() -> None:
    """Let standard output and error replace what their encoding lacks, as a Windows pipe's does, instead of failing.

    The bars of a curve become digits, other signs their plain relatives or "?".
    """
    codecs.register_error("facetell", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="facetell")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAINER.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


_PLAINER = {**dict(zip("▁▂▃▄▅▆▇█–−•×·“”", '12345678--*x-""', strict=True)), "…": "..."}


@contextmanager
def training_stack() -> Iterator[None]:
    """For imports that need the extra [train]: a missing package ends in an error that says what to install."""
    advice = 'Install it: pip install ".[train]".'
    try:
        yield
    except MissingExtraError as error:  # of a room that needs [eval] alone, which [train] holds
        raise MissingExtraError(error.message, advice) from error
    except ModuleNotFoundError as error:
        if error.name in sys.stdlib_module_names:  # as Windows lacks some
            raise
        raise MissingExtraError(f"This needs {error.name}.", advice) from error


def talk(context: typer.Context) -> None:
    """For `--verbose`: tracebacks of errors, and the library's log on standard error while the command lasts."""
    context.meta["verbose"] = True
    log, handler = logging.getLogger("facetell"), logging.StreamHandler()
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    context.call_on_close(lambda: log.removeHandler(handler))


def complain(error: FacetellError | str) -> None:
    """One line on standard error, harmless whatever names it holds."""
    from facetell.report.text import plain

    print(f"facetell: {plain(str(error))}", file=sys.stderr)


def complain_of_missing(protections: Sequence[str]) -> None:
    """One line on what the reading process could not give up on this system, if there is anything."""
    from facetell.report.text import unprotected

    if said := unprotected(protections):
        complain(f"Files are {said}.")


def complain_of_gaps(missing: Sequence[str], notes: Sequence[str] = ()) -> None:
    """One line on what data sets list and the disk lacks, if there is anything, and one on whatever else looks odd."""
    from facetell.report.text import count

    for note in notes:
        complain(note)
    if missing:
        complain(f"{count(len(missing), 'listed item')} missing, {missing[0]} first.")


def facts_table(title: str, facts: Iterable[tuple[str, str]]) -> Table:
    """Facts (name, value) under a title, as a table of two columns; one named "odd" stands out."""
    from rich.table import Table
    from rich.text import Text

    from facetell.report.text import plain

    table = Table(box=None, pad_edge=False, title_justify="left", show_header=False)
    table.title = Text(plain(title), style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(plain(value), style="yellow" if name == "odd" else ""))
    return table


def in_numbers(metrics: Mapping[str, float]) -> str:
    """What a training measured, in one line.

    >>> in_numbers({"auc": 0.91, "eer": 0.1})
    'auc 0.910, eer 0.100'
    """
    return ", ".join(f"{key} {value:.3f}" for key, value in metrics.items())


def inputs_of(paths: Sequence[str], but: str | None = None) -> list[str]:
    """The files that are meant by these files and folders, as `files_in` has them; one line on each folder's others."""
    files: list[str] = []
    for path in paths:
        found, left_out = files_in(path, but)
        if left_out and found != [path]:  # else the error on the folder says it
            complain(passed_over(path, left_out))
        files += found
    return files


def check_outputs(outputs: list[str | None], inputs: list[str], journal: str | None = None) -> None:
    """Before long work: that each output can be written, that no two are one, and that none is an input.

    Args:
        outputs: as given; None stands for none.
        inputs: what is read.
        journal: a file of ours beside an output, which must be neither of these.

    Raises:
        OutputError: a folder that is missing or closed, a name that no file can have, or standard output is closed.
        UsageError: one place for two things.
    """
    taken: set[str] = {os.path.realpath(path) for path in inputs}
    for output in filter(None, outputs):
        place = STDOUT if output == STDOUT else os.path.realpath(output)
        if place in taken:
            raise UsageError(f"{output} cannot be written: it is given twice, or is itself to be read.")
        taken.add(place)
        if output == STDOUT and sys.stdout is None:
            raise OutputError("Standard output is closed.", "Give the path of a file to write.")
        if output == STDOUT or is_device(output):
            continue
        folder = Path(place).parent  # a link is written through
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise OutputError(f"{output} cannot be written.", f"There must be a folder {folder} that you may write to.")
    if journal is not None and os.path.realpath(journal) in taken:
        raise UsageError(
            f"{journal} is given, but what is finished is to be kept there until the report is written.",
            "Give another output file.",
        )


def is_device(output: str) -> bool:
    """Whether this is a device such as /dev/null; else it is a regular file, or may become one.

    Raises:
        OutputError: it is something else, or its name is too long.
    """
    try:
        mode = os.stat(output).st_mode
    except (FileNotFoundError, NotADirectoryError):  # the folder is looked at next
        return False
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}.", "Choose another name.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise OutputError(f"{output} is {kind}.", "Give the path of a file to write.")
    return stat.S_ISCHR(mode)


def write(text: str, target: str) -> None:
    """Text to a file, whole or not at all, or to standard output.

    Raises:
        OutputError: the file cannot be written.
    """
    from facetell.files import replacing

    data = text.encode("utf-8")  # whatever encoding the terminal has, and whatever line ends the system
    if target == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    if Path(target).is_char_device():  # such as /dev/null
        try:
            Path(target).write_bytes(data)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror}.") from error
        return
    with replacing(target) as part:
        part.write_bytes(data)
