"""The way to the wanted frames: never without what they need, and never dearer than the plain one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.video import costs, route
from facetell.video.source import PacketTable

HD = 1920 * 1080


def table(count: int, gop: int, size: int = 10_000, key_size: int = 60_000) -> PacketTable:
    """A video of `count` frames without reordering, with a keyframe every `gop`."""
    is_key = np.arange(count) % gop == 0
    return PacketTable(
        time_base=Fraction(1, 30),
        pts=np.arange(count),
        sizes=np.where(is_key, key_size, size),
        is_key=is_key,
        is_shown=np.ones(count, bool),
        exact=True,
    )


def seconds(video: PacketTable, runs: np.ndarray, pixels: int = HD) -> float:
    decoding = costs.of_decoding(video.sizes, pixels)
    return float(sum(decoding[first : last + 1].sum() for first, last in runs.tolist()))


def test_what_is_cheap_enough_stays_exact() -> None:
    video, wanted = table(300, 30), np.arange(7, 300, 15)
    taken, runs = route.choose(video, wanted, 7.5, HD)
    assert taken.tolist() == wanted.tolist()
    assert seconds(video, runs) <= route.EXACT


def test_the_same_frames_in_a_larger_picture_are_moved_to_keyframes() -> None:
    small, video, wanted = table(6000, 250, 100, 600), table(6000, 250), np.arange(150, 6000, 300)
    assert route.choose(small, wanted, 150, HD // 50)[0].tolist() == wanted.tolist()
    taken, runs = route.choose(video, wanted, 150, HD)
    assert video.is_key[taken].all()
    assert np.abs(taken - wanted).max() <= 125
    assert runs.tolist() == [[frame, frame] for frame in taken]


def test_without_slack_nothing_is_moved() -> None:
    video, wanted = table(3000, 30), np.arange(75, 3000, 150)
    taken, runs = route.choose(video, wanted, 0, HD)
    assert taken.tolist() == wanted.tolist()
    assert runs.tolist() == [[frame // 30 * 30, frame] for frame in wanted.tolist()]


def test_a_frame_on_the_way_to_another_costs_nothing_and_stays() -> None:
    """Frame 990 has no keyframe within 20 frames; 975 has to be decoded for it, and 5 too."""
    video = table(2000, 1000)
    decoding = costs.of_decoding(video.sizes, HD)
    assert route.at_keyframes(video, np.array([5, 975, 990]), 8, decoding).tolist() == [5, 975, 990]
    assert route.at_keyframes(video, np.array([5, 500, 990]), 20, decoding).tolist() == [5, 500, 1000]
    assert route.at_keyframes(video, np.array([5, 1500]), 20, decoding).tolist() == [0, 1500]


def test_frames_of_a_part_are_moved_to_keyframes_of_that_part_alone() -> None:
    wanted = np.array([1990, 2500, 3020])
    video = table(6000, 1000)
    decoding = costs.of_decoding(video.sizes, HD)
    assert route.at_keyframes(video, wanted, 20, decoding).tolist() == [2000, 2500, 3000]
    assert route.at_keyframes(video, wanted, 20, decoding, range(1990, 3021)).tolist() == [2000, 2500, 3000]
    assert route.at_keyframes(video, np.array([1985, 2990]), 20, decoding, range(1980, 3000)).tolist() == [2000, 2990]
    assert route.at_keyframes(video, np.array([2980, 2990]), 20, decoding, range(2980, 3000)).tolist() == [2980, 2990]


def test_a_keyframe_that_costs_more_than_the_frames_before_it_is_left_alone() -> None:
    wanted = np.array([500, 990])
    for key_size, taken in ((60_000, [500, 1000]), (60_000_000, [500, 990])):
        video = table(2000, 1000, key_size=key_size)
        decoding = costs.of_decoding(video.sizes, HD)
        assert route.at_keyframes(video, wanted, 20, decoding).tolist() == taken


@pytest.mark.parametrize(("gop", "runs"), [(4, [[0, 16]]), (100, [[0, 50], [100, 101], [500, 540]])])
def test_short_gaps_are_decoded_and_long_ones_left_out(gop: int, runs: list[list[int]]) -> None:
    wanted = np.array([2, 6, 10, 14, 16] if gop == 4 else [50, 101, 540])
    assert route.choose(table(600, gop, key_size=10_000), wanted, 0, HD)[1].tolist() == runs


def test_a_gap_is_worth_decoding_or_not_by_the_size_of_its_packets() -> None:
    needed = np.array([True, False, True])
    reading = costs.of_reading(np.array([1, 1, 1]))
    for middle, runs in ((0.5, [[0, 2]]), (2.0, [[0, 0], [2, 2]])):
        assert route.joined(needed, np.array([1.0, middle, 1.0]), reading).tolist() == runs


@given(
    count=st.integers(1, 400),
    keys=st.sets(st.integers(0, 399), max_size=20),
    picks=st.sets(st.integers(0, 399), min_size=1, max_size=20),
    slack=st.sampled_from([0.0, 3.0, 40.0]),
    seed=st.integers(0, 99),
)
def test_any_video(count: int, keys: set[int], picks: set[int], slack: float, seed: int) -> None:
    """All that is needed is decoded; nothing moves farther than allowed; moving never costs more decoding."""
    rng = np.random.default_rng(seed)
    order = np.argsort(np.arange(count) + rng.integers(0, 3, count), kind="stable")  # a little reordering
    video = PacketTable(
        time_base=Fraction(1, 30),
        pts=np.argsort(order),
        sizes=rng.integers(0, 100_000, count),
        is_key=np.isin(np.arange(count), list(keys)),
        is_shown=rng.random(count) < 0.95,
        exact=True,
    )
    shown = len(video.order)
    wanted = np.unique([pick * shown // 400 for pick in picks])
    if not shown:
        return
    decoding = costs.of_decoding(video.sizes, HD)
    moved = route.at_keyframes(video, wanted, slack, decoding)
    assert 0 < len(moved) <= len(wanted)
    assert max(np.abs(moved - frame).min() for frame in wanted) <= slack
    for frames in (wanted, moved):
        needed = route.to_decode(video, frames)
        assert needed[video.order[frames]].all()
        runs = route.joined(needed, decoding, costs.of_reading(video.sizes))
        decoded = np.zeros(count, bool)
        for first, last in runs.tolist():
            decoded[first : last + 1] = True
        assert (decoded | ~needed).all()
        assert (runs[:, 0] <= runs[:, 1]).all()
        assert (runs[1:, 0] > runs[:-1, 1] + 1).all()
