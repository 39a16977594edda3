"""Forged and degraded files: decodable, marked, honest about gaps, worse with the CRF; bad input is refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.errors import FacetellError, ForgeError, OutputError, UsageError
from facetell.faces.detect import Detection, FaceDetector
from facetell.forge import blend, clips, masks, output, subject
from facetell.forge.presets import PRESETS
from facetell.video import VideoReader, probe, provenance
from tests import media


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """24 frames of one person, with sound."""
    path = tmp_path_factory.mktemp("forge") / "person.mp4"
    return media.write_video(path, media.portrait_frames(24), audio=True)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("forge") / "person.png"
    return media.write_picture(path, media.view(media.astronaut(), (320, 240), (225, 150), 300))


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    path = tmp_path_factory.mktemp("forge") / "donor.png"
    return media.write_picture(path, media.person(1))


def images(path) -> np.ndarray:
    with VideoReader(path, "every:1") as reader:
        return np.stack([frame.image for frame in reader]).astype(int)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one - other) ** 2))


def says_forged(path) -> bool:
    return any("forged by facetell" in note for note in provenance(path, probe(path)).notes)


def test_a_blended_clip_is_whole_marked_and_has_its_mask(clip, tmp_path):
    out, mask = tmp_path / "out.mp4", tmp_path / "mask.mp4"
    report = clips.blend_file(clip, out, family="face", seed=4, mask=mask)
    info = probe(out)
    assert (report.frames, report.forged, info.frame_count) == (24, 24, 24)
    assert info.audio is not None
    assert says_forged(out)
    before, after, where = images(clip), images(out), images(mask)[..., 0]
    top = np.s_[:, : before.shape[1] * 5 // 6]
    changed = np.abs(after - before).max(3)[top]
    assert changed[where[top] > 0.8 * where.max()].mean() > 1.5 * changed[where[top] < 5].mean()
    assert after[:, -8:].mean() < 0.6 * before[:, -8:].mean()  # the band with the visible mark


def test_without_the_mark_the_picture_is_clean_but_the_file_still_says_so(clip, photo, donor, tmp_path):
    clips.blend_file(clip, tmp_path / "out.mp4", family="mouth", mark=False)
    clips.swap_file(photo, tmp_path / "out.jpg", donor, mark=False)
    for path, source in (("out.mp4", clip), ("out.jpg", photo)):
        assert says_forged(tmp_path / path)
        assert 0.8 < images(tmp_path / path)[:, -8:].mean() / images(source)[:, -8:].mean() < 1.3  # no dark band


def test_masks_of_a_clip_move_smoothly_and_drift(clip):
    with VideoReader(clip, "every:1") as reader:
        frames = list(reader)
    face = subject.follow(frames, FaceDetector())
    for family in ("face", "eyes", "mouth"):
        made = blend.ClipBlend(frames[0].image, face.frame_points, np.random.default_rng(0), family)
        still = [made.apply(frames[0].image, face.points[0], t).mask for t in np.arange(50) / 25]
        steps = [np.abs(b - a).sum() / a.sum() for a, b in pairwise(still)]
        assert max(steps) < 0.04  # of the mask's area, from one frame to the next
        assert 0.02 < max(np.abs(mask - still[0]).sum() for mask in still) / still[0].sum() < 0.6
        colours = [
            made.apply(frame.image, points, frame.time_s) for frame, points in zip(frames, face.points, strict=True)
        ]
        shifts = [(f.fake.astype(int) - f.real)[f.mask > 0.5 * f.mask.max()].mean() for f in colours]
        assert np.std(shifts) < 6  # one mismatch for all frames


def test_points_are_steadied_within_a_run_only():
    still = masks.ANCHORS * 2 + 100
    noise = np.random.default_rng(0).normal(0, 1, (30, 5, 2))
    trembling = [still + n.astype(np.float32) for n in noise]
    steadied = np.stack([p for p in subject.smoothed(trembling) if p is not None])
    assert np.diff(steadied, axis=0).std() < 0.5 * np.diff(noise, axis=0).std()
    jump = subject.smoothed([still, still, still + 200, still + 200])
    assert [float(p[0, 0] - still[0, 0]) for p in jump if p is not None] == [0, 0, 200, 200]


def test_frames_without_the_face_are_counted_and_left(tmp_path):
    frames = [*media.portrait_frames(8), *[np.full((240, 320, 3), 90, np.uint8)] * 4, *media.portrait_frames(4)]
    source = media.write_video(tmp_path / "gap.mp4", frames)
    for verb in (
        lambda out: clips.blend_file(source, out, family="jaw", seed=37, mark=False),
        lambda out: clips.swap_file(source, out, source, mark=False),
    ):
        report = verb(tmp_path / "out.mp4")
        assert (report.frames, report.forged, report.gaps) == (16, 12, {"no face": 4})
        assert np.abs(images(tmp_path / "out.mp4") - images(source))[8:12].max() < 5  # what the encoder alone does
        (tmp_path / "out.mp4").unlink()


@pytest.mark.parametrize("family", ["lower", "face"])
def test_stills_round_trip_without_loss_outside_the_mask(photo, tmp_path, family):
    out, mask = tmp_path / "out.png", tmp_path / "mask.png"
    for seed in range(6):
        clips.blend_file(photo, out, family=family, seed=seed, mask=mask, mark=False, force=True)
        untouched = images(mask)[0, ..., 0] == 0
        difference = np.abs(images(out) - images(photo)).max(3)[0]
        assert difference.max() > 6
        assert difference[untouched].max() <= 1  # a grey level of 1/255 of the mask may round to 0


def test_the_same_seed_gives_the_same_file(photo, tmp_path):
    for name, seed in (("a.png", 5), ("b.png", 5), ("c.png", 6)):
        clips.blend_file(photo, tmp_path / name, seed=seed)
    one, other, third = (images(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_quality_and_rate_fall_as_the_crf_rises(clip, tmp_path, codec):
    before = images(clip)
    sizes, quality = [], []
    for crf in (18, 26, 34, 42):
        out = tmp_path / f"{crf}.mp4"
        clips.degrade_file(clip, out, codec, crf=crf)
        info = probe(out)
        assert info.codec == {"h264": "h264", "h265": "hevc"}[codec]
        assert info.frame_count == 24
        sizes.append(out.stat().st_size)
        quality.append(psnr(images(out), before))
    assert sizes == sorted(sizes, reverse=True)
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > quality[-1] + 4


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_decodes_and_does_something(clip, photo, tmp_path, preset):
    for source, name in ((clip, "out.mp4"), (photo, "out.png")):
        report = clips.degrade_file(source, tmp_path / name, preset)
        before, after = images(source), images(tmp_path / name)
        assert len(after) == len(before) == report.frames
        wanted = PRESETS[preset].apply(before[0].astype(np.uint8), np.random.default_rng(0)).shape
        assert after.shape[1:] == (wanted[0] // 2 * 2, wanted[1] // 2 * 2, 3) or after.shape[1:] == wanted
        assert after.shape != before.shape or psnr(after, before) < 45
        assert not says_forged(tmp_path / name)


def test_a_picture_too_small_for_the_encoder_is_refused(tmp_path):
    tiny = media.write_picture(tmp_path / "tiny.png", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ForgeError, match="10 × 10 pixels cannot be encoded as h265"):
        clips.degrade_file(tiny, tmp_path / "out.png", "h265")
    assert not (tmp_path / "out.png").exists()


def test_a_messaging_app_shrinks_and_compresses_twice(tmp_path):
    large = media.write_picture(tmp_path / "large.png", media.person(2).repeat(2, 0).repeat(2, 1))
    clips.degrade_file(large, tmp_path / "out.jpg")
    assert images(tmp_path / "out.jpg").shape[1:3] == (640, 640)


def test_what_was_forged_still_says_so_after_degrading(photo, tmp_path):
    clips.blend_file(photo, tmp_path / "fake.png")
    clips.degrade_file(tmp_path / "fake.png", tmp_path / "sent.jpg")
    assert says_forged(tmp_path / "sent.jpg")


def test_variable_frame_rates_keep_their_times(tmp_path):
    times = [0, 40, 50, 200, 230, 400]
    source = media.write_video(tmp_path / "phone.mp4", media.portrait_frames(6), times_ms=times)
    clips.degrade_file(source, tmp_path / "out.mp4", "h264")
    with VideoReader(tmp_path / "out.mp4", "every:1") as reader:
        assert [round(frame.time_s * 1000) for frame in reader] == times


def bad_inputs():
    grey = np.full((240, 320, 3), 90, np.uint8)
    yield grey, "no face"
    yield media.side_by_side([0, 1]), "several faces"
    small = grey.copy()
    small[80:144, 120:184] = media.view(media.astronaut(), (64, 64), (225, 130), 260)
    yield small, "no face|too small"


def test_pictures_without_exactly_one_good_face_are_refused(tmp_path, donor):
    for number, (image, reason) in enumerate(bad_inputs()):
        source = media.write_picture(tmp_path / f"{number}.png", image)
        for forge in (
            lambda source=source: clips.blend_file(source, tmp_path / "out.png"),
            lambda source=source: clips.swap_file(source, tmp_path / "out.png", donor),
            lambda source=source: clips.swap_file(donor, tmp_path / "out.png", source),
        ):
            with pytest.raises(ForgeError, match=reason):
                forge()
    assert not (tmp_path / "out.png").exists()


def cut_off() -> np.ndarray:
    """A portrait whose face is found but reaches over the left border."""
    return media.view(media.astronaut(), (320, 240), (340, 150), 200)


def test_a_picture_whose_face_is_cut_off_is_refused(donor, tmp_path):
    source = media.write_picture(tmp_path / "cut.png", cut_off())
    with pytest.raises(ForgeError, match="cut off by the picture's border"):
        clips.swap_file(source, tmp_path / "out.png", donor, mask=tmp_path / "mask.png")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.png"]


def test_a_clip_of_which_no_frame_can_be_forged_is_refused(donor, tmp_path):
    grey = np.full((240, 320, 3), 90, np.uint8)
    source = media.write_video(tmp_path / "cut.mp4", [*[cut_off()] * 4, grey])
    with pytest.raises(ForgeError, match=r"No frame of .* could be forged: 1 no face, 4 cut off"):
        clips.swap_file(source, tmp_path / "out.mp4", donor, mask=tmp_path / "mask.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.mp4"]


def test_profiles_are_refused(photo):
    profile = (
        masks.ANCHORS * np.array([0.3, 1], np.float32) + np.array([-12, 0], np.float32) * (np.arange(5) == 2)[:, None]
    )

    class Seen(FaceDetector):
        def detect(self, image):
            return [Detection((100, 60, 90, 110), (profile * 1.5 + 120).astype(np.float32), 0.95)]

    with VideoReader(photo, "every:1") as reader, pytest.raises(ForgeError, match="turned away"):
        subject.follow(reader, Seen())


def test_a_picture_upside_down_is_refused(tmp_path):
    path = media.write_picture(tmp_path / "turned.png", np.ascontiguousarray(media.astronaut()[::-1, ::-1]))
    with VideoReader(path, "every:1") as reader, pytest.raises(ForgeError, match=r"not upright\. Turn it upright"):
        subject.follow(reader, FaceDetector())


def test_a_donor_video_may_begin_without_its_face(photo, tmp_path):
    frames = [*[np.full((240, 320, 3), 90, np.uint8)] * 10, *media.portrait_frames(10, who=1)]
    donor = media.write_video(tmp_path / "donor.mp4", frames)
    assert clips.swap_file(photo, tmp_path / "out.png", donor).forged == 1


def test_animated_pictures_are_clips(tmp_path):
    from PIL import Image

    first, *others = (Image.fromarray(frame) for frame in media.portrait_frames(4))
    first.save(tmp_path / "moving.gif", save_all=True, append_images=others, duration=100)
    assert clips.blend_file(tmp_path / "moving.gif", tmp_path / "out.mp4", family="face").frames == 4


def test_grey_pictures_can_be_forged(photo, tmp_path):
    from PIL import Image

    Image.open(photo).convert("L").save(tmp_path / "grey.png")
    assert clips.blend_file(tmp_path / "grey.png", tmp_path / "out.png", family="face").forged == 1


def test_a_failed_forgery_leaves_no_file(clip, tmp_path, monkeypatch):
    def fails(self, image, points, time_s):
        raise UsageError("stop")

    monkeypatch.setattr(blend.ClipBlend, "apply", fails)
    with pytest.raises(UsageError):
        clips.blend_file(clip, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_targets_that_do_not_fit_are_refused(clip, photo, tmp_path):
    kept = tmp_path / "kept.png"
    kept.write_bytes(b"mine")
    for source, target, kind, match in (
        (photo, kept, OutputError, "--force"),
        (photo, photo, UsageError, "read"),
        (photo, tmp_path / "out.mp4", UsageError, "picture"),
        (clip, tmp_path / "out.png", UsageError, "video"),
        (clip, tmp_path / "missing" / "out.mp4", OutputError, "folder"),
        (photo, tmp_path / ("a" * 300 + ".png"), OutputError, "File name too long"),
    ):
        with pytest.raises(kind, match=match):
            clips.degrade_file(source, target)
    assert kept.read_bytes() == b"mine"
    with pytest.raises(UsageError, match="family"):
        clips.blend_file(photo, tmp_path / "out.png", family="ear")
    with pytest.raises(UsageError, match="preset"):
        clips.degrade_file(photo, tmp_path / "out.png", "fax")
    with pytest.raises(UsageError, match="CRF"):
        clips.degrade_file(photo, tmp_path / "out.png", crf=60)
    with pytest.raises(FacetellError, match="mask"):
        clips.blend_file(photo, tmp_path / "out.png", mask=tmp_path / "out.png")


def test_the_mark_is_readable_at_any_size():
    for height, width in ((90, 120), (240, 320), (1080, 1920)):
        plain = np.full((height, width, 3), 200, np.uint8)
        shown = output.marked(plain)
        assert np.array_equal(shown[: height * 4 // 5], plain[: height * 4 // 5])
        assert (shown[-(height // 10) :] > 180).any()
        assert shown.min() <= 50


def test_odd_sizes_are_evened(tmp_path):
    source = media.write_picture(tmp_path / "x.png", np.zeros((33, 35, 3), np.uint8))
    with output.clip_writer(tmp_path / "x.mp4", (35, 33), Fraction(25), "note") as writer:
        writer.write(images(source)[0].astype(np.uint8), 0)
    assert (probe(tmp_path / "x.mp4").width, probe(tmp_path / "x.mp4").height) == (34, 32)


@pytest.mark.parametrize("size", [(320, 180), (1280, 720)])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mov", "h264"), (".mkv", "h264"), (".mp4", "h265")])
def test_colours_come_back_whatever_the_size(tmp_path, size, suffix, codec):
    """Small videos are read as BT.601 where they do not say what they are, HD as BT.709."""
    path = tmp_path / f"x{suffix}"
    for colour in ((200, 60, 40), (30, 90, 220), 128):
        shape = (size[1], size[0]) if isinstance(colour, int) else (size[1], size[0], 3)
        with output.clip_writer(path, size, Fraction(25), "note", codec, crf=2) as writer:
            for number in range(4):
                writer.write(np.broadcast_to(colour, shape).astype(np.uint8), number / 25)
        assert np.abs(images(path).mean((0, 1, 2)) - colour).max() < 4


def test_a_degraded_hd_video_keeps_its_colours(tmp_path):
    frames = [np.full((720, 1280, 3), (200, 60, 40), np.uint8)] * 3
    source = media.write_video(tmp_path / "hd.mp4", frames)
    clips.degrade_file(source, tmp_path / "out.mp4", "double")
    assert np.abs(images(tmp_path / "out.mp4").mean((0, 1, 2)) - images(source).mean((0, 1, 2))).max() < 5


def test_the_command_line(clip, photo, donor, tmp_path):
    run = CliRunner().invoke
    out = str(tmp_path / "out.png")
    done = run(app, ["forge", "blend", str(photo), "-o", out, "--family", "eyes", "--seed", "4"])
    assert done.exit_code == 0, done.output
    assert "blend of eyes" in done.output
    again = run(app, ["forge", "blend", str(photo), "-o", out])
    assert again.exit_code == 2
    assert "--force" in again.output
    swapped = run(app, ["forge", "swap", str(photo), "-o", out, "--face", str(donor), "--blend", "soft", "--force"])
    assert swapped.exit_code == 0, swapped.output
    sent = run(
        app, ["forge", "degrade", str(clip), "-o", str(tmp_path / "out.mp4"), "--preset", "small", "--crf", "35"]
    )
    assert sent.exit_code == 0, sent.output
    assert "24 frames" in sent.output


def test_a_crf_of_0_encodes_pictures_too(photo, tmp_path):
    for codec in ("h264", "h265"):
        clips.degrade_file(photo, tmp_path / f"{codec}.png", codec, crf=0)
        assert not np.array_equal(images(tmp_path / f"{codec}.png"), images(photo))  # colours at half the resolution


def test_the_donor_is_not_overwritten(photo, donor, tmp_path):
    mine = tmp_path / "mine.png"
    mine.write_bytes(donor.read_bytes())
    for targets in ((mine, None), (tmp_path / "out.png", mine)):
        with pytest.raises(UsageError, match=r"mine\.png is also what is to be read"):
            clips.swap_file(photo, targets[0], mine, mask=targets[1], force=True)
    assert mine.read_bytes() == donor.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_the_mask_under_another_name_of_the_same_file_is_refused(photo, tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="both the forgery and its mask"):
        clips.blend_file(photo, tmp_path / "m.png", mask=tmp_path / "sub" / ".." / "m.png")


@pytest.mark.parametrize("name", ["missing/out.mp4", "missing/mask.mp4"])
def test_a_missing_folder_is_named_before_any_frame_is_looked_at(clip, tmp_path, monkeypatch, name):
    monkeypatch.setattr(subject, "follow", lambda *_: pytest.fail("a frame was looked at"))
    out, mask = (tmp_path / name, None) if "out" in name else (tmp_path / "out.mp4", tmp_path / name)
    with pytest.raises(OutputError, match="There must be a folder"):
        clips.blend_file(clip, out, mask=mask)
