from __future__ import annotations

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from facetell.errors import FileMissingError, NotVideoError, OutputError, UsageError
from facetell.files import sha256_of
from facetell.report.annotate import TONES, _Painter, _tag, annotate
from facetell.types import FaceScore, Label, Verdict
from facetell.video import probe, provenance
from facetell.video.origin import ANNOTATED_MARK
from tests import media
from tests.report import made

RED = TONES[Label.FAKE]


def grey(count: int, size: tuple[int, int] = (320, 240)) -> list[np.ndarray]:
    return [np.full((size[1], size[0], 3), 128, np.uint8)] * count


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as file:
        return [(float(frame.time or 0.0), frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]


def sound_of(path: Path) -> tuple[str, np.ndarray, float]:
    """Codec, samples of the first channel and the time of the first one."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return file.streams.audio[0].codec_context.codec.canonical_name, samples, float(frames[0].time or 0.0)


def is_near(pixel: Any, tone: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - tone).max() < 45)


def one_person(times: list[float], boxes: list[tuple[float, float, float, float]]) -> Verdict:
    scores = [made.face(time, 0.9, box=box) for time, box in zip(times, boxes, strict=True)]
    return Verdict("a.mp4", Label.FAKE, p_fake=0.9, tracks=[made.track(1, Label.FAKE, scores)])


def of_any_file(verdict: Verdict) -> Verdict:
    """The verdict without the hash of the file that it is on."""
    return replace(verdict, sha256=None)


@pytest.mark.parametrize("known", [True, False])
def test_a_score_that_means_nothing_known_is_not_drawn(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marked copy travels alone, without what the other reports say of the score."""
    doubt = None if known else "The face is 40 pixels high."
    scores = [made.face(time, 0.9, box=(40.0, 40.0, 60.0, 60.0)) for time in (0.0, 0.1)]
    track = replace(made.track(1, Label.INCONCLUSIVE, scores), doubt=doubt)
    verdict = Verdict("a.mp4", Label.INCONCLUSIVE, p_fake=0.9, tracks=[track], doubt=doubt)
    words: list[str] = []
    monkeypatch.setattr("facetell.report.annotate._tag", lambda text, *how: words.append(text) or _tag(text, *how))
    _Painter(verdict).paint(grey(1)[0], 0.0)
    assert set(words) == (
        {"facetell: INCONCLUSIVE p=0.90", "Person 1  INCONCLUSIVE 0.90", "now 0.90"}
        if known
        else {"facetell: INCONCLUSIVE", "Person 1  INCONCLUSIVE"}
    )


def has_box(image: np.ndarray, x: float, y: float, h: float) -> bool:
    """Red runs down the left side of a box."""
    return is_near(np.median(image[round(y + 0.3 * h) : round(y + 0.7 * h), round(x)], axis=0), RED)


def test_video_keeps_frames_times_and_sound(portrait_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "marked.mp4"
    annotate(portrait_clip, of_any_file(made.fake()), out)
    before, after = frames_of(portrait_clip), frames_of(out)
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-4)
    codec, samples, start = sound_of(out)
    assert (codec, start) == ("aac", sound_of(portrait_clip)[2])
    given = sound_of(portrait_clip)[1]
    assert len(samples) == len(given)
    assert np.corrcoef(samples, given)[0, 1] > 0.99
    with av.open(str(out)) as file:
        (video,) = file.streams.video
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height) == (320, 240)
        assert file.metadata["comment"] == ANNOTATED_MARK
        assert file.duration is not None
        assert abs(file.duration / 1e6 - 2.0) <= 1 / 30
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert [path.name for path in tmp_path.iterdir()] == ["marked.mp4"]


def test_picture_is_the_same_but_for_the_marks(portrait_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "marked.mp4"
    annotate(portrait_clip, of_any_file(made.no_face()), out)
    for (_, before), (_, after) in list(zip(frames_of(portrait_clip), frames_of(out), strict=True))[::20]:
        assert np.abs(before[40:].astype(int) - after[40:]).mean() < 3
        assert is_near(after[8, 7], TONES[Label.NO_FACE])


def test_boxes_glide_between_neighbours_and_vanish_where_nobody_looked(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "grey.mp4", grey(75))
    times = [0.0, 0.2, 0.4, 0.6, 1.8, 2.0]
    verdict = one_person(times, [(40 + 100 * time, 60, 80, 100) for time in times])
    annotate(clip, verdict, tmp_path / "marked.mp4")
    frames = frames_of(tmp_path / "marked.mp4")
    seen = [has_box(image, 40 + 100 * time, 60, 100) for time, image in frames]
    wanted = [time <= 0.6 or 1.8 <= time <= 2.0 for time, _ in frames]
    unsure = [0.6 < time < 0.72 or 1.68 < time < 1.8 or 2.0 < time < 2.12 for time, _ in frames]
    assert [s for s, u in zip(seen, unsure, strict=True) if not u] == [
        w for w, u in zip(wanted, unsure, strict=True) if not u
    ]
    assert is_near(frames[36][1][110, 160], (128, 128, 128))


def test_sparse_samples_show_a_box_only_around_each(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "grey.mp4", grey(50, (160, 120)), fps=5)
    verdict = one_person([0.0, 4.0, 8.0], [(40, 40, 40, 50)] * 3)
    annotate(clip, verdict, tmp_path / "marked.mp4")
    seen = [time for time, image in frames_of(tmp_path / "marked.mp4") if has_box(image, 40, 40, 50)]
    assert seen == pytest.approx([0.0, 0.2, 3.8, 4.0, 4.2, 7.8, 8.0, 8.2])


def test_rotated_odd_sized_and_variable_rate(tmp_path: Path) -> None:
    times = [0, 40, 90, 200, 230, 400, 410, 600]
    clip = media.write_video(
        tmp_path / "phone.mov", grey(8, (322, 242)), rotation=90, times_ms=times, pix_fmt="yuv444p"
    )
    annotate(clip, of_any_file(made.fake()), tmp_path / "marked.mp4")
    frames = frames_of(tmp_path / "marked.mp4")
    assert [time for time, _ in frames] == pytest.approx([time / 1000 for time in times], abs=1e-3)
    assert frames[0][1].shape == (322, 242, 3)
    with av.open(str(tmp_path / "marked.mp4")) as file:
        assert next(file.decode(video=0)).rotation == 0


def test_odd_sides_lose_a_row(tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "odd.mkv", grey(3, (161, 121)), codec="libx264", pix_fmt="yuv444p")
    annotate(clip, of_any_file(made.no_face()), tmp_path / "marked.mp4")
    assert frames_of(tmp_path / "marked.mp4")[0][1].shape == (120, 160, 3)


def test_a_size_that_grows_midway_is_scaled_and_not_cut(tmp_path: Path) -> None:
    """As browsers record a call."""
    sizes = {"small": (160, 120), "large": (320, 240)}
    parts = []
    for name, (width, height) in sizes.items():
        image = np.full((height, width, 3), 128, np.uint8)
        image[height // 2 :, width // 2 :] = 255
        parts.append(media.write_video(tmp_path / f"{name}.webm", [image] * 5, codec="libvpx", fps=20))
    annotate(media.remux(tmp_path / "call.webm", *parts), of_any_file(made.no_face()), tmp_path / "marked.mp4")
    first, last = (frames_of(tmp_path / "marked.mp4")[place][1] for place in (0, -1))
    assert first.shape == last.shape
    assert abs(last[70:, 90:].astype(int) - 255).mean() < 5
    assert abs(last[70:, :70].astype(int) - 128).mean() < 5


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "pcm_s16le"), (".mkv", "libopus"), (".avi", "mp2")])
def test_sound_of_any_codec_becomes_aac(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = tmp_path / f"clip{suffix}"
    write_late(clip, sound=codec, late_s=0.0)
    annotate(clip, of_any_file(made.no_face()), tmp_path / "marked.mp4")
    name, samples, start = sound_of(tmp_path / "marked.mp4")
    assert name == "aac"
    assert abs(start + len(samples) / 48000 - 2.0) < 0.07
    assert beep(samples) + start == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_stays_in_step_when_the_video_starts_late(tmp_path: Path, codec: str) -> None:
    """The beep is 1 s after the sound's start, so 0.6 s after the first picture, which is time 0 of what is written."""
    write_late(tmp_path / "late.mkv", sound=codec, late_s=0.4)
    annotate(tmp_path / "late.mkv", of_any_file(made.no_face()), tmp_path / "marked.mp4")
    _, samples, start = sound_of(tmp_path / "marked.mp4")
    frames = frames_of(tmp_path / "marked.mp4")
    assert beep(samples) + start - frames[0][0] == pytest.approx(0.6, abs=0.03)


def write_late(path: Path, sound: str, late_s: float) -> None:
    """Two seconds of sound, silent for one and loud for one, beside a video that starts late."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        audio: Any = out.add_stream(sound, rate=48000, layout="mono")
        for number, image in enumerate(grey(40, (160, 120))):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(late_s * 25) + number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for start in range(0, 96000, 960):
            wave = (start >= 48000) * 0.5 * np.sin(np.arange(start, start + 960) / 10)
            frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            out.mux(audio.encode(frame))
        out.mux(audio.encode())


def beep(samples: np.ndarray) -> float:
    """Seconds until the sound gets loud."""
    loud = np.abs(samples.astype(np.float64))
    return float(np.argmax(loud > 0.3 * loud.max()) / 48000)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_still_becomes_a_marked_picture(tmp_path: Path, suffix: str) -> None:
    still = media.write_picture(tmp_path / "still.png", np.full((241, 321, 3), 128, np.uint8))
    out = tmp_path / f"marked{suffix}"
    annotate(still, one_person([0.0], [(60, 60, 80, 100)]), out)
    with Image.open(out) as picture:
        assert picture.size == (321, 241)
        comment = picture.info.get("Comment") or picture.info["comment"].decode()
        assert comment == ANNOTATED_MARK
        assert has_box(np.asarray(picture.convert("RGB")), 60, 60, 100)


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg"])
def test_a_marked_copy_is_known_as_one_when_it_is_scanned(suffix: str, portrait_clip: Path, tmp_path: Path) -> None:
    given = portrait_clip if suffix == ".mp4" else media.write_picture(tmp_path / "still.png", media.person())
    out = tmp_path / f"marked{suffix}"
    annotate(given, of_any_file(made.fake()), out)
    assert any("scan the original" in note for note in provenance(out, probe(out)).notes)
    assert not any("scan the original" in note for note in provenance(given, probe(given)).notes)


def test_boxes_beyond_the_picture_and_tiny_pictures(tmp_path: Path) -> None:
    still = media.write_picture(tmp_path / "tiny.png", np.full((16, 16, 3), 128, np.uint8))
    annotate(still, one_person([0.0], [(-20, -30, 90, 90)]), tmp_path / "marked.png")
    with Image.open(tmp_path / "marked.png") as picture:
        assert picture.size == (16, 16)


def test_names_that_do_not_fit_are_refused(portrait_clip: Path, tmp_path: Path) -> None:
    still = media.write_picture(tmp_path / "still.png", media.astronaut())
    with pytest.raises(UsageError, match="annotated video"):
        annotate(portrait_clip, of_any_file(made.fake()), tmp_path / "marked.png")
    with pytest.raises(UsageError, match="annotated picture"):
        annotate(still, of_any_file(made.fake()), tmp_path / "marked.mp4")


def test_another_file_under_the_name_is_not_marked(portrait_clip: Path, tmp_path: Path) -> None:
    clip, other = tmp_path / "clip.mp4", tmp_path / "other.mp4"
    shutil.copy(portrait_clip, clip)
    verdict = replace(made.fake(), sha256=sha256_of(clip))
    annotate(clip, verdict, tmp_path / "marked.mp4")
    media.write_video(other, grey(5))
    os.replace(other, clip)
    with pytest.raises(UsageError, match=r"clip\.mp4 has changed since it was scanned"):
        annotate(clip, verdict, tmp_path / "again.mp4")
    assert not (tmp_path / "again.mp4").exists()


def test_what_cannot_be_read_or_written_is_named_and_leaves_nothing(portrait_clip: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 100)
    with pytest.raises(NotVideoError):
        annotate(text, of_any_file(made.fake()), tmp_path / "marked.mp4")
    with pytest.raises(FileMissingError):
        annotate(tmp_path / "none.mp4", of_any_file(made.fake()), tmp_path / "marked.mp4")
    with pytest.raises(OutputError):
        annotate(portrait_clip, of_any_file(made.fake()), tmp_path / "no" / "folder" / "marked.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def heated(label: Label, hot: tuple[int, int] | None = (3, 1), shift: float = 0.0) -> list[FaceScore]:
    """Two faces, a second apart, whose 4x4 heat map has one hot cell (row, column) and covers their box."""
    scores = [made.face(time, 0.9, box=(40.0 + shift * time, 60.0, 120.0, 120.0)) for time in (0.0, 1.0)]
    for score in scores:
        if hot is not None:
            score.heatmap = np.zeros((4, 4), np.float32)
            score.heatmap[hot] = 1.0
            x, y, w, h = score.box
            score.heat_to_frame = np.array([[w / 4, 0, x + w / 8], [0, h / 4, y + h / 8]])
    return scores


def marked(label: Label, scores: list[FaceScore], time_s: float = 0.0, region: str | None = None) -> np.ndarray:
    verdict = Verdict("a.mp4", label, p_fake=0.9, tracks=[made.track(1, label, scores, region=region)])
    return _Painter(verdict).paint(grey(1)[0], time_s)


def test_the_heat_map_glows_where_the_face_was_altered() -> None:
    image = marked(Label.FAKE, heated(Label.FAKE))
    red, green, blue = image[60 + 105, 40 + 45].astype(int)  # the middle of the hot cell
    assert red > 170 > 128 > green > blue - 30
    assert (image[60 + 45, 40 + 75] == 128).all()


def test_the_heat_map_moves_with_the_face() -> None:
    image = marked(Label.FAKE, heated(Label.FAKE, shift=80.0), time_s=0.5)
    assert image[60 + 105, 80 + 45, 0] > 170
    assert (image[60 + 105, 40 + 30] == 128).all()


@pytest.mark.parametrize(("label", "hot"), [(Label.REAL, (3, 1)), (Label.FAKE, None)])
def test_no_heat_over_real_people_and_without_a_map(label: Label, hot: tuple[int, int] | None) -> None:
    assert (marked(label, heated(label, hot))[60 + 105, 40 + 45] == 128).all()


def test_a_heat_map_that_reaches_beyond_the_picture() -> None:
    scores = heated(Label.FAKE)
    for score in scores:
        assert score.heat_to_frame is not None
        score.heat_to_frame[:, 2] += (-70, 100)
    assert marked(Label.FAKE, scores).shape == grey(1)[0].shape
    for score in scores:
        assert score.heat_to_frame is not None
        score.heat_to_frame[:, 2] += (5000, 5000)
    assert (marked(Label.FAKE, scores)[60 + 105, 40 + 45] == 128).all()


def test_not_all_tags_ever_drawn_are_kept() -> None:
    for letters in range(11, 200):
        _tag("", RED, letters)
    assert _tag.cache_info().currsize <= 128


def times_whole(image: np.ndarray, text: str, tone: tuple[int, int, int] = RED) -> int:
    """In how many places of a picture this tag stands with nothing over it."""
    tag = _tag(text, tone, 11)
    height, width = tag.shape[:2]
    alike = np.argwhere(cv2.matchTemplate(image, tag, cv2.TM_SQDIFF_NORMED) < 0.001).tolist()
    return sum((image[y : y + height, x : x + width] == tag).all() for y, x in alike)


@pytest.mark.parametrize(
    "boxes",
    [
        [(4.0, 16.0, 90.0, 120.0)],  # where the caption stands
        [(90.0, 80.0, 90.0, 110.0), (100.0, 84.0, 90.0, 104.0)],
        [(0.0, 0.0, 320.0, 240.0)],
    ],
)
def test_no_tag_covers_the_caption_or_another_tag(boxes: list[tuple[float, float, float, float]]) -> None:
    people = [
        made.track(number, Label.FAKE, [made.face(time, 0.9, box=box) for time in (0.0, 1.0)])
        for number, box in enumerate(boxes, start=1)
    ]
    image = _Painter(Verdict("a.mp4", Label.FAKE, p_fake=0.9, tracks=people)).paint(grey(1)[0], 0.0)
    assert times_whole(image, "facetell: FAKE p=0.90") == 1
    assert [times_whole(image, f"Person {person.id}  FAKE 0.90") for person in people] == [1] * len(people)
    assert times_whole(image, "now 0.90") == len(people)


def test_the_tag_names_the_part_of_a_suspected_face() -> None:
    without, named = (marked(Label.FAKE, heated(Label.FAKE, None), region=region) for region in (None, "mouth"))
    assert (without != named).any()
    without, named = (marked(Label.REAL, heated(Label.REAL, None), region=region) for region in (None, "mouth"))
    np.testing.assert_array_equal(without, named)
