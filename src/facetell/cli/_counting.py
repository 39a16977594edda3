"""A progress bar for work that is counted: on standard error, only where a person sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn


@contextmanager
def counting(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of items that were done since the last call."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("scoring", total=total)
        yield lambda done: bar.advance(task, done)
