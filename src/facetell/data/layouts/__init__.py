"""The layouts that data sets come in: one file each, each with one `LAYOUT`. A new layout is one new file here."""

from __future__ import annotations

import pkgutil
import tarfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from facetell.data.layouts.base import Layout, Listing, Options
from facetell.errors import FileMissingError, LayoutError, UsageError

__all__ = ["Layout", "Listing", "Options", "layouts", "read", "recognise"]


@cache
def layouts() -> dict[str, Layout]:
    """Name -> layout, of every file in this folder."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            layout: Layout = import_module(f"{__name__}.{module.name}").LAYOUT
            found[layout.name] = layout
    return found


def recognise(root: Path, options: Options) -> Layout:
    """The one layout that the folder, tar or table at `root`, which exists, is in; flat, if the options say its label.

    Raises:
        LayoutError: none fits, or more than one; the message names what was looked for or found.
        UsageError: a label for a file that is no tar.
    """
    if options.label is not None:
        if _is_no_tar(root):
            raise UsageError(f"--label is for folders and tars, and {root} is neither.", "A table says its own labels.")
        return layouts()["flat"]
    fitting = [layout for layout in layouts().values() if layout.recognises(root, options)]
    if not fitting:
        wanted = "; ".join(f"{layout.name}: {layout.looked_for}" for layout in layouts().values())
        raise LayoutError(f"{root} is in no known layout. Looked for: {wanted}.", "See docs/data.md.")
    if len(fitting) > 1:
        names = ", ".join(layout.name for layout in fitting)
        raise LayoutError(
            f"{root} is in more than one layout: {names}.", "Give one of their folders, or --layout NAME."
        )
    return fitting[0]


def _is_no_tar(root: Path) -> bool:
    """Whether this is a file that is clearly no tar; what is wrong with a broken or closed one, its reader says."""
    with suppress(OSError):
        return root.is_file() and root.suffix != ".tar" and not tarfile.is_tarfile(root)
    return False


def read(root: Path, options: Options | None = None, layout: str | None = None) -> Listing:
    """Everything that the data set at `root` lists.

    Args:
        root: a folder, a tar or a table.
        options: see `Options`.
        layout: the layout's name; recognised without it.

    Raises:
        UsageError: no layout of that name, or a label for a file that is no tar.
        FileMissingError: nothing there.
        DataError: as `recognise` and the layout itself.
    """
    options = options or Options()
    if layout is not None and layout not in layouts():
        raise UsageError(f"There is no layout {layout!r}.", f"Known: {', '.join(layouts())}.")
    if not root.exists():
        raise FileMissingError(f"There is nothing at {root}.", "Give a folder, a tar or a table.")
    chosen = recognise(root, options) if layout is None else layouts()[layout]
    nothing = LayoutError(f"{root} holds nothing of the layout {chosen.name}.", f"Looked for {chosen.looked_for}.")
    try:
        listing = chosen.read(root, options)
    except (NotADirectoryError, IsADirectoryError) as error:  # a layout of folders was asked for, of a file, or reverse
        raise nothing from error
    if not listing.items and not listing.missing:
        raise nothing
    return listing
