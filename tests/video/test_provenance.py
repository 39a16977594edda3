"""What is said of a file's making."""

import zlib
from pathlib import Path

import av
import pytest
from PIL import Image, PngImagePlugin

from facetell.types import Provenance
from facetell.video import probe, provenance, stills
from facetell.video.origin import ANNOTATED_MARK, FORGED_MARK
from tests import media


def of(path: Path) -> Provenance:
    return provenance(path, probe(path))


def clip(path: Path, **options: object) -> Path:
    return media.write_video(path, media.numbered_frames(12), **options)  # pyright: ignore[reportArgumentType]


def said(found: Provenance, words: str) -> bool:
    return any(words in note for note in found.notes)


def test_encoder_settings_and_re_encoding_are_found(tmp_path: Path) -> None:
    found = of(clip(tmp_path / "a.mp4"))
    assert found.encoder is not None
    assert found.encoder.startswith("Lavf")
    assert found.tags["encoder_settings"].startswith("x264 - core")
    assert said(found, "written by FFmpeg")
    assert said(found, "Neither camera nor time")
    assert found.device is None


def test_a_phone_is_named(tmp_path: Path) -> None:
    tags = {
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "iPhone 15",
        "com.apple.quicktime.creationdate": "2026-03-01T12:00:00+0100",
    }
    found = of(clip(tmp_path / "a.mov", metadata=tags, times_ms=[k * k * 20 for k in range(12)]))
    assert (found.device, found.created) == ("Apple iPhone 15", "2026-03-01T12:00:00+0100")
    assert not said(found, "Neither camera")
    assert not said(found, "frame rate varies")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"comment": f"{FORGED_MARK} 0.1.0"}, "forged by facetell"),
        ({"comment": ANNOTATED_MARK}, "scan the original instead"),
        ({"handler_name": "ISO Media file produced by Google Inc."}, "written by Google"),
        ({"comment": "Made with Runway"}, "mention Runway, the name of a generator of synthetic media"),
        ({"software": "Adobe Premiere Pro 2025"}, "mention Premiere, the name of an editing program"),
    ],
)
def test_marks_in_the_tags(tags: dict[str, str], words: str, tmp_path: Path) -> None:
    assert said(of(clip(tmp_path / "a.mp4", metadata=tags)), words)


@pytest.mark.parametrize(
    "tags",
    [
        {"artist": "Sora Tanaka"},
        {"title": "Las Vegas trip"},
        {"location": "Runway 27"},
        {"comment": "The Premiere, with Roop and Luma: made by Pika"},
    ],
)
def test_words_that_are_also_a_programs_name_accuse_nothing(tags: dict[str, str], tmp_path: Path) -> None:
    assert not said(of(clip(tmp_path / "a.mkv", metadata=tags)), "The tags mention")


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"software": "Sora 2"}, "Sora"),
        ({"comment": "edited with Blender"}, "Blender"),
        ({"title": "Cut in Final Cut Pro"}, "Final Cut"),
        ({"title": "Midjourney test"}, "Midjourney"),
        ({"xmp": "<x:xmpmeta><rdf:Description xmp:CreatorTool='Canva (Renderer)'/>"}, "Canva"),
    ],
)
def test_a_program_is_known_by_its_field_or_by_a_name_that_is_nothing_else(
    tags: dict[str, str], name: str, tmp_path: Path
) -> None:
    assert said(of(clip(tmp_path / "a.mkv", metadata=tags)), f"mention {name}, the name of")


def test_a_variable_rate_without_a_phone_is_odd(tmp_path: Path) -> None:
    assert said(of(clip(tmp_path / "a.mp4", times_ms=[k * k * 20 for k in range(12)])), "frame rate varies")


def test_b_frames_that_were_cut_off_do_not_make_the_rate_vary(tmp_path: Path) -> None:
    options = {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"}
    path = clip(tmp_path / "a.mp4", options=options)
    whole = media.remux(tmp_path / "fast.mp4", path, options={"movflags": "faststart"})
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: packets[6].pos])  # frames 0, 4, 1, 2, 3 and 8, but not 5, 6 and 7
    info = probe(cut)
    assert (info.frame_count, info.frame_rate, info.variable_frame_rate) == (6, 30, False)
    assert said(of(cut), "cut off")
    assert not said(of(cut), "frame rate varies")


def test_a_rate_that_varies_still_does_after_a_cut(tmp_path: Path) -> None:
    times = [40 * k + 15 * (k % 2) for k in range(60)]
    path = media.write_video(tmp_path / "a.mp4", media.numbered_frames(60), times_ms=times)
    whole = media.remux(tmp_path / "fast.mp4", path, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    assert said(of(cut), "cut off")
    assert said(of(cut), "frame rate varies")


def test_lengths_that_differ_are_odd(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    long = media.write_video(tmp_path / "b.mkv", media.numbered_frames(90), gop=30)
    long.write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    assert said(of(long), "says it lasts")
    assert not said(of(clip(tmp_path / "c.mkv", audio=True)), "says it lasts")
    late = [4000 + 33 * k for k in range(30)]
    begun = media.write_video(tmp_path / "d.mkv", media.numbered_frames(30), times_ms=late)
    assert not said(of(begun), "says it lasts")


def test_a_trimmed_clip_is_not_called_cut_off(tmp_path: Path) -> None:
    whole = media.write_video(tmp_path / "whole.mp4", media.numbered_frames(90), gop=300)
    trimmed = media.remux(tmp_path / "trim.mp4", whole, shift_s=-1.0, options={"avoid_negative_ts": "disabled"})
    assert probe(trimmed).frame_count == 60
    found = of(trimmed)
    assert said(found, "30 frames are in the file but not shown")
    assert not said(found, "cut off")


def test_joined_recordings_are_odd(tmp_path: Path) -> None:
    part = clip(tmp_path / "part.ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * part.read_bytes())
    assert said(of(joined), "recordings were joined")
    assert not said(of(part), "recordings were joined")


def test_a_long_or_binary_tag_is_kept_short(tmp_path: Path) -> None:
    found = of(clip(tmp_path / "a.mkv", metadata={"comment": "x" * 5000}))
    assert all(len(value) <= 1000 for value in found.tags.values())


def test_content_credentials_in_a_video(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    assert not said(of(path), "C2PA")
    manifest = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"\0" * 8 + b"jumb c2pa trainedAlgorithmicMedia"
    with path.open("ab") as file:
        file.write((len(manifest) + 8).to_bytes(4, "big") + b"uuid" + manifest)
    assert said(of(path), "content credentials")
    assert said(of(path), "trained algorithm")


def test_content_credentials_in_pictures(tmp_path: Path) -> None:
    jpeg = media.write_picture(tmp_path / "a.jpg", media.person())
    data, segment = jpeg.read_bytes(), b"JP\0\1\0\0\0\1\0\0\0\x20jumb c2pa"
    jpeg.write_bytes(data[:2] + b"\xff\xeb" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    png = media.write_picture(tmp_path / "a.png", media.person())
    data, chunk = png.read_bytes(), b"caBX" + b"jumb c2pa"
    end = len(data) - 12
    check = zlib.crc32(chunk).to_bytes(4, "big")
    png.write_bytes(data[:end] + (len(chunk) - 4).to_bytes(4, "big") + chunk + check + data[end:])
    webp = media.write_picture(tmp_path / "a.webp", media.person())
    data, chunk = webp.read_bytes(), b"C2PA" + (10).to_bytes(4, "little") + b"jumb c2pa "
    webp.write_bytes(data[:4] + (len(data) - 8 + len(chunk)).to_bytes(4, "little") + data[8:] + chunk)
    for path in (jpeg, png, webp):
        assert said(of(path), "content credentials"), path.name


@pytest.mark.parametrize("suffix", [".tif", ".heic"])
def test_pictures_that_are_not_looked_at_are_counted(suffix: str, tmp_path: Path) -> None:
    stills.load_formats()
    people = [Image.fromarray(media.person(number)) for number in range(3)]
    path = tmp_path / f"a{suffix}"
    people[0].save(path, save_all=True, append_images=people[1:])
    assert said(of(path), "holds 2 more pictures")
    people[0].save(path, save_all=True, append_images=people[1:2])
    assert said(of(path), "holds 1 more picture,")
    people[0].save(path)
    assert not said(of(path), "more picture")


@pytest.mark.parametrize("suffix", [".jpg", ".gif"])
def test_what_a_phone_adds_to_a_jpeg_and_the_frames_of_an_animation_are_not(suffix: str, tmp_path: Path) -> None:
    people = [Image.fromarray(media.person(number)) for number in range(2)]
    kind = {".jpg": "MPO", ".gif": "GIF"}[suffix]
    people[0].save(tmp_path / f"a{suffix}", kind, save_all=True, append_images=people[1:])
    assert not said(of(tmp_path / f"a{suffix}"), "more picture")


def test_the_gain_map_of_a_phones_jpeg_is_not(tmp_path: Path) -> None:
    """Ultra HDR: an MPO by its marks, which Pillow opens as a JPEG."""
    people = [Image.fromarray(media.person(number)) for number in range(2)]
    path = tmp_path / "a.jpg"
    people[0].save(path, "MPO", save_all=True, append_images=people[1:])
    data, segment = path.read_bytes(), b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0"/>'
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    with Image.open(path) as image:
        assert image.format == "JPEG"
    assert not said(of(path), "more picture")


def test_pictures_after_a_jpeg_are_counted(tmp_path: Path) -> None:
    """A raw Motion JPEG begins like a picture, behind which the rest would be hidden."""
    jpeg = media.write_picture(tmp_path / "a.jpg", media.person()).read_bytes()
    path = tmp_path / "a.mjpeg"
    path.write_bytes(jpeg * 3)
    assert said(of(path), "holds 2 more pictures")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_further_videos_are_counted(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=30) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for image in media.numbered_frames(10):
            for stream in streams:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image[:240, :320].copy(), format="rgb24")))
        for stream in streams:
            file.mux(stream.encode())
    assert said(of(path), "holds 1 more video,")
    assert not said(of(clip(tmp_path / f"b{suffix}", audio=True)), "more video")


def test_pages_of_a_tiff_that_lead_nowhere_or_in_a_circle_end(tmp_path: Path) -> None:
    people = [Image.fromarray(media.person(number)) for number in range(2)]
    path = tmp_path / "a.tif"
    people[0].save(path, save_all=True, append_images=people[1:])
    data = path.read_bytes()
    first = int.from_bytes(data[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    for to in (first, len(data) + 99):
        path.write_bytes(data[:link] + to.to_bytes(4, "little") + data[link + 4 :])
        assert not said(of(path), "more picture")


def test_what_cameras_and_generators_write_into_pictures(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0132] = "Canon", "EOS R5", "2026:01:02 03:04:05"
    found = of(media.write_picture(tmp_path / "a.jpg", media.person(), exif=tags))
    assert (found.device, found.created) == ("Canon EOS R5", "2026:01:02 03:04:05")
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "portrait of nobody, Steps: 20, Sampler: Euler")
    assert said(of(media.write_picture(tmp_path / "b.png", media.person(), pnginfo=text)), "prompt or workflow")
    assert of(media.write_picture(tmp_path / "c.png", media.person())).notes == ()
