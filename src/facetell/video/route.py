"""The way through a video to the wanted frames, chosen by what the table of its packets says that decoding costs."""

from __future__ import annotations

import numpy as np

from facetell.video import costs
from facetell.video.plans import nearest
from facetell.video.source import PacketTable

EXACT = 2.5  # seconds: decoding no more than this, a plan that allows it need not make do with keyframes
APART = 1 / 35  # seconds between the two of a pair, at least: faster video often shows each picture twice, encoded anew
MOST_APART = 8  # frames, whatever their times: the first of a pair waits in memory for the other


def choose(
    table: PacketTable,
    wanted: np.ndarray,
    slack: float,
    pixels: int,
    pairs: bool = False,
    part: range | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The frames to take, and the runs of packets to decode for them.

    Args:
        table: with timestamps that can be relied on.
        wanted: numbers of frames in order of presentation, ascending.
        slack: how many frames off a wanted one may lie.
        pixels: of a frame.
        pairs: whether the frame that each is compared with is needed too.
        part: the frames that may be taken instead; None: all.

    Returns:
        Numbers of frames like `wanted`; and (n, 2) places in the table, first and last, ascending.
    """
    decoding = costs.of_decoding(table.sizes, pixels)
    needed = to_decode(table, wanted)
    if slack and decoding[needed].sum() > EXACT:
        wanted = at_keyframes(table, wanted, slack, decoding, part)
        needed = to_decode(table, wanted)
    if pairs:
        needed = to_decode(table, with_partners(wanted, partners(table.times)))
    return wanted, joined(needed, decoding, costs.of_reading(table.sizes))


def partners(times: np.ndarray) -> np.ndarray:
    """The number of the frame that each is compared with: the next that lies `APART` or more later.

    Args:
        times: (n,) seconds of all frames, ascending.

    Returns:
        (n,) int, ascending; n and more where there is none.

    >>> partners(np.arange(4) / 30).tolist(), partners(np.arange(6) / 60).tolist()
    ([1, 2, 3, 4], [2, 3, 4, 5, 6, 6])
    """
    later = np.searchsorted(times, times + APART)
    numbers = np.arange(len(times))
    return np.clip(later, numbers + 1, numbers + MOST_APART)


def with_partners(wanted: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """These frames and the `partner` of each where there is one, ascending.

    >>> with_partners(np.array([0, 2, 3]), np.array([1, 2, 3, 4])).tolist()
    [0, 1, 2, 3]
    """
    both = np.union1d(wanted, partner[wanted])
    return both[both < len(partner)]


def to_decode(table: PacketTable, wanted: np.ndarray) -> np.ndarray:
    """(n,) bool: the packets that have to be decoded for these frames, each from the keyframe before it on."""
    keys = np.flatnonzero(table.is_key)
    keys = keys if len(keys) and keys[0] == 0 else np.concatenate([[0], keys])
    edges = np.zeros(len(table) + 1, dtype=np.int64)
    for place in table.order[wanted].tolist():
        group = int(np.searchsorted(keys, place, "right")) - 1
        if group and table.pts[place] < table.pts[keys[group]]:
            group -= 1  # shown before the keyframe: it may need the group before it
        edges[keys[group]] += 1
        edges[place + 1] -= 1
    return np.cumsum(edges[:-1]) > 0


def at_keyframes(
    table: PacketTable, wanted: np.ndarray, slack: float, decoding: np.ndarray, part: range | None = None
) -> np.ndarray:
    """The same frames; keyframes of `part` within `slack` frames of them instead where that costs less decoding.

    From each keyframe to the next, what has none so near is decoded as it is, and all before it comes for nothing; the
    rest is moved if the keyframes cost less than going on to its last frame.
    """
    keys = np.flatnonzero(table.is_key[table.order])
    offered = keys if part is None else keys[(keys >= part.start) & (keys < part.stop)]
    if not len(offered):
        return wanted
    spent = np.concatenate([[0.0], np.cumsum(decoding[table.order])])  # on all frames before each
    key = offered[nearest(offered, wanted)]
    movable = np.abs(key - wanted) <= slack
    taken = wanted.copy()
    groups = np.searchsorted(keys, wanted, "right")
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        fixed = inside[~movable[inside]]
        start = wanted[fixed[-1]] + 1 if len(fixed) else keys[max(group - 1, 0)]
        rest = inside[wanted[inside] >= start] if len(fixed) else inside
        if len(rest):
            others = np.unique(key[rest])
            instead = (spent[others + 1] - spent[others])[others >= start].sum()
            if instead < spent[wanted[rest[-1]] + 1] - spent[start]:
                taken[rest] = key[rest]
    return np.unique(taken)


def joined(needed: np.ndarray, decoding: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """The runs of needed packets, first and last; gaps that cost less to decode than to leave out are decoded."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], needed.astype(np.int8), [0]])))
    first, end = edges[::2], edges[1::2]
    decoded, read = (np.concatenate([[0.0], np.cumsum(cost)]) for cost in (decoding, reading))
    leap = costs.RESTART * np.median(decoding) + np.minimum(read[first[1:]] - read[end[:-1]], costs.SEEK)
    apart = decoded[first[1:]] - decoded[end[:-1]] > leap
    return np.stack([first[np.concatenate([[True], apart])], end[np.concatenate([apart, [True]])] - 1], axis=1)
