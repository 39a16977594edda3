"""The layouts that data sets come in: one file each, each with one `LAYOUT`. A new layout is one new file here."""

from __future__ import annotations

import pkgutil
import tarfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from facetell.data.layouts.base import Layout, Listing, Options
from facetell.data.manifest import TEXT, Item
from facetell.errors import FileMissingError, LayoutError, UsageError
from facetell.report.text import count

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
    fitting = [layout for layout in layouts().values() if layout.recognises(root)]
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
        UsageError: no layout of that name, a label for a file that is no tar, an option that the layout does not use.
        FileMissingError: nothing there, or nothing that may be read.
        DataError: as `recognise` and the layout itself.
    """
    options = options or Options()
    if layout is not None and layout not in layouts():
        raise UsageError(f"There is no layout {layout!r}.", f"Known: {', '.join(layouts())}.")
    try:
        return _read(root, options, layout)
    except OSError as error:  # a folder or file that is closed, or a name that is too long
        raise FileMissingError(f"{error.filename or root} cannot be read: {error.strerror}.") from error


def _read(root: Path, options: Options, layout: str | None) -> Listing:
    if not root.exists():
        raise FileMissingError(f"There is nothing at {root}.", "Give a folder, a tar or a table.")
    if root.is_dir():
        next(root.iterdir(), None)  # or a closed folder would pass for an empty one
    chosen = recognise(root, options) if layout is None else layouts()[layout]
    _check_options(chosen, options)
    nothing = LayoutError(f"{root} holds nothing of the layout {chosen.name}.", f"Looked for {chosen.looked_for}.")
    try:
        listing = chosen.read(root, options)
    except (NotADirectoryError, IsADirectoryError) as error:  # a layout of folders was asked for, of a file, or reverse
        raise nothing from error
    if not listing.items and not listing.missing:
        raise nothing
    written = [item for item in listing.items if _can_be_written(item)]
    if left_out := len(listing.items) - len(written):
        files = count(left_out, "file")
        listing.notes.append(f"Left out, as their names are not in UTF-8 and no manifest can hold them: {files}.")
        listing.items = written
    return listing


def _check_options(layout: Layout, options: Options) -> None:
    """Nothing, if the layout uses what the options say.

    Raises:
        UsageError: naming the first that it does not use, and the layouts that do.
    """
    for name in ("label", "video_regex", "group_regex"):
        if getattr(options, name) is not None and name not in layout.uses:
            users = ", ".join(other.name for other in layouts().values() if name in other.uses)
            raise UsageError(
                f"--{name.replace('_', '-')} means nothing to the layout {layout.name}.",
                f"Leave it out; it is for: {users}.",
            )


def _can_be_written(item: Item) -> bool:
    """Whether it is text: file names may be any bytes, and JSON may hold half a character."""
    try:
        "".join(getattr(item, column) for column in TEXT).encode()
    except UnicodeEncodeError:
        return False
    return True
