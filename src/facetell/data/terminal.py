"""What `facetell data` prints: strangers' names in it are made harmless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from facetell.data.cache import FaceCache
from facetell.data.manifest import FAKE
from facetell.data.pairs import pair_problems
from facetell.report.text import count, plain

SHOWN = 10  # of a list of names


def summary_report(summary: dict[str, Any], root: Path) -> Group:
    """What `facetell.data.summary.summarise` found, for a terminal."""
    head = (
        f"{plain(str(root))}: layout {summary['layout']}, {count(summary['items'], 'item')} of "
        f"{count(summary['videos'], 'video')} in {count(summary['groups'], 'group')}, "
        f"{count(summary['paired'], 'fake')} with an original"
    )
    columns = ["dataset", "label", "method", "split", "compression", "items"]
    table = Table(*columns)
    for row in summary["counts"]:
        table.add_row(*(escape(plain(str(row[column]))) for column in columns))
    return Group(Text(head), table, *_list("missing", summary["missing"]), *_list("to note", summary["notes"]))


def cache_report(cache: FaceCache) -> Group:
    """What a cache holds, and what went wrong on the way, for a terminal."""
    labels = cache.manifest.label.iloc[cache.faces["item"]]
    head = (
        f"{plain(str(cache.folder))}: {count(len(cache), 'face')} ({(labels == FAKE).sum():,} FAKE) of "
        f"{count(len(cache.manifest), 'item')}"
    )
    gaps = [f"{row.path} {row.member}: {row.message}" for row in cache.gaps.itertuples()]
    problems = pair_problems(cache.faces)
    notes = [f"{problem}: {count(n, 'fake')}" for problem, n in problems[problems != ""].value_counts().items()]
    return Group(Text(head), *_list("without a face or unreadable", gaps), *_list("pairs", notes))


def _list(title: str, lines: list[str]) -> list[Text]:
    """The first lines under a title with their number; nothing for none."""
    if not lines:
        return []
    more = [Text(f"  … and {len(lines) - SHOWN} more")] if len(lines) > SHOWN else []
    return [Text(f"{title} ({len(lines)}):"), *(Text("  " + plain(line)) for line in lines[:SHOWN]), *more]
