"""Scans hostile files, each as `facetell scan --annotate` would, and counts what became of them."""

from __future__ import annotations

import io
import os
import re
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from facetell.errors import FacetellError
from facetell.report import csv, html, json, terminal
from facetell.report.annotate import annotate
from facetell.scanning import Scanner
from facetell.types import Label, Verdict
from tests.hostile.generator import Case

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # what terminals may obey
LONG = 300  # frames: beyond this no marked copy is made
OPENING = re.compile(r"<(script>alert|img src=x)", re.IGNORECASE)


@dataclass
class Summary:
    """What became of the files, and the worst of each cost."""

    judged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  # the reading process broke down, and the file has a named error
    crashes: list[str] = field(default_factory=list)  # anything else than a verdict
    hangs: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)  # reports that pass on what steers a terminal or is HTML
    worst_s: tuple[float, str] = (0.0, "")
    worst_mb: tuple[float, str] = (0.0, "")

    @property
    def tried(self) -> int:
        return self.kinds.total()

    def __str__(self) -> str:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines = [
            f"tried {self.tried}: judged {self.judged.total()}, refused {self.refused.total()}",
            f"  judged:  {_listed(self.judged)}",
            f"  refused: {_listed(self.refused)}",
            f"  kinds:   {_listed(self.kinds)}",
            f"worst time {self.worst_s[0]:.2f} s ({self.worst_s[1]})",
            f"worst memory of a reading process {self.worst_mb[0]:.0f} MB ({self.worst_mb[1]}), "
            f"of this one, which also makes the files, {own:.0f} MB",
            f"crashes {len(self.crashes)}, hangs {len(self.hangs)}, unescaped {len(self.leaks)}, "
            f"reading processes that broke down {len(self.broken)}",
        ]
        return "\n".join(lines + [f"  {line!r}" for line in (*self.crashes, *self.hangs, *self.leaks, *self.broken)])


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def scan_all(cases: Iterable[Case], scanner: Scanner, folder: Path, most_s: float) -> Summary:
    """Scan each file and report on it in every form.

    Args:
        cases: the files.
        scanner: with the limits they are to be read under.
        folder: where each is written, and removed again.
        most_s: beyond this a scan counts as a hang.
    """
    summary = Summary()
    for case in cases:
        path = folder / case.name
        path.write_bytes(case.make())
        summary.kinds[case.kind.split(":")[0]] += 1
        title = f"{case.kind}, {case.name[:40]!r}"
        _reset_peaks(scanner)
        start = time.perf_counter()
        try:
            verdict = scanner.scan(path)
            _report(verdict, summary, title)
            _annotate(verdict, scanner, folder)
        except Exception:
            summary.crashes.append(f"{title}: {traceback.format_exc()}")
            continue
        finally:
            path.unlink()
        seconds = time.perf_counter() - start
        if seconds > most_s:
            summary.hangs.append(f"{title}: {seconds:.1f} s")
        summary.worst_s = max(summary.worst_s, (seconds, title))
        summary.worst_mb = max(summary.worst_mb, (_peak_mb(scanner), title))
        if verdict.label is not Label.ERROR:
            summary.judged[str(verdict.label)] += 1
        elif verdict.error is not None:
            summary.refused[verdict.error.type] += 1
            if verdict.error.type == "ReaderCrashError":
                summary.broken.append(f"{title}: {verdict.error.message}")
    return summary


def _report(verdict: Verdict, summary: Summary, title: str) -> None:
    words = io.StringIO()
    console = Console(file=words, width=100, color_system=None)
    console.print(terminal.block(verdict))
    console.print(terminal.line(verdict), markup=False)
    json.dump([verdict])
    page = html.page([verdict], None)
    if STEERING.search(words.getvalue()) or STEERING.search(csv.dump([verdict])):
        summary.leaks.append(f"{title}: terminal")
    if STEERING.search(page) or OPENING.search(page):
        summary.leaks.append(f"{title}: page")


def _annotate(verdict: Verdict, scanner: Scanner, folder: Path) -> None:
    """Mark a file that was judged and is not too long: its sound is read, too."""
    if verdict.video is None or (verdict.video.frame_count or 0) > LONG:
        return
    target = folder / ("marked.png" if verdict.video.is_still else "marked.mp4")
    with suppress(FacetellError):
        annotate(verdict.path, verdict, target, scanner.readers)
    target.unlink(missing_ok=True)


def _workers(scanner: Scanner) -> list[int]:
    return [worker.process.pid for worker in scanner.readers._idle]


def _reset_peaks(scanner: Scanner) -> None:
    """Let Linux forget how large the reading process has been."""
    if sys.platform == "linux" and os.geteuid() == 0:
        for pid in _workers(scanner):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mb(scanner: Scanner) -> float:
    """The peak of the reading process, MB; 0 where it cannot be known, or if the process has ended."""
    if sys.platform != "linux":
        return 0.0
    peaks = [Path(f"/proc/{pid}/status").read_text() for pid in _workers(scanner)]
    return max((int(found[1]) / 1024 for text in peaks if (found := re.search(r"VmHWM:\s+(\d+)", text))), default=0.0)
