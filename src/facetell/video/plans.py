"""Sampling plans: which frames of a video are looked at."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from facetell.errors import UsageError

DEFAULT_PLAN = "uniform:20"
_ROUNDING = 1e-6  # seconds, by which a timestamp may fall short of a full second
_ALONE = 1.0  # seconds a frame lasts that has no other beside it
_MOST = 100_000  # no plan may ask for more than this of anything


class Plan(ABC):
    """Chooses frames by their timestamps; `str(plan)` is its name on the command line."""

    @abstractmethod
    def choose(self, times: np.ndarray) -> np.ndarray:
        """The frames to look at.

        Args:
            times: (n,) float seconds of all frames, ascending, n ≥ 1.

        Returns:
            Their indices: int, ascending, without repetition; empty if the plan asks for a frame that is not there.
        """

    def slack(self, count: int) -> float:
        """How many frames off a chosen one may lie, of a video of `count`, if that is cheaper to decode."""
        return 0.0


@dataclass(frozen=True)
class Uniform(Plan):
    """`uniform:N`: the centres of N equal parts of the video; all frames if there are fewer.

    >>> Uniform(3).choose(np.arange(30.0)).tolist()
    [5, 15, 25]
    """

    count: int

    def choose(self, times: np.ndarray) -> np.ndarray:
        if len(times) <= self.count:
            return np.arange(len(times))
        return (2 * np.arange(self.count) + 1) * len(times) // (2 * self.count)

    def slack(self, count: int) -> float:
        return count / (2 * self.count)

    def __str__(self) -> str:
        return f"uniform:{self.count}"


@dataclass(frozen=True)
class Every(Plan):
    """`every:N`: every Nth frame, from the first.

    >>> Every(5).choose(np.arange(12.0)).tolist()
    [0, 5, 10]
    """

    step: int

    def choose(self, times: np.ndarray) -> np.ndarray:
        return np.arange(0, len(times), self.step)

    def __str__(self) -> str:
        return f"every:{self.step}"


@dataclass(frozen=True)
class At(Plan):
    """`at:N`: frame number N alone, counted from 0.

    >>> At(150).choose(np.arange(300.0)).tolist()
    [150]
    """

    number: int

    def choose(self, times: np.ndarray) -> np.ndarray:
        return np.arange(len(times))[self.number : self.number + 1]

    def __str__(self) -> str:
        return f"at:{self.number}"


@dataclass(frozen=True)
class Seconds(Plan):
    """`seconds:S`: the first frame of every S seconds.

    >>> Seconds(2).choose(np.array([0.0, 0.5, 1.5, 2.5, 3.0, 9.0])).tolist()
    [0, 3, 5]
    """

    step: float

    def choose(self, times: np.ndarray) -> np.ndarray:
        return np.unique((times - times[0] + _ROUNDING) // self.step, return_index=True)[1]

    def __str__(self) -> str:
        return f"seconds:{np.format_float_positional(self.step, trim='-')}"


@dataclass(frozen=True)
class Times(Plan):
    """`times:S,S,…`: the frames nearest to these seconds, where the video has one within half a frame of them.

    A video of one frame has it within half a second.

    >>> Times((0.1, 0.5, 7.0)).choose(np.array([0.0, 0.11, 0.2, 0.3, 0.4, 0.52])).tolist()
    [1, 5]
    """

    wanted: tuple[float, ...]

    def choose(self, times: np.ndarray) -> np.ndarray:
        apart = np.median(np.diff(times)) if len(times) > 1 else _ALONE
        found = nearest(times, np.asarray(self.wanted))
        return np.unique(found[np.abs(times[found] - self.wanted) <= 0.51 * apart])

    def __str__(self) -> str:
        return "times:" + ",".join(np.format_float_positional(time, trim="-") for time in self.wanted)


@dataclass(frozen=True)
class Clips(Plan):
    """`clips:KxL@S`: K runs of L frames, every Sth frame, each in the middle of one of K equal parts of the video.

    Runs never overlap, so that frame number `i` of the sample belongs to run `i // L`: a video too short for K runs
    gives fewer, and one too short for a single run gives a shorter one.

    >>> Clips(2, 3, 5).choose(np.arange(60.0)).tolist()
    [9, 14, 19, 39, 44, 49]
    >>> Clips(2, 3, 5).choose(np.arange(8.0)).tolist()
    [0, 5]
    """

    runs: int
    length: int
    step: int

    def choose(self, times: np.ndarray) -> np.ndarray:
        span = (self.length - 1) * self.step + 1
        if len(times) < span:
            return np.arange(0, len(times), self.step)
        runs = min(self.runs, len(times) // span)
        starts = ((2 * np.arange(runs) + 1) * len(times) // runs - span) // 2
        return (starts[:, None] + np.arange(self.length) * self.step).ravel()

    def __str__(self) -> str:
        return f"clips:{self.runs}x{self.length}@{self.step}"


def nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of the value nearest to each wanted one, in ascending `values` (n,), n ≥ 1; of two, the lower one's.

    >>> nearest(np.array([0, 10, 20]), np.array([-3, 4, 5, 6, 99])).tolist()
    [0, 0, 0, 1, 2]
    """
    after = np.searchsorted(values, wanted)
    low, high = np.stack([after - 1, after]).clip(0, len(values) - 1)
    return np.where(np.abs(values[low] - wanted) <= np.abs(values[high] - wanted), low, high)


def parse_plan(text: str) -> Plan:
    """The plan of this name.

    >>> parse_plan("clips:4x20@5")
    Clips(runs=4, length=20, step=5)

    Raises:
        UsageError: no such plan, or a number out of range.
    """
    if match := re.fullmatch(r"(uniform|every|at):(\d{1,9})", text):
        number = int(match[2])
        if match[1] == "at":
            return At(number)
        if 1 <= number <= _MOST:
            return Uniform(number) if match[1] == "uniform" else Every(number)
    if match := re.fullmatch(r"seconds:(\d{1,9}(?:\.\d{1,9})?)", text):
        step = float(match[1])
        if step > 0:
            return Seconds(step)
    if match := re.fullmatch(r"times:(\d{1,9}(?:\.\d{1,40})?(?:,\d{1,9}(?:\.\d{1,40})?)*)", text):
        wanted = tuple(float(part) for part in match[1].split(","))
        if len(wanted) <= _MOST:
            return Times(wanted)
    if match := re.fullmatch(r"clips:(\d{1,9})x(\d{1,9})@(\d{1,9})", text):
        runs, length, step = (int(group) for group in match.groups())
        if all(1 <= number <= _MOST for number in (runs, length, step)):
            return Clips(runs, length, step)
    raise UsageError(
        f"{text!r} is not a sampling plan.",
        "Give one of uniform:20, every:5, at:150, seconds:30, times:1.5,2 or clips:4x20@5, "
        f"with numbers from 1 to {_MOST:,}.",
    )
