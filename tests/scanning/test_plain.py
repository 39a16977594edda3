"""The fast way gives what the plain one does: the same frames, so the same scores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facetell.scanning import Scanner
from facetell.types import Verdict
from tests import media
from tests.detectors.networks import brightness, write
from tests.scanning.plain import PlainReaders

MOST = 0.02  # of P(fake)


def both(scanner: Scanner, path: Path | str) -> tuple[Verdict, Verdict]:
    """A file judged the fast way and the plain one."""
    fast, readers = scanner.scan(path), scanner.readers
    scanner.readers = PlainReaders()  # pyright: ignore[reportAttributeAccessIssue]
    plain = scanner.scan(path)
    scanner.readers = readers
    return fast, plain


def times(verdict: Verdict) -> list[float]:
    return [score.time_s for track in verdict.tracks for score in track.scores]


@pytest.mark.parametrize("plan", ["uniform:7", "every:9", "clips:2x3@4"])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"gop": 12}),
        (".mkv", {"gop": 5, "codec": "libx265"}),
        (".webm", {"gop": 30, "codec": "libvpx-vp9"}),
        (".mp4", {"gop": 60, "rotation": 90}),
        (".ts", {"gop": 20, "times_ms": [40 * k + 7 * (k % 3) for k in range(80)]}),
    ],
    ids=["h264", "hevc", "vp9", "turned", "variable rate"],
)
def test_our_own_clips(suffix: str, options: dict, plan: str, tmp_path: Path) -> None:
    """A detector that reads brightness tells frames apart: their light changes."""
    images = [(image * (0.6 + 0.4 * k / 80)).astype("uint8") for k, image in enumerate(media.portrait_frames(80))]
    path = media.write_video(tmp_path / f"clip{suffix}", images, **options)
    fast, plain = both(Scanner(write(tmp_path, brightness(gain=10.0, bias=-4.0)), plan=plan), path)
    assert times(fast) == pytest.approx(times(plain), abs=1e-4)
    assert len(times(fast)) > 4
    for one, other in zip(fast.tracks, plain.tracks, strict=True):
        assert [score.p_fake for score in one.scores] == pytest.approx(
            [score.p_fake for score in other.scores], abs=1e-6
        )


@pytest.mark.slow
def test_real_clips(data_dir: Path) -> None:
    """A few clips of every set: P(fake) with the default detector, every face and the video, and the label."""
    scanner, seen = Scanner(), 0
    for folder, step in (("dfdc", 5), ("ffpp", 20), ("sdfvd", 16), ("sdfvd_faces", 42)):
        for path in sorted((data_dir / folder).rglob("*.mp4"))[::step]:
            fast, plain = both(scanner, os.fspath(path))
            assert fast.label is plain.label, path
            assert fast.p_fake == pytest.approx(plain.p_fake, abs=MOST), path
            assert times(fast) == pytest.approx(times(plain), abs=1e-4)
            seen += 1
    assert seen >= 4
