import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.errors import UsageError
from facetell.video.plans import At, Clips, Every, Plan, Seconds, Times, Uniform, parse_plan

PLANS = ["uniform:20", "every:5", "at:150", "seconds:0.5", "clips:4x20@5", "times:0,0.0333,12.5"]


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_is_named_as_it_was_asked_for(text: str) -> None:
    assert str(parse_plan(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "uniform",
            "uniform:0",
            "uniform:-3",
            "uniform:2.5",
            "uniform:9999999999999",
            " uniform:20",
            "uniform:20\n",
        ),
        *("times:", "times:1,", "times:-1", "times:1e3", "times:nan"),
        *("every:0", "at:x", "seconds:0", "seconds:nan", "clips:20", "clips:0x20@5", "clips:Kx20@5", "clips:2x20"),
    ],
)
def test_anything_else_is_a_usage_error_that_names_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_plan(text)
    assert repr(text) in caught.value.message


def test_uniform_avoids_both_ends_and_takes_the_centres_of_equal_parts() -> None:
    assert Uniform(20).choose(np.arange(300.0)).tolist() == list(range(7, 300, 15))


def test_uniform_takes_all_frames_of_a_short_video_once() -> None:
    assert Uniform(20).choose(np.arange(7.0)).tolist() == list(range(7))


def test_seconds_follows_the_clock_and_not_the_frame_count() -> None:
    times = np.concatenate([np.arange(0, 1, 1 / 60), np.arange(1, 5, 1 / 5)])
    assert times[Seconds(1).choose(times)].tolist() == pytest.approx([0, 1, 2, 3, 4])


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_times_survive_being_written_down(ticks: list[int]) -> None:
    plan = Times(tuple(tick / 90_000 for tick in ticks))
    assert parse_plan(str(plan)) == plan


@pytest.mark.parametrize(("wanted", "chosen"), [(0.0, [0]), (0.4, [0]), (0.6, []), (99.0, [])])
def test_times_do_not_take_a_single_frame_for_any_other(wanted: float, chosen: list[int]) -> None:
    assert Times((wanted,)).choose(np.array([0.0])).tolist() == chosen


def test_clips_are_whole_runs_of_the_step_asked_for() -> None:
    runs = Clips(3, 4, 5).choose(np.arange(300.0)).reshape(3, 4)
    assert (np.diff(runs, axis=1) == 5).all()
    assert (np.diff(runs[:, 0]) == 100).all()
    assert runs[0].mean() == pytest.approx(50, abs=1)


def test_clips_of_a_short_video_are_fewer_not_overlapping() -> None:
    chosen = Clips(4, 20, 5).choose(np.arange(200.0))
    assert len(chosen) == 40
    assert (np.diff(chosen) > 0).all()


plans = st.one_of(
    st.builds(Uniform, st.integers(1, 500)),
    st.builds(Every, st.integers(1, 500)),
    st.builds(At, st.integers(0, 500)),
    st.builds(Seconds, st.floats(0.01, 1e6)),
    st.builds(Clips, st.integers(1, 50), st.integers(1, 50), st.integers(1, 50)),
)


@given(plans, st.lists(st.floats(0, 1e9), min_size=1, max_size=400))
def test_every_plan_chooses_frames_that_are_there_each_once_in_order(plan: Plan, times: list[float]) -> None:
    chosen = plan.choose(np.sort(np.array(times)))
    assert (np.diff(chosen) > 0).all()
    assert chosen.size == 0 or (chosen[0] >= 0 and chosen[-1] < len(times))
    if not isinstance(plan, At):
        assert chosen.size > 0
