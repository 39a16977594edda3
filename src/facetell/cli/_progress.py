"""A progress bar for a scan: on standard error, only where a person sees it, gone when the work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath

from rich import progress
from rich.console import Console
from rich.markup import escape

from facetell.report.text import plain

NAME = 40  # characters of a file's name that are shown


class ScanProgress(progress.Progress):
    """Counts files, and knows how far the one at work has come.

    Args:
        files: how many there will be.
        quiet: show nothing.
    """

    def __init__(self, files: Sequence[str], quiet: bool) -> None:
        console = Console(stderr=True)
        super().__init__(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # verdicts belong on standard output, also while it is a pipe
            redirect_stderr=False,
            disable=quiet or not console.is_terminal,
        )
        self._task = self.add_task("scanning", total=len(files))
        self._done = 0

    def frame(self, path: str, share: float) -> None:
        """Called after each frame, with the share of the file at `path` that has been looked at."""
        self.update(self._task, completed=self._done + share, description=escape(plain(PurePath(path).name)[:NAME]))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A file is done: the bar makes room for what is printed about it."""
        self._done += 1
        self.update(self._task, completed=self._done)
        if self.disable:
            yield
            return
        self.stop()
        yield
        if not self.finished:
            self.start()
