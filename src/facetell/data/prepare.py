"""Makes a face cache from a manifest: on all cores, resumable, with memory that does not grow with the list.

The rows of one original and its fakes are worked on together, so that a fake's faces are cut where its original's are;
of stills those of one moment.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facetell.data.cache import Batch, CacheWriter
from facetell.data.cut import Cutter, Settings
from facetell.data.manifest import Item, items_of, origin
from facetell.errors import CacheError
from facetell.video import Limits
from facetell.video.limits import DEFAULT_LIMITS

ROWS_PER_BATCH = 64  # pictures that travel to a worker together; a video travels with its family alone
AHEAD = 3  # batches per worker that may be under way


def prepare(
    manifest: pd.DataFrame,
    folder: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Make the cache `folder` from the manifest, or go on with it where it was stopped.

    Args:
        manifest: as `facetell.data.manifest.manifest_of` gives it.
        folder: see `facetell.data.cache`.
        settings: see `Settings`.
        workers: processes; by default one per core. 1 works in this process. They import the program that calls this:
            a script must do so under `if __name__ == "__main__":`.
        progress: called with rows done and rows in all.
        limits: on reading one file.

    Raises:
        CacheError, LeakError, ManifestError, OutputError: as `CacheWriter`.
    """
    settings = settings or Settings()
    workers = workers or os.cpu_count() or 1
    with CacheWriter(folder, asdict(settings), manifest) as writer:
        batches = (batch for batch in _batches(writer.manifest) if not writer.done.issuperset(row for row, _ in batch))
        for batch in _work(batches, settings, limits, workers):
            writer.add(batch)
            if progress is not None:
                progress(len(writer.done), len(manifest))
        if not writer.complete:
            writer.finish()


Rows = list[tuple[int, Item]]


def _batches(manifest: pd.DataFrame) -> Iterator[Rows]:
    """Whole families, real rows first, several small ones together."""
    family = pd.factorize(manifest.dataset + "\0" + origin(manifest) + "\0" + manifest.frame.astype(str))[0]
    order = np.lexsort((manifest.label.to_numpy(), family))
    weights = np.where(manifest.crop, 1, ROWS_PER_BATCH)
    batch: list[int] = []
    weight = 0
    for rows in np.split(order, np.flatnonzero(np.diff(family[order])) + 1):
        size = int(weights[rows].sum())
        if batch and weight + size > ROWS_PER_BATCH:
            yield _numbered(manifest, batch)
            batch, weight = [], 0
        batch += rows.tolist()
        weight += size
    if batch:
        yield _numbered(manifest, batch)


def _numbered(manifest: pd.DataFrame, rows: list[int]) -> Rows:
    return list(zip(rows, items_of(manifest.iloc[rows]), strict=True))


def _work(batches: Iterator[Rows], settings: Settings, limits: Limits, workers: int) -> Iterator[Batch]:
    """The batches' results in the batches' order, so that a cache does not depend on who was faster."""
    if workers == 1:
        for batch in batches:
            yield _cut(batch, settings, limits)
        return
    waiting: deque[Future[Batch]] = deque()
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as notes,
        ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool,
    ):
        try:
            for batch in batches:
                waiting.append(pool.submit(_cut, batch, settings, limits, notes))
                if len(waiting) >= AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            at = " or ".join(sorted(filter(None, (note.read_text("utf-8") for note in Path(notes).iterdir()))))
            if not at:
                raise CacheError(
                    "A worker process died before its first file.",
                    'Out of memory? Run it again with --workers 1; a script needs `if __name__ == "__main__":`.',
                ) from error
            raise CacheError(
                f"A worker process died, at {at}.",
                "Out of memory? Run it again with --workers 1; leave the file out if it ends that one, too.",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends workers at once; what they were at is done again
    cv2.setNumThreads(1)


@cache
def _cutter(settings: Settings, limits: Limits) -> Cutter:
    return Cutter(settings, limits)


def _cut(rows: Rows, settings: Settings, limits: Limits, notes: str = "") -> Batch:
    """One batch; in the folder `notes`, a file of this process says what it is at, for the case that it dies."""
    if not notes:
        return _cutter(settings, limits).cut(rows)
    note = Path(notes, str(os.getpid()))
    batch = _cutter(settings, limits).cut(rows, lambda item: note.write_text(item.member or item.path, "utf-8"))
    note.write_text("")
    return batch
