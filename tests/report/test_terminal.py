from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest
from rich.console import Console, RenderableType

from facetell.report import html
from facetell.report.terminal import block, line, summary
from facetell.types import Label, Verdict
from tests.report import made


def shown(parts: Sequence[RenderableType], *, colour: bool = False, width: int = 100) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=colour, width=width, color_system="truecolor" if colour else None
    )
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_block_says_what_matters() -> None:
    text = shown([block(made.fake())], width=200)
    for part in (
        "clip.mp4",
        "FAKE  P(fake) 0.94",
        "called FAKE from 0.81 up, which 1% of real videos reach (provisional)",
        "Person 1  FAKE  0.94  0:00.0–0:01.9",
        "strongest at the mouth",
        "too few usable faces to count",
        "20 frames sampled (only 0–2.5 s, every:3), 20 with a face; 24 faces",
        "1 of them unusable (1 blurred, 1 too small)",
        "; 3 more frames missing or not decodable;",
        "Forged by facetell.",
        "Detector meso 1.0; P(fake) assumes that 50% of all videos are fake",
    ):
        assert part in text


def test_a_score_just_below_the_threshold_does_not_look_like_it() -> None:
    verdict = made.fake()
    verdict.p_fake, verdict.threshold = 0.938, 0.9416
    for text in (shown([block(verdict)]), html.page([verdict], None)):
        assert "0.938" in text
        assert "0.942" in text


@pytest.mark.parametrize("nobody_counts", [False, True])
def test_a_score_that_means_nothing_known_is_held_against_no_threshold(nobody_counts: bool) -> None:
    verdict = made.beyond()
    if nobody_counts:
        verdict.doubt, verdict.tracks[0].counts = None, False
    text = shown([block(verdict)])
    assert "INCONCLUSIVE  P(fake) 0.95   a score that means nothing known" in text
    assert "called FAKE" not in text
    assert ("score means nothing known" in text) is not nobody_counts


def test_a_still_has_no_times_and_a_moment_is_said_once() -> None:
    assert "0:0" not in shown([block(made.beyond())])
    verdict = made.fake()
    verdict.tracks[0].end_s = 0.04
    text = shown([block(verdict)])
    assert "0.94  0:00.0 " in text
    assert "0:00.0–0:00.0" not in text


def test_a_score_held_against_no_threshold_needs_no_more_digits() -> None:
    verdict = made.beyond()
    verdict.p_fake = 0.9365
    assert "P(fake) 0.94   a score" in shown([block(verdict)])


def test_block_gives_reasons_errors_and_strangers_detectors() -> None:
    text = shown([block(made.inconclusive()), block(made.error()), block(made.no_face())])
    assert "Every face failed a quality gate: 3 too dark." in text
    assert "a file from elsewhere" in text
    assert "notes.mp4 holds neither a video nor a picture. (NotVideoError)" in text
    assert "No face in 20 frames." in text
    assert "provisional" not in text


def test_a_crowd_is_counted_not_listed() -> None:
    verdict = made.fake()
    verdict.tracks = [made.track(k, Label.REAL, [made.face(0.0, 0.01 + 0.02 * k)]) for k in range(1, 31)]
    text = shown([block(verdict)])
    assert len(re.findall(r"Person \d+  REAL", text)) == 10
    assert "Person 30" in text
    assert "and 20 more people" in text


def test_summary_has_each_file_and_the_tally() -> None:
    text = shown([summary(made.everything()[:4])])
    assert [text.index(name) for name in ("clip.mp4", "dim.mov", "hills.webm", "notes.mp4")] == sorted(
        text.index(name) for name in ("clip.mp4", "dim.mov", "hills.webm", "notes.mp4")
    )
    assert "4 files: 1 FAKE, 1 INCONCLUSIVE, 1 NO_FACE, 1 ERROR" in text


def test_a_pipe_gets_no_escapes_and_a_terminal_gets_colour() -> None:
    assert "\x1b" not in shown([block(made.fake())])
    assert "\x1b[1;31mFAKE" in shown([block(made.fake())], colour=True)


@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_neither_styles_nor_steers(colour: bool) -> None:
    verdict = made.hostile()
    text = shown([block(verdict), summary([verdict, verdict])], colour=colour, width=500) + line(verdict)
    without_style = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", without_style)
    assert "[red]\ufffd[31m" in without_style
    assert "[/]{{7*7}}" in without_style


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (made.fake(), "clip.mp4: FAKE 0.940"),
        (made.inconclusive(), "dim.mov: INCONCLUSIVE 0.600"),
        (made.no_face("a b.webm"), "a b.webm: NO_FACE"),
        (made.error("a\nb"), "a b: ERROR"),
        (Verdict("a", Label.FAKE, p_fake=0.9996), "a: FAKE 0.999"),
        (Verdict("a", Label.REAL, p_fake=0.0), "a: REAL 0.001"),
    ],
    ids=["fake", "inconclusive", "no face", "error", "nearly certain", "out of doubt"],
)
def test_line(verdict: Verdict, said: str) -> None:
    assert line(verdict) == said


@pytest.mark.parametrize(
    ("width", "kept", "left_out"),
    [(66, ("0:00.0–0:01.0", "▅▅▅"), ()), (58, ("0:00.0–0:01.0",), ("▅",)), (42, (), ("0:0", "▅"))],
)
def test_narrow_terminals_keep_label_and_p_fake(width: int, kept: tuple[str, ...], left_out: tuple[str, ...]) -> None:
    verdict = made.inconclusive()
    verdict.tracks[0].region = "mouth"
    text = shown([block(verdict)], width=width)
    assert "…" not in text
    assert all(part in text for part in ("Person 1  INCONCLUSIVE  0.60", *kept))
    assert not any(part in text for part in left_out)
    assert "strongest" in text


def test_narrow_terminals_keep_the_table_of_files() -> None:
    for width in (40, 24):
        text = shown([summary([made.inconclusive("a-rather-long-name-for-a-file.mp4")])], width=width)
        assert re.search(r"^INCONCLUSIVE +0\.60 ", text, re.MULTILINE)


def test_eighty_columns_cut_nothing_off() -> None:
    text = shown([block(made.fake())], width=80)
    assert "0:00.0–0:01.9" in text
    assert "…" not in text
