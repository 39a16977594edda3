"""Scores become a verdict. Pure functions; docs/verdict.md says every rule in words.

Logits are the detector's for FAKE. "Calibrated" ones have been through the card's calibration, so that their sigmoid is
P(fake) where half of all videos are fake; thresholds stand on them, and the prior changes P(fake) but never a label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from facetell.detectors import Aggregation, Calibration, DetectorCard, Scope, Threshold
from facetell.detectors.card import FLICKER, INSTABILITY
from facetell.errors import UsageError
from facetell.types import FaceScore, Label, TrackScore

ENOUGH_FACES = 3  # usable faces with which a track counts in any video …
ENOUGH_SHARE = 1 / 6  # … or this share of the frames wanted, in a short one
TELLING = 1.0  # logits that a term adds from which on the verdict mentions it
USUAL_RATE = 0.01  # of real videos called FAKE, where nobody asks for another
LEAST_SLOPE = 1.0  # logits a threshold rises, at least, for e times fewer false positives: a calibrated logit's rate


def sigmoid(logit: float) -> float:
    """1 / (1 + e^-logit), without overflow.

    >>> sigmoid(0.0), sigmoid(-1e9)
    (0.5, 0.0)
    """
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1 + power)


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "face"), count(3000, "face"), count(0, "person", "people")
    ('1 face', '3,000 faces', '0 people')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def told_apart(*values: float) -> list[str]:
    """Probabilities with as many digits, two at least, as it takes that no two of them look alike, or one certain.

    >>> told_apart(0.5, 0.94), told_apart(0.938, 0.9416), told_apart(0.0004), told_apart(1e-9)
    (['0.50', '0.94'], ['0.938', '0.942'], ['0.0004'], ['<0.000001'])
    """
    said: list[str] = []
    for digits in range(2, 7):
        said = [f"{value:.{digits}f}" for value in values]
        if len(set(said)) == len(set(values)) and not {float(one) for one in said} & {0.0, 1.0}:
            return said
    return [{"0.000000": "<0.000001", "1.000000": ">0.999999"}.get(one, one) for one in said]


@dataclass(frozen=True, slots=True)
class Band:
    """Calibrated logits below `real_below` are clearly real, those from `fake_from` up clearly fake."""

    real_below: float  # -inf: nothing is clearly real
    fake_from: float

    def label(self, logit: float) -> Label:
        """
        >>> [str(Band(-1.0, 2.0).label(logit)) for logit in (-1.5, -1.0, 1.9, 2.0)]
        ['REAL', 'INCONCLUSIVE', 'INCONCLUSIVE', 'FAKE']
        """
        if logit >= self.fake_from:
            return Label.FAKE
        return Label.REAL if logit < self.real_below else Label.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Rule:
    """What turns logits into labels: what the detector's card says, the rate asked for, and the prior."""

    calibration: Calibration
    thresholds: tuple[Threshold, ...]  # measured ones, the highest rate first; empty: the detector states none
    fpr: float
    prior: float
    scope: Scope | None = None  # None: the detector does not say what it was calibrated on
    aggregation: Aggregation = "quality"

    @classmethod
    def of(cls, card: DetectorCard, fpr: float | None = None, prior: float = 0.5) -> Rule:
        """The rule of a detector's card.

        Args:
            card: the detector's; without any measured threshold everything it scores is INCONCLUSIVE.
            fpr: share of real videos that may be called FAKE; one of those the card has a threshold for. By default
                0.01, or the smallest that it has.
            prior: the share of fakes that P(fake) assumes, between 0 and 1.

        Raises:
            UsageError: a rate the card has no threshold for, or a prior that is none.
        """
        if not 0 < prior < 1:
            raise UsageError(f"The prior {prior:g} does not lie between 0 and 1.", "0.5 means that half are fake.")
        measured = sorted((t for t in card.thresholds if t.logit is not None), key=lambda t: -t.false_positive_rate)
        rates = [threshold.false_positive_rate for threshold in measured]
        if fpr is None:
            fpr = USUAL_RATE if not rates or any(math.isclose(rate, USUAL_RATE) for rate in rates) else rates[-1]
        if rates and not any(math.isclose(rate, fpr) for rate in rates):
            known = ", ".join(f"{rate:g}" for rate in rates)
            raise UsageError(
                f"Detector {card.name} has no threshold for a false-positive rate of {fpr:g}.", f"Ask for {known}."
            )
        return cls(card.calibration, tuple(measured), fpr, prior, card.scope, card.aggregation)

    def p_fake(self, calibrated: float) -> float:
        """P(fake) of a calibrated logit, at the prior."""
        return sigmoid(calibrated + math.log(self.prior / (1 - self.prior)))

    def band(self, people: int = 1) -> Band | None:
        """The band for a video in which this many people count; None if the detector states no threshold.

        The more people, the likelier that one of them looks fake by chance, so each may be called FAKE only at the
        asked rate divided by their number (Bonferroni). Thresholds for such rates lie on straight lines between the
        measured ones, over the logarithm of the rate; beyond the smallest measured rate the last line goes on, never
        flatter than `LEAST_SLOPE`.
        """
        if not self.thresholds:
            return None
        asked = next(t for t in self.thresholds if math.isclose(t.false_positive_rate, self.fpr))
        fake_from = self._threshold(math.log(self.fpr / max(people, 1)))
        real_below = -math.inf if asked.real_below is None else asked.real_below
        return Band(min(real_below, fake_from), fake_from)

    def band_of(self, person: Person, band: Band) -> Band:
        """A person's own band: where the views of the face disagree strongly, nothing is clearly real, and clearly fake
        begins `views_margin` further up.
        """
        margin = None if self.scope is None else self.scope.views_margin
        if margin is None or not self.disagree(person.scores):
            return band
        return Band(-math.inf, band.fake_from + margin)

    def disagree(self, scores: Sequence[FaceScore]) -> bool:
        """Whether the detector's two views of a person's faces lie further apart than it was calibrated on."""
        if self.scope is None or self.scope.views_apart is None:
            return False
        return self.scope.apart(track_parts(scores, self.aggregation)) > self.scope.views_apart

    def _threshold(self, log_rate: float) -> float:
        """The threshold at a rate no greater than the one asked for."""
        x = [math.log(threshold.false_positive_rate) for threshold in self.thresholds]  # falling
        y = [float(threshold.logit) for threshold in self.thresholds if threshold.logit is not None]
        if log_rate >= x[-1]:
            return float(np.interp(-log_rate, [-rate for rate in x], y))
        slope = LEAST_SLOPE if len(x) < 2 else max(LEAST_SLOPE, (y[-1] - y[-2]) / (x[-2] - x[-1]))
        return y[-1] + slope * (x[-1] - log_rate)


@dataclass(frozen=True, eq=False, slots=True)
class Person:
    """One track and what the detector said of its faces (raw logits; their P(fake) is filled in by `judge`)."""

    id: int
    scores: list[FaceScore]
    enough: bool = True  # a detector of clips had as many faces as it needs
    region: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Judgement:
    """The part of a verdict that follows from scores."""

    label: Label
    p_fake: float | None
    threshold: float | None
    reasons: tuple[str, ...]
    tracks: list[TrackScore]
    doubt: str | None = None  # of the person whom it rests on


def face_weights(logits: np.ndarray, qualities: np.ndarray, aggregation: Aggregation) -> np.ndarray:
    """How much each face counts in the mean of its track, (N,); all alike where none would count.

    Args:
        logits: (N,) raw.
        qualities: (N,) 0…1.
        aggregation: by quality, or by confidence: how far the sigmoid of the raw logit lies from a half, 0…1.

    >>> face_weights(np.array([0.0, 40.0]), np.array([1.0, 0.5]), "quality").tolist()
    [1.0, 0.5]
    >>> face_weights(np.array([0.0, 40.0]), np.array([1.0, 0.5]), "confidence").tolist()
    [0.0, 1.0]
    """
    weights = qualities if aggregation == "quality" else np.abs(np.tanh(logits / 2))
    return weights if weights.sum() > 0 else np.ones(len(logits))


def track_logit(scores: Sequence[FaceScore], aggregation: Aggregation) -> float:
    """The weighted mean of the raw logits of a track's usable faces; of all its faces if none is usable.

    >>> box = (0.0, 0.0, 9.0, 9.0)
    >>> faces = [FaceScore(0, box, 0, 2.0, 1.0), FaceScore(1, box, 0, 5.0, 0.5), FaceScore(2, box, 0, 9, 1, False)]
    >>> track_logit(faces, "quality")
    3.0
    """
    chosen, weights = _weighed(scores, aggregation)
    return float(np.average([score.logit for score in chosen], weights=weights))


def track_parts(scores: Sequence[FaceScore], aggregation: Aggregation) -> dict[str, float]:
    """The parts of a track's score, each the mean over its faces as in `track_logit`; empty where there are none."""
    chosen, weights = _weighed(scores, aggregation)
    return {
        name: float(np.average([score.parts[name] for score in chosen], weights=weights)) for name in chosen[0].parts
    }


def _weighed(scores: Sequence[FaceScore], aggregation: Aggregation) -> tuple[list[FaceScore], np.ndarray]:
    chosen = deciding_faces(scores)
    logits, qualities = np.array([(score.logit, score.quality) for score in chosen]).T
    return chosen, face_weights(logits, qualities, aggregation)


def deciding_faces(scores: Sequence[FaceScore]) -> list[FaceScore]:
    """The faces of a track that its score rests on: the usable ones, or all if none is."""
    return [score for score in scores if score.usable] or list(scores)


def counts(usable_faces: int, frames_wanted: int) -> bool:
    """Whether a track is long enough to decide a video's verdict.

    >>> counts(2, 20), counts(3, 20), counts(2, 12), counts(1, 1), counts(0, 1)
    (False, True, True, True, False)
    """
    return usable_faces >= 1 and (usable_faces >= ENOUGH_FACES or usable_faces >= ENOUGH_SHARE * frames_wanted)


def judge(
    people: Sequence[Person],
    frames_sampled: int,
    rule: Rule,
    bits_per_pixel: float | None = None,
    frames_lost: int = 0,
) -> Judgement:
    """The verdict on a video.

    Args:
        people: those seen in it, each with at least one scored face.
        frames_sampled: how many frames were looked at.
        rule: how to decide.
        bits_per_pixel: of the video's stream; None for a still, and where the file does not say.
        frames_lost: how many more were wanted and are missing or could not be decoded.
    """
    wanted = frames_sampled + frames_lost
    loss = (
        [f"{frames_lost:,} of the {wanted:,} frames wanted are missing or could not be decoded."] if frames_lost else []
    )
    if not people:
        nothing = f"No face was found in {count(frames_sampled, 'frame')}."
        return Judgement(Label.NO_FACE, None, None, (nothing, *loss), [])
    long_enough = [p.enough and counts(sum(s.usable for s in p.scores), wanted) for p in people]
    band = rule.band(sum(long_enough))
    bands = {person.id: band and rule.band_of(person, band) for person in people}
    tracks = [
        _track(person, counting, rule, bands[person.id], beyond(person.scores, rule, bits_per_pixel))
        for person, counting in zip(people, long_enough, strict=True)
    ]
    most = deciding_track(tracks)
    band = bands[most.id]
    reasons = (
        _why_undecided(people, tracks, band) if not most.counts or band is None else _why(tracks, most, band, rule)
    )
    label = most.label
    if label is Label.REAL and (open_ := [t for t in tracks if t.counts and t.label is Label.INCONCLUSIVE]):
        label = Label.INCONCLUSIVE
        reasons = [*reasons, *(_why_not_cleared(track, rule) for track in open_)]
    return Judgement(
        label=label,
        p_fake=most.p_fake,
        threshold=None if band is None else rule.p_fake(band.fake_from),
        reasons=(*reasons, *loss),
        tracks=tracks,
        doubt=most.doubt,
    )


def deciding_track(tracks: Sequence[TrackScore]) -> TrackScore:
    """The track that a verdict rests on: of those that count one that is FAKE, else the one with the highest logit.

    Where none counts, those with a usable face stand in for them, and then all.
    """
    usable = [track for track in tracks if any(score.usable for score in track.scores)]
    standing = [track for track in tracks if track.counts] or usable or tracks
    return max(standing, key=lambda track: (track.label is Label.FAKE, track.logit))


def beyond(scores: Sequence[FaceScore], rule: Rule, bits_per_pixel: float | None) -> str | None:
    """Why a person's score means nothing known, as one sentence; None within what the detector was calibrated on.

    >>> rule = Rule(Calibration(), (), 0.01, 0.5, Scope(face_height=64.0))
    >>> beyond([FaceScore(0, (0.0, 0.0, 30.0, 40.0), 0, 1.0, 1.0)], rule, None)
    'The face is 40 pixels high; the detector was calibrated on faces from 64 up.'
    """
    scope = rule.scope
    if scope is None:
        return None
    height = float(np.median([score.box[3] for score in deciding_faces(scores)]))
    if height < scope.face_height:
        least = f"{scope.face_height:.0f}"
        return f"The face is {height:.0f} pixels high; the detector was calibrated on faces from {least} up."
    if bits_per_pixel is not None and scope.bits_per_pixel is not None and bits_per_pixel < scope.bits_per_pixel:
        return (
            f"The video spends {bits_per_pixel:.2g} bits on a pixel; the detector was calibrated on videos from "
            f"{scope.bits_per_pixel:.2g} up."
        )
    if scope.views_margin is None and rule.disagree(scores):
        return f"{_disagree(scope)}."
    return None


def _disagree(scope: Scope) -> str:
    return f"The detector's views of the face disagree strongly ({' and '.join(scope.views)})"


def _track(person: Person, counting: bool, rule: Rule, band: Band | None, doubt: str | None) -> TrackScore:
    for score in person.scores:
        score.p_fake = rule.p_fake(rule.calibration(score.logit))
    logit = rule.calibration(track_logit(person.scores, rule.aggregation))
    return TrackScore(
        id=person.id,
        label=Label.INCONCLUSIVE if band is None or doubt or not counting else band.label(logit),
        start_s=person.scores[0].time_s,
        end_s=person.scores[-1].time_s,
        p_fake=rule.p_fake(logit),
        logit=logit,
        counts=counting,
        scores=person.scores,
        region=person.region,
        doubt=doubt,
    )


def _why(tracks: Sequence[TrackScore], most: TrackScore, band: Band, rule: Rule) -> Iterable[str]:
    """Plain sentences on a verdict that a track long enough has decided."""
    score, fake, real = most.p_fake, rule.p_fake(band.fake_from), rule.p_fake(band.real_below)
    counting = [track for track in tracks if track.counts]
    people = len(counting)
    whom = people if most.logit == max(track.logit for track in counting) else "those who can be judged"
    who = f"Person {most.id}" if people == 1 else f"Person {most.id}, the most suspicious of {whom},"
    if most.label is Label.FAKE:
        score, fake = told_apart(score, fake)
        yield f"{who} scores {score}; from {fake} up a face is clearly fake."
    elif most.label is Label.REAL:
        score, real = told_apart(score, real)
        yield f"{who} scores {score}; below {real} a face is clearly real."
    elif most.doubt:
        yield f"{who} scores {told_apart(score)[0]}, which cannot decide. {most.doubt}"
    elif math.isinf(band.real_below):
        score, fake = told_apart(score, fake)
        why = "The detector's card does not say below what a face is clearly real"
        if rule.scope is not None and rule.disagree(most.scores):
            why = _disagree(rule.scope)
        yield f"{who} scores {score}. {why}: REAL is out, and FAKE begins at {fake}."
    else:
        score, real, fake = told_apart(score, real, fake)
        yield f"{who} scores {score}, between clearly real (below {real}) and clearly fake (from {fake})."
    parts = {} if most.label is Label.REAL else track_parts(most.scores, rule.aggregation)
    if parts.get(FLICKER, 0.0) >= TELLING:
        yield "From one frame to the next, the rim of the face changes more against its inside than is usual."
    if parts.get(INSTABILITY, 0.0) >= TELLING:
        yield "Magnifying what changes from one frame to the next moves the face's score further than is usual."
    if people > 1 and not most.doubt:
        yield f"The threshold accounts for {people} people, any of whom might look fake by chance."
    if short := [track for track in tracks if not track.counts]:
        yield f"{count(len(short), 'person', 'people')} with too few usable faces did not count."


def _why_not_cleared(track: TrackScore, rule: Rule) -> str:
    """A plain sentence on a person who scores less than one who is clearly real, and yet is not."""
    why = track.doubt or (f"{_disagree(rule.scope)}." if rule.scope else "")
    return f"Person {track.id} cannot be judged, so the video is not called real. {why}".rstrip()


def _why_undecided(people: Sequence[Person], tracks: Sequence[TrackScore], band: Band | None) -> Iterable[str]:
    """Plain sentences on why no score of this video can decide."""
    if band is None:
        yield "The detector's card states no thresholds, so its score cannot decide."
    faces = [score for track in tracks for score in track.scores]
    if not any(score.usable for score in faces):
        gates = Counter(problem for score in faces for problem in score.problems)
        failed = ", ".join(f"{number} {gate}" for gate, number in gates.most_common())
        yield f"None of {count(len(faces), 'face')} is good enough to be sure: {failed}."
    elif not any(person.enough for person in people):
        yield "No person shows as many usable faces as one score of this detector needs."
    elif not any(track.counts for track in tracks):
        yield "No person was seen in enough usable faces to be sure."
