"""The words that every report uses, and the one place where strangers' text is made harmless."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from facetell.scanning.verdict import count, told_apart
from facetell.types import Label, Sample, TrackScore, Verdict
from facetell.video.plans import DEFAULT_PLAN

_LEAST = 1e-8  # the smallest share, and remainder, that is said as a number
_JOINERS = "\u200c\u200d"  # zero-width, part of ordinary Persian and Indic words and of emoji

MEANING = {
    Label.FAKE: "A face in this file shows the marks of manipulation.",
    Label.REAL: "No face that was looked at shows the marks of manipulation that this detector knows.",
    Label.INCONCLUSIVE: "The faces in this file say neither clearly real nor clearly fake.",
    Label.NO_FACE: "No face was found, so nothing can be said.",
    Label.ERROR: "The file could not be judged.",
}

UNUSABLE = "Nobody in this file was seen well enough to say anything."

BEYOND = "The score lies beyond what the detector was calibrated on and means nothing known."

SUSPECTED = (Label.FAKE, Label.INCONCLUSIVE)  # whose heat map is pointed out


def plain(text: str) -> str:
    """`text` on one line, without anything that steers a terminal, turns the direction of writing or is no character.

    White space becomes a space; every other unprintable character becomes U+FFFD, so that it shows.

    >>> plain("a\\x1b[31mb\\nc.mp4")
    'a\ufffd[31mb c.mp4'
    """
    return "".join(
        sign if sign.isprintable() or sign in _JOINERS else " " if sign.isspace() else "\ufffd" for sign in text
    )


def probability(value: float | None) -> str:
    """P(fake) with two digits that never round to certainty.

    >>> probability(0.5), probability(0.9996), probability(0.0001), probability(None)
    ('0.50', '>0.99', '<0.01', '–')
    """
    if value is None:
        return "–"
    if value > 0.995:
        return ">0.99"
    if value < 0.005:
        return "<0.01"
    return f"{value:.2f}"


def score_and_threshold(verdict: Verdict) -> tuple[str, str]:
    """A verdict's P(fake) and its threshold, with more digits where two would make them look alike.

    >>> score_and_threshold(Verdict("a", Label.INCONCLUSIVE, p_fake=0.938, threshold=0.9416))
    ('0.938', '0.942')
    """
    said = probability(verdict.p_fake), probability(verdict.threshold)
    if verdict.p_fake is None or verdict.threshold is None or said[0] != said[1] or unfounded(verdict):
        return said
    score, threshold = told_apart(verdict.p_fake, verdict.threshold)
    return score, threshold


def about(share: float) -> str:
    """An estimated share in whole percent, never as none or all of them.

    >>> about(0.413), about(0.0004), about(0.9996)
    ('about 41%', 'under 1%', 'over 99%')
    """
    if share < 0.01:
        return "under 1%"
    return "over 99%" if share > 0.99 else f"about {100 * share:.0f}%"


def percent(share: float) -> str:
    """A share as a percentage, as short as it can be said, never as none or all where it lies between.

    >>> percent(0.01), percent(0.125), percent(0.0005), percent(1.0)
    ('1%', '12.5%', '0.05%', '100%')
    >>> percent(0.99999), percent(1e-7), percent(1e-12), percent(1 - 1e-12)
    ('99.999%', '0.00001%', '<0.000001%', '>99.999999%')
    """
    if 0 < share < _LEAST:
        return f"<{_positional(100 * _LEAST)}%"
    if 1 - _LEAST < share < 1:
        return f">{_positional(100 * (1 - _LEAST), 8)}%"
    digits = next((digits for digits in range(3, 9) if _positional(100 * share, digits) != "100"), 3)
    return f"{_positional(100 * share, digits)}%"


def _positional(number: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent."""
    return f"{Decimal(f'{number:.{digits}g}'):f}"


def clock(time_s: float) -> str:
    """A moment in the video as players write it, with tenths of a second.

    >>> clock(0), clock(75.26), clock(3600.0)
    ('0:00.0', '1:15.3', '1:00:00.0')
    """
    tenths = round(10 * max(time_s, 0.0))
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def moments(track: TrackScore, verdict: Verdict) -> list[str]:
    """When a person was first and last seen; one moment where both are said alike, none in a still.

    >>> person = TrackScore(1, Label.REAL, 0.0, 2.5, 0.1, -2.2, True, [])
    >>> moments(person, Verdict("a.mp4", Label.REAL))
    ['0:00.0', '0:02.5']
    """
    if is_still(verdict):
        return []
    return list(dict.fromkeys((clock(track.start_s), clock(track.end_s))))


def is_still(verdict: Verdict) -> bool:
    """Whether the file is known to be a single picture, in which times mean nothing."""
    return verdict.video is not None and verdict.video.is_still


def sampling(sample: Sample | None) -> str:
    """Which part of a video was looked at, and by which plan; empty for the whole of it by the usual plan.

    >>> sampling(Sample("every:5", 2.5)), sampling(Sample("uniform:20", 2.0, 4.0)), sampling(Sample("uniform:20"))
    ('only from 2.5 s on, every:5', 'only 2–4 s, uniform:20', '')
    """
    if sample is None:
        return ""
    start_s = sample.start_s or 0.0
    if sample.end_s is not None:
        return f"only {start_s:g}–{sample.end_s:g} s, {plain(sample.plan)}"
    if start_s:
        return f"only from {start_s:g} s on, {plain(sample.plan)}"
    return "" if sample.plan == DEFAULT_PLAN else plain(sample.plan)


def strongest(track: TrackScore) -> str:
    """Where a suspected person's heat map is strongest; empty for others, and where it points nowhere.

    >>> strongest(TrackScore(1, Label.FAKE, 0.0, 2.5, 0.9, 2.2, True, [], region="mouth"))
    'strongest at the mouth'
    """
    return f"strongest at the {plain(track.region)}" if track.region and track.label in SUSPECTED else ""


def coverage(verdict: Verdict) -> str:
    """What was looked at, in one sentence.

    >>> from facetell.types import Coverage
    >>> coverage(Verdict("a", Label.REAL, coverage=Coverage(20, 19, 21, 3, {"blurred": 2, "too small": 1})))
    '20 frames sampled, 19 with a face; 21 faces, 3 of them unusable (2 blurred, 1 too small)'
    """
    seen = verdict.coverage
    chosen = f" ({said})" if (said := sampling(verdict.sample)) else ""
    text = f"{count(seen.frames_sampled, 'frame')} sampled{chosen}, {seen.frames_with_face} with a face"
    if seen.faces:
        text += f"; {count(seen.faces, 'face')}"
    if seen.faces_unusable:
        problems = ", ".join(f"{number} {plain(gate)}" for gate, number in seen.problems.items())
        text += f", {seen.faces_unusable} of them unusable" + (f" ({problems})" if problems else "")
    if seen.frames_lost:
        text += f"; {count(seen.frames_lost, 'more frame')} missing or not decodable"
    if seen.corrupt_packets:
        text += f"; {count(seen.corrupt_packets, 'corrupt packet')} skipped"
    return text


def unprotected(missing: Sequence[str]) -> str:
    """Which protections against hostile files were not active, in one sentence; empty if all were.

    >>> unprotected(["a limit on memory"])
    'read without a limit on memory, which this system does not offer'
    """
    return f"read without {', '.join(map(plain, missing))}, which this system does not offer" if missing else ""


def unfounded(verdict: Verdict) -> str:
    """Why a verdict's score means nothing known, so that no threshold is held against it; else empty.

    >>> unfounded(Verdict("a", Label.INCONCLUSIVE, p_fake=0.95, doubt="The face is 40 pixels high."))
    'The score lies beyond what the detector was calibrated on and means nothing known. The face is 40 pixels high.'
    """
    if verdict.tracks and not any(track.counts for track in verdict.tracks):
        return UNUSABLE
    return f"{BEYOND} {verdict.doubt}" if verdict.doubt else ""


def threshold(verdict: Verdict) -> str:
    """What FAKE took, in one sentence, or that the score means nothing known; empty where no threshold was used.

    >>> threshold(Verdict("a", Label.REAL, threshold=0.81, false_positive_rate=0.01, provisional=True))
    'called FAKE from 0.81 up, which 1% of real videos reach (provisional)'
    >>> threshold(Verdict("a", Label.INCONCLUSIVE, p_fake=0.95, threshold=0.81, doubt="The face is 40 pixels high."))
    'a score that means nothing known'
    """
    if unfounded(verdict):
        return "a score that means nothing known"
    if verdict.threshold is None:
        return ""
    text = f"called FAKE from {score_and_threshold(verdict)[1]} up"
    if verdict.false_positive_rate is not None:
        text += f", which {percent(verdict.false_positive_rate)} of real videos reach"
    return text + (" (provisional)" if verdict.provisional else "")
