import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.detectors import Calibration, Scope, Threshold
from facetell.errors import UsageError
from facetell.scanning.verdict import Person, Rule, counts, judge, sigmoid, track_logit
from facetell.types import FaceScore, Label
from tests.detectors.networks import card

FIVE = Threshold(0.05, 1.0, 300, "dev", real_below=0.0)
ONE = Threshold(0.01, 3.0, 300, "dev", real_below=0.0)


def rule(*thresholds: Threshold, fpr: float = 0.01, prior: float = 0.5, **changes: Any) -> Rule:
    return Rule.of(card(thresholds=thresholds or (FIVE, ONE), **changes), fpr, prior)


def faces(*logits: float, usable: bool = True, quality: float = 1.0, problems: tuple[str, ...] = ()) -> list[FaceScore]:
    return [
        FaceScore(float(i), (0.0, 0.0, 50.0, 50.0), math.nan, logit, quality, usable, problems)
        for i, logit in enumerate(logits)
    ]


def person(number: int, *logits: float, **options: Any) -> Person:
    return Person(number, faces(*logits, **options))


class TestTracks:
    def test_by_confidence_a_sure_face_outweighs_unsure_ones(self) -> None:
        assert track_logit(faces(40.0, 0.0, 0.0, quality=0.1), "confidence") == 40.0
        assert track_logit(faces(0.0, 0.0), "confidence") == 0.0

    def test_the_card_says_which_mean_its_thresholds_hold_for(self) -> None:
        seen = person(1, 6.0, *[0.0] * 4)
        assert judge([seen], 20, rule()).label is Label.INCONCLUSIVE
        assert judge([seen], 20, rule(aggregation="confidence")).label is Label.FAKE

    def test_the_mean_is_weighted_by_quality(self) -> None:
        assert track_logit([*faces(4.0, quality=0.75), *faces(0.0, quality=0.25)], "quality") == 3.0

    def test_unusable_faces_do_not_enter(self) -> None:
        assert track_logit([*faces(1.0), *faces(9.0, usable=False)], "quality") == 1.0

    def test_without_usable_faces_the_poor_ones_are_scored(self) -> None:
        assert track_logit(faces(1.0, 3.0, usable=False), "quality") == 2.0

    def test_without_any_weight_all_count_alike(self) -> None:
        assert track_logit(faces(1.0, 3.0, quality=0.0), "quality") == 2.0

    @pytest.mark.parametrize(
        ("usable", "sampled", "expected"),
        [
            (0, 1, False),
            (1, 1, True),  # a still
            (1, 6, True),
            (1, 7, False),
            (2, 12, True),
            (2, 13, False),
            (2, 20, False),
            (3, 20, True),
            (3, 100_000, True),
        ],
    )
    def test_what_is_long_enough_to_count(self, usable: int, sampled: int, expected: bool) -> None:
        assert counts(usable, sampled) is expected


VIEWS = {"blend": Calibration(), "texture": Calibration("temperature", temperature=2.0)}


class TestScope:
    """Faces are 50 pixels high; without a scope, a logit of 9 is FAKE and one of -9 REAL."""

    @pytest.mark.parametrize("logit", [-9.0, 9.0])
    @pytest.mark.parametrize(
        ("scope", "bits_per_pixel", "complaint"),
        [
            (Scope(60.0), None, "50 pixels high; the detector was calibrated on faces from 60 up"),
            (Scope(10.0, 0.01), 0.004, "0.004 bits on a pixel; the detector was calibrated on videos from 0.01 up"),
            (Scope(10.0, None, VIEWS, 1.5), None, "views of the face disagree strongly (blend and texture)"),
        ],
    )
    def test_beyond_it_nothing_is_decided(
        self, logit: float, scope: Scope, bits_per_pixel: float | None, complaint: str
    ) -> None:
        judgement = judge([self.person(logit)], 20, self.rule(scope), bits_per_pixel)
        assert judgement.label is judgement.tracks[0].label is Label.INCONCLUSIVE
        assert judgement.p_fake == sigmoid(logit)
        assert complaint in judgement.reasons[0]
        assert judgement.doubt is not None
        assert judgement.doubt == judgement.tracks[0].doubt
        assert complaint in judgement.doubt

    @pytest.mark.parametrize(
        ("scope", "bits_per_pixel"),
        [
            (None, 0.001),
            (Scope(50.0), 0.001),
            (Scope(10.0, 0.01), 0.01),
            (Scope(10.0, 0.01), None),  # a still, or a file that does not say
            (Scope(10.0, None, VIEWS, 2.0), None),
        ],
    )
    def test_within_it_nothing_changes(self, scope: Scope | None, bits_per_pixel: float | None) -> None:
        assert judge([self.person(9.0)], 20, self.rule(scope), bits_per_pixel).label is Label.FAKE
        assert judge([self.person(-9.0)], 20, self.rule(scope), bits_per_pixel).label is Label.REAL
        assert judge([self.person(9.0)], 20, self.rule(scope), bits_per_pixel).doubt is None

    def test_one_view_alone_has_to_be_surer(self) -> None:
        margin = self.rule(Scope(10.0, None, VIEWS, 1.5, views_margin=2.0))  # without it, FAKE begins at 3
        assert judge([self.person(-9.0)], 20, margin).label is Label.INCONCLUSIVE
        unsure = judge([self.person(4.9)], 20, margin)
        assert unsure.label is unsure.tracks[0].label is Label.INCONCLUSIVE
        assert unsure.threshold == sigmoid(5.0)
        assert "disagree strongly (blend and texture): REAL is out, and FAKE begins at 0.99" in unsure.reasons[0]
        sure = judge([self.person(5.0)], 20, margin)
        assert sure.label is Label.FAKE
        assert "from 0.99 up" in sure.reasons[0]
        agreed = judge([person(1, *[4.9] * 5)], 20, rule(scope=Scope(10.0)))
        assert agreed.label is Label.FAKE

    def test_a_fake_person_is_found_beside_one_who_cannot_be_judged(self) -> None:
        small = Person(1, [FaceScore(float(i), (0.0, 0.0, 9.0, 9.0), math.nan, 12.0, 1.0) for i in range(5)])
        assert judge([small, person(2, *[9.0] * 5)], 20, self.rule(Scope(40.0))).label is Label.FAKE
        fake = judge([small, person(2, *[9.0] * 5)], 20, self.rule(Scope(40.0)))
        assert fake.reasons[0].startswith("Person 2, the most suspicious of those who can be judged, scores 0.9999;")
        assert [track.doubt is None for track in fake.tracks] == [False, True]
        assert fake.doubt is None, "the verdict rests on person 2"
        assert any("accounts for 2 people" in reason for reason in fake.reasons)
        judgement = judge([small, person(2, *[-9.0] * 5)], 20, self.rule(Scope(40.0)))
        assert judgement.label is Label.INCONCLUSIVE
        assert not any("accounts for" in reason for reason in judgement.reasons), "no threshold is held against it"
        assert judgement.reasons[0].startswith("Person 1, the most suspicious of 2,")

    def test_nobody_who_cannot_be_judged_is_cleared_by_another(self) -> None:
        """However low they score: that means nothing."""
        small = Person(1, [FaceScore(float(i), (0.0, 0.0, 9.0, 9.0), math.nan, -12.0, 1.0) for i in range(5)])
        judgement = judge([small, person(2, *[-9.0] * 5)], 20, self.rule(Scope(40.0)))
        assert judgement.label is Label.INCONCLUSIVE
        assert judgement.p_fake == sigmoid(-9.0), "the most suspicious person's"
        assert judgement.reasons[-1].startswith(
            "Person 1 cannot be judged, so the video is not called real. The face is 9"
        )
        apart, agreed = Person(2, self.person(-12.0).scores), Person(3, self.person(-9.0).scores)
        for score in agreed.scores:
            score.parts = {"blend": -1.0, "texture": -2.0}
        margin = self.rule(Scope(10.0, None, VIEWS, 1.5, views_margin=2.0))
        judgement = judge([apart, agreed], 20, margin)
        assert judgement.label is Label.INCONCLUSIVE
        assert "Person 2 cannot be judged" in judgement.reasons[-1]
        assert "disagree strongly" in judgement.reasons[-1]

    def person(self, logit: float) -> Person:
        """Views that lie 2 apart once they are comparable."""
        someone = person(1, *[logit] * 5)
        for score in someone.scores:
            score.parts = {"blend": 1.0, "texture": -2.0}
        return someone

    def rule(self, scope: Scope | None) -> Rule:
        return rule(scope=scope, outputs={"logit": "logit", "blend": "b", "texture": "t"})


class TestLabels:
    @pytest.mark.parametrize(
        ("logit", "label"),
        [
            (-9.0, Label.REAL),
            (-0.01, Label.REAL),
            (0.0, Label.INCONCLUSIVE),
            (2.99, Label.INCONCLUSIVE),
            (3.0, Label.FAKE),
            (9.0, Label.FAKE),
        ],
    )
    def test_one_person(self, logit: float, label: Label) -> None:
        judgement = judge([person(1, *[logit] * 5)], 20, rule())
        assert judgement.label is judgement.tracks[0].label is label
        assert judgement.p_fake == sigmoid(logit)
        assert judgement.threshold == sigmoid(3.0)
        assert judgement.reasons

    @pytest.mark.parametrize(("term", "words"), [("flicker", "the rim of the face"), ("instability", "Magnifying")])
    @pytest.mark.parametrize(
        ("logit", "added", "said"), [(5.0, 1.2, True), (1.0, 1.2, True), (5.0, 0.8, False), (-4.0, 1.2, False)]
    )
    def test_a_term_is_a_reason_unless_the_face_is_real(
        self, term: str, words: str, logit: float, added: float, said: bool
    ) -> None:
        seen = person(1, *[logit] * 5)
        for score in seen.scores:
            score.parts = {"flicker": 0.0, "instability": 0.0, term: added}
        assert any(words in reason for reason in judge([seen], 20, rule()).reasons) is said

    def test_real_below_widens_the_band(self) -> None:
        strict = rule(Threshold(0.01, 3.0, 300, "dev", real_below=-1.5))
        assert judge([person(1, -1.4)], 1, strict).label is Label.INCONCLUSIVE
        assert judge([person(1, -1.6)], 1, strict).label is Label.REAL

    @pytest.mark.parametrize("scope", [None, Scope(10.0), Scope(10.0, None, VIEWS, 99.0, views_margin=1.0)])
    def test_without_a_bound_of_real_nothing_is_clearly_real(self, scope: Scope | None) -> None:
        seen = person(1, -9.0)
        seen.scores[0].parts = {"blend": 0.0, "texture": 0.0}
        outputs = {name: name for name in ("logit", *VIEWS)}
        unmeasured = rule(Threshold(0.01, 3.0, 300, "dev"), scope=scope, outputs=outputs)
        judgement = judge([seen], 1, unmeasured)
        assert judgement.label is judgement.tracks[0].label is Label.INCONCLUSIVE
        assert judgement.reasons[0] == (
            "Person 1 scores 0.0001. The detector's card does not say below what a face is clearly real: REAL is out, "
            "and FAKE begins at 0.9526."
        )

    def test_a_threshold_below_the_real_side_leaves_no_band(self) -> None:
        low = rule(Threshold(0.01, -1.0, 300, "dev", real_below=0.0))
        assert judge([person(1, -1.0)], 1, low).label is Label.FAKE
        assert judge([person(1, -1.01)], 1, low).label is Label.REAL

    def test_a_higher_rate_calls_more_fake(self) -> None:
        assert judge([person(1, 2.0)], 1, rule(fpr=0.05)).label is Label.FAKE
        assert judge([person(1, 2.0)], 1, rule(fpr=0.01)).label is Label.INCONCLUSIVE

    def test_calibration_comes_first(self) -> None:
        halved = rule(calibration=Calibration("temperature", temperature=2.0))
        judgement = judge([person(1, 5.0)], 1, halved)
        assert judgement.label is Label.INCONCLUSIVE
        assert judgement.p_fake == sigmoid(2.5)
        assert judgement.tracks[0].logit == 2.5
        assert judgement.tracks[0].scores[0].logit == 5.0
        assert judgement.tracks[0].scores[0].p_fake == sigmoid(2.5)

    @given(prior=st.floats(0.001, 0.999), logit=st.floats(-20, 20))
    def test_the_prior_moves_p_fake_and_threshold_but_no_label(self, prior: float, logit: float) -> None:
        even = judge([person(1, logit)], 1, rule())
        other = judge([person(1, logit)], 1, rule(prior=prior))
        assert other.label is even.label
        assert other.p_fake == pytest.approx(sigmoid(logit + math.log(prior / (1 - prior))))
        assert other.p_fake is not None
        assert other.threshold is not None
        if abs(logit - 3.0) > 1e-6:
            assert (other.p_fake >= other.threshold) is (other.label is Label.FAKE)

    @pytest.mark.parametrize(
        ("logit", "prior", "said"),
        [
            (2.99, 0.5, "scores 0.952, between clearly real (below 0.500) and clearly fake (from 0.953)"),
            (3.0, 0.5, "scores 0.95; from 0.95 up a face is clearly fake"),
            (-3.0, 1e-4, "scores 0.000005; below 0.000100 a face is clearly real"),
            (9.0, 0.5, "scores 0.9999; from 0.9526 up a face is clearly fake"),
        ],
    )
    def test_a_reason_has_as_many_digits_as_it_takes(self, logit: float, prior: float, said: str) -> None:
        judgement = judge([person(1, *[logit] * 3)], 20, rule(prior=prior))
        assert judgement.reasons[0] == f"Person 1 {said}."

    def test_a_detector_without_thresholds_decides_nothing(self) -> None:
        bare = Rule.of(card(), fpr=0.02)
        for logit in (-50.0, 50.0):
            judgement = judge([person(1, *[logit] * 5)], 20, bare)
            assert judgement.label is judgement.tracks[0].label is Label.INCONCLUSIVE
            assert judgement.p_fake == sigmoid(logit)
            assert judgement.threshold is None
            assert "states no thresholds" in judgement.reasons[0]


class TestWantOfFaces:
    def test_no_face(self) -> None:
        judgement = judge([], 20, rule())
        assert judgement.label is Label.NO_FACE
        assert judgement.p_fake is judgement.threshold is None
        assert judgement.reasons == ("No face was found in 20 frames.",)

    @pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
    def test_poor_faces_are_scored_and_never_decide(self, logit: float) -> None:
        poor = person(1, *[logit] * 20, usable=False, problems=("blurred", "too small"))
        judgement = judge([poor], 20, rule())
        assert judgement.label is Label.INCONCLUSIVE
        assert judgement.p_fake == sigmoid(logit)
        assert judgement.reasons == ("None of 20 faces is good enough to be sure: 20 blurred, 20 too small.",)

    @pytest.mark.parametrize("logit", [-50.0, 50.0])
    def test_too_few_faces_never_decide(self, logit: float) -> None:
        judgement = judge([person(1, logit, logit)], 20, rule())
        assert judgement.label is judgement.tracks[0].label is Label.INCONCLUSIVE
        assert judgement.p_fake == sigmoid(logit)
        assert judgement.reasons == ("No person was seen in enough usable faces to be sure.",)

    def test_frames_that_could_not_be_decoded_count_as_wanted_and_are_said(self) -> None:
        missing = "19 of the 20 frames wanted are missing or could not be decoded."
        judgement = judge([person(1, 50.0)], 1, rule(), frames_lost=19)
        assert judgement.label is Label.INCONCLUSIVE
        assert judgement.reasons == ("No person was seen in enough usable faces to be sure.", missing)
        judgement = judge([person(1, *[50.0] * 3)], 3, rule(), frames_lost=17)
        assert judgement.label is Label.FAKE
        assert judgement.reasons[-1] == "17 of the 20 frames wanted are missing or could not be decoded."
        assert judge([], 1, rule(), frames_lost=19).reasons == ("No face was found in 1 frame.", missing)

    def test_a_run_that_was_too_short_for_the_detector_never_decides(self) -> None:
        judgement = judge([Person(1, faces(*[50.0] * 9), enough=False)], 20, rule())
        assert judgement.label is Label.INCONCLUSIVE
        assert judgement.reasons == ("No person shows as many usable faces as one score of this detector needs.",)

    def test_short_but_good_goes_before_long_but_poor(self) -> None:
        judgement = judge([person(1, *[9.0] * 9, usable=False), person(2, 1.0)], 20, rule())
        assert judgement.p_fake == sigmoid(1.0)

    @given(
        st.lists(
            st.tuples(st.lists(st.floats(-30, 30), min_size=1, max_size=25), st.booleans(), st.booleans()),
            max_size=4,
        )
    )
    def test_real_and_fake_only_by_someone_who_counts(self, seen: list[tuple[list[float], bool, bool]]) -> None:
        people = [Person(i, faces(*logits, usable=usable), enough) for i, (logits, usable, enough) in enumerate(seen)]
        judgement = judge(people, 25, rule())
        if judgement.label in (Label.REAL, Label.FAKE):
            assert any(track.counts and track.label is judgement.label for track in judgement.tracks)
        assert (judgement.p_fake is None) is (judgement.label is Label.NO_FACE)


class TestSeveralPeople:
    def test_the_most_fake_one_decides(self) -> None:
        judgement = judge([person(1, *[-4.0] * 5), person(2, *[9.0] * 5), person(3, *[1.0] * 5)], 20, rule())
        assert judgement.label is Label.FAKE
        assert judgement.p_fake == sigmoid(9.0)
        assert [track.label for track in judgement.tracks] == [Label.REAL, Label.FAKE, Label.INCONCLUSIVE]
        assert "Person 2, the most suspicious of 3," in judgement.reasons[0]
        assert "3 people" in judgement.reasons[1]

    def test_who_does_not_count_does_not_decide(self) -> None:
        judgement = judge([person(1, *[-4.0] * 5), person(2, 9.0)], 20, rule())
        assert judgement.label is Label.REAL
        assert judgement.threshold == sigmoid(3.0)  # one person counts
        assert judgement.tracks[1].label is Label.INCONCLUSIVE
        assert not judgement.tracks[1].counts
        assert "1 person with too few usable faces did not count." in judgement.reasons

    def test_the_threshold_between_measured_rates_is_interpolated(self) -> None:
        band = rule(fpr=0.05).band(2)
        assert band is not None
        share = math.log(2) / math.log(5)
        assert band.fake_from == pytest.approx(1.0 + share * 2.0)

    def test_five_people_at_five_percent_need_the_threshold_of_one_percent(self) -> None:
        band = rule(fpr=0.05).band(5)
        assert band is not None
        assert band.fake_from == pytest.approx(3.0)

    def test_beyond_the_smallest_rate_the_line_goes_on(self) -> None:
        band = rule().band(5)
        assert band is not None
        assert band.fake_from == pytest.approx(5.0)  # from 5 % to 1 % it rose by 2, and 5 people are as far again

    def test_it_never_rises_less_than_a_calibrated_logit_would(self) -> None:
        for thresholds in ((ONE,), (Threshold(0.05, 2.9, 300, "dev"), ONE)):
            band = rule(*thresholds).band(4)
            assert band is not None
            assert band.fake_from == pytest.approx(3.0 + math.log(4))

    @given(people=st.integers(1, 200), low=st.floats(-5, 5), rise=st.floats(0, 5), fpr=st.sampled_from([0.05, 0.01]))
    def test_more_people_never_lower_it(self, people: int, low: float, rise: float, fpr: float) -> None:
        some = rule(Threshold(0.05, low, 9, "dev"), Threshold(0.01, low + rise, 9, "dev"), fpr=fpr)
        band, larger = some.band(people), some.band(people + 1)
        assert band is not None
        assert larger is not None
        assert larger.fake_from >= band.fake_from

    def test_the_rate_holds_per_video_where_real_scores_are_logistic(self) -> None:
        """Of logits that follow the logistic distribution around 0, a threshold t lets 1 / (1 + e^t) pass."""
        at = {rate: math.log(1 / rate - 1) for rate in (0.05, 0.01)}
        real = rule(*(Threshold(rate, logit, 300, "dev") for rate, logit in at.items()))
        for people in (1, 2, 3, 10, 30):
            band = real.band(people)
            assert band is not None
            per_video = 1 - (1 - sigmoid(-band.fake_from)) ** people
            assert per_video <= 0.0101


class TestUsage:
    def test_a_rate_without_threshold_names_the_others(self) -> None:
        with pytest.raises(UsageError, match=r"false-positive rate of 0\.02") as caught:
            rule(fpr=0.02)
        assert caught.value.advice == "Ask for 0.05, 0.01."

    def test_a_detector_without_the_usual_rate_takes_its_smallest(self) -> None:
        assert Rule.of(card(thresholds=(FIVE, ONE))).fpr == 0.01
        assert Rule.of(card(thresholds=(FIVE, Threshold(0.01, None, 54, "too few")))).fpr == 0.05

    def test_a_rate_that_could_not_be_measured_is_not_there(self) -> None:
        with pytest.raises(UsageError) as caught:
            rule(FIVE, Threshold(0.001, None, 300, "too few"), fpr=0.001)
        assert caught.value.advice == "Ask for 0.05."

    def test_thresholds_none_of_which_could_be_measured_decide_nothing(self) -> None:
        assert rule(Threshold(0.01, None, 3, "too few")).band() is None

    @pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, 2.0, math.nan])
    def test_a_prior_is_a_probability(self, prior: float) -> None:
        with pytest.raises(UsageError, match="prior"):
            rule(prior=prior)


@pytest.mark.parametrize("logit", [-1e308, -800.0, 0.0, 800.0, 1e308])
def test_sigmoid_does_not_overflow(logit: float) -> None:
    assert 0.0 <= sigmoid(logit) <= 1.0
