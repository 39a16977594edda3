import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facetell import __version__
from facetell.cli import app
from facetell.detectors import zoo
from facetell.files import sha256_of
from facetell.report import terminal
from facetell.scanning import scoring
from facetell.types import Verdict
from tests import media
from tests.detectors.networks import brightness, saying, write


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A detector that calls every face real."""
    return str(saying(tmp_path_factory.mktemp("real"), -5.0))


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A detector that calls every face fake, also where thirty people are seen."""
    return str(saying(tmp_path_factory.mktemp("fake"), 50.0))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(media.write_picture(tmp_path_factory.mktemp("photo") / "photo.jpg", media.astronaut()))


@pytest.fixture(scope="module")
def empty_scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("blocks") / "blocks.mp4"
    return str(media.write_video(path, media.numbered_frames(12)))


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def judged(*arguments: object) -> tuple[int, list[dict]]:
    """Exit code and verdicts of `scan … --json -`."""
    result = run("scan", *arguments, "--json", "-")
    return result.exit_code, json.loads(result.stdout)["verdicts"]


def marked_name(path: str | Path, suffix: str) -> str:
    """What the marked copy of a file is called in a folder."""
    return f"{Path(path).stem}-{sha256_of(path)[:8]}-marked{suffix}"


class TestExitCodes:
    def test_real(self, real: str, photo: str) -> None:
        assert run("scan", photo, "--detector", real).exit_code == 0

    def test_inconclusive(self, tmp_path: Path, photo: str) -> None:
        assert run("scan", photo, "--detector", saying(tmp_path, 2.0)).exit_code == 0

    def test_fake(self, fake: str, photo: str) -> None:
        assert run("scan", photo, "--detector", fake).exit_code == 1

    def test_no_face_also_beside_a_fake(self, fake: str, photo: str, empty_scene: str) -> None:
        assert run("scan", photo, empty_scene, "--detector", fake).exit_code == 2

    def test_error_also_beside_a_fake(self, fake: str, photo: str) -> None:
        assert run("scan", "missing.mp4", photo, "--detector", fake).exit_code == 2

    def test_exit_zero(self, fake: str, photo: str) -> None:
        assert run("scan", "missing.mp4", photo, "--detector", fake, "--exit-zero").exit_code == 0

    def test_exit_zero_forgives_no_wrong_use(self, photo: str) -> None:
        assert run("scan", photo, "--detector", "nosuch", "--exit-zero").exit_code == 2


class TestOutput:
    def test_the_terminal_says_verdict_person_and_threshold(self, fake: str, portrait_clip: Path) -> None:
        result = run("scan", portrait_clip, "--detector", fake)
        assert "FAKE" in result.stdout
        assert "Person 1" in result.stdout
        assert "20 frames sampled, 20 with a face" in " ".join(result.stdout.split())
        assert result.stderr == ""

    def test_json_on_standard_output_stands_alone_and_in_order(self, fake: str, photo: str, empty_scene: str) -> None:
        code, verdicts = judged("missing.mp4", photo, empty_scene, "--detector", fake)
        assert code == 2
        assert [verdict["path"] for verdict in verdicts] == ["missing.mp4", photo, empty_scene]
        assert [verdict["label"] for verdict in verdicts] == ["ERROR", "FAKE", "NO_FACE"]
        assert verdicts[0]["error"]["type"] == "FileMissingError"
        assert verdicts[1]["sha256"] == sha256_of(photo)
        assert [verdict["p_fake"] is None for verdict in verdicts] == [True, False, True]

    def test_csv_on_standard_output(self, fake: str, photo: str) -> None:
        result = run("scan", photo, "--detector", fake, "--csv", "-")
        (row,) = csv.DictReader(io.StringIO(result.stdout))
        assert row["label"] == "FAKE"
        assert float(row["p_fake"]) > 0.99

    def test_all_files_at_once(self, tmp_path: Path, fake: str, portrait_clip: Path) -> None:
        targets = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "html")}
        marked = tmp_path / "marked.mp4"
        options = [part for kind, path in targets.items() for part in (f"--{kind}", path)]
        result = run("scan", portrait_clip, "--detector", fake, *options, "--annotate", marked)
        assert result.exit_code == 1
        assert json.loads(targets["json"].read_text())["schema"] == "facetell/1"
        assert targets["csv"].read_text().count("\n") == 21
        assert "data:image/" in targets["html"].read_text()
        with av.open(str(marked)) as video:
            assert len(video.streams.audio) == 1

    def test_no_pictures_are_held_until_the_page_is_written(
        self, tmp_path: Path, fake: str, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[Verdict] = []
        monkeypatch.setattr(terminal, "summary", lambda verdicts: held.extend(verdicts) or "")
        run("scan", portrait_clip, portrait_clip, "--detector", fake, "--html", tmp_path / "out.html")
        assert len(held) == 2
        assert all(face.crop is None for verdict in held for track in verdict.tracks for face in track.scores)
        assert "data:image/jpeg" in (tmp_path / "out.html").read_text()

    def test_several_are_annotated_into_a_folder_under_names_of_their_own(
        self, tmp_path: Path, fake: str, photo: str, portrait_clip: Path
    ) -> None:
        folder = tmp_path / "marked"
        run("scan", photo, portrait_clip, photo, "missing.mp4", "--detector", fake, "--annotate", folder)
        assert {path.name for path in folder.iterdir()} == {
            marked_name(photo, ".png"),
            marked_name(portrait_clip, ".mp4"),
        }

    def test_a_marked_copy_never_takes_the_place_of_another_files(
        self, tmp_path: Path, real: str, portrait_clip: Path
    ) -> None:
        for number, name in enumerate(("one", "two")):
            (tmp_path / name).mkdir()
            picture = media.write_picture(tmp_path / name / "photo.png", media.astronaut()[number:])
            run("scan", tmp_path / name, "--detector", real, "--annotate", tmp_path / "out")
            assert (tmp_path / "out" / marked_name(picture, ".png")).is_file()
        assert len(list((tmp_path / "out").iterdir())) == 2

    def test_a_copy_that_cannot_be_marked_is_said_and_counts_as_failure(
        self, tmp_path: Path, real: str, photo: str
    ) -> None:
        result = run("scan", photo, "--detector", real, "--annotate", tmp_path / "marked.mp4")
        assert result.exit_code == 2
        assert "no name for an annotated picture" in result.stderr

    def test_quiet_is_one_line_per_file(self, fake: str, photo: str) -> None:
        result = run("scan", photo, "missing.mp4", "--detector", fake, "--quiet")
        assert result.stdout.splitlines() == [f"{photo}: FAKE 0.999", "missing.mp4: ERROR"]
        assert result.stderr.splitlines() == ["facetell: missing.mp4 does not exist. Check the path."]

    def test_several_files_end_in_a_table(self, fake: str, photo: str) -> None:
        result = run("scan", photo, "missing.mp4", "--detector", fake)
        assert "2 files: 1 FAKE, 1 ERROR" in result.stdout


class TestOptions:
    def test_sample_start_and_end(self, real: str, portrait_clip: Path) -> None:
        _, (verdict,) = judged(portrait_clip, "--detector", real, "--sample", "every:3", "--start", 1, "--end", 1.5)
        times = [score["time_s"] for score in verdict["tracks"][0]["scores"]]
        assert len(times) == 6
        assert times[0] >= 1.0
        assert times[-1] <= 1.5

    def test_rate_and_prior(self, tmp_path: Path, photo: str) -> None:
        detector = saying(tmp_path, 2.0)
        _, (strict,) = judged(photo, "--detector", detector)
        code, (loose,) = judged(photo, "--detector", detector, "--fpr", 0.05, "--prior", 0.1)
        assert (strict["label"], loose["label"], code) == ("INCONCLUSIVE", "FAKE", 1)
        assert loose["false_positive_rate"] == 0.05
        assert loose["prior"] == 0.1
        assert loose["p_fake"] < strict["p_fake"]

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            (["--sample", "now:and:then"], "now:and:then"),
            (["--fpr", "0.5"], "Ask for 0.05, 0.01."),
            (["--prior", "0"], "prior"),
            (["--start", "3", "--end", "2"], "Start must lie before end."),
            (["--end", "inf"], "--end cannot be inf. Give a number of seconds."),
            (["--start", "nan"], "--start cannot be nan."),
            (["--device", "abacus"], "It has cpu"),
            (["--detector", "nosuch"], "no shipped detector 'nosuch'"),
            (["--detector", "missing.onnx"], "no detector file missing.onnx"),
            (["--detector", __file__], "is not an ONNX file"),
        ],
    )
    def test_wrong_use_is_one_line_and_exit_2(self, real: str, photo: str, options: list[str], complaint: str) -> None:
        detector = [] if "--detector" in options else ["--detector", real]
        result = run("scan", photo, *detector, *options)
        assert result.exit_code == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert complaint in line

    def test_verbose_shows_where_an_error_arose(self, real: str, photo: str) -> None:
        assert "Traceback" in run("scan", photo, "--detector", "nosuch", "--verbose").stderr
        assert "Traceback" not in run("scan", photo, "--detector", "nosuch").stderr


class TestOutputPaths:
    @pytest.mark.parametrize("option", ["--json", "--csv", "--html", "--annotate"])
    def test_a_folder_that_is_not_there(self, tmp_path: Path, real: str, photo: str, option: str) -> None:
        target = tmp_path / "missing" / "out"
        result = run("scan", photo, "--detector", real, option, target)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert str(target) in line
        assert result.stdout == ""

    @pytest.mark.parametrize("option", ["--json", "--csv", "--html", "--annotate"])
    def test_what_is_scanned_is_never_overwritten(self, tmp_path: Path, real: str, option: str) -> None:
        photo = media.write_picture(tmp_path / "photo.png", media.astronaut())
        before = sha256_of(photo)
        result = run("scan", photo, "--detector", real, option, f"{tmp_path}/./photo.png")
        assert result.exit_code == 2
        assert sha256_of(photo) == before

    def test_one_place_for_two_things(self, tmp_path: Path, real: str, photo: str) -> None:
        for target in ("-", tmp_path / "same"):
            result = run("scan", photo, "--detector", real, "--json", target, "--csv", target)
            assert result.exit_code == 2
            assert "given twice" in result.stderr

    def test_a_folder_as_output_file(self, tmp_path: Path, real: str, photo: str) -> None:
        result = run("scan", photo, "--detector", real, "--json", tmp_path)
        assert result.exit_code == 2
        assert "is a folder" in result.stderr

    def test_devices_are_written_to_and_not_replaced(self, real: str, photo: str) -> None:
        result = run("scan", photo, "--detector", real, "--json", os.devnull)
        assert result.exit_code == 0
        assert Path(os.devnull).is_char_device()
        assert run("scan", photo, "--detector", real, "--annotate", os.devnull).exit_code == 2
        assert Path(os.devnull).is_char_device()

    def test_a_link_is_written_through(self, tmp_path: Path, real: str, photo: str) -> None:
        (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
        run("scan", photo, "--detector", real, "--json", tmp_path / "link.json")
        assert (tmp_path / "link.json").is_symlink()
        assert json.loads((tmp_path / "target.json").read_text())

    def test_a_link_into_a_folder_that_is_not_there_is_refused_before_the_scan(
        self, tmp_path: Path, real: str, photo: str
    ) -> None:
        (tmp_path / "link.json").symlink_to(tmp_path / "missing" / "target.json")
        result = run("scan", photo, "--detector", real, "--json", tmp_path / "link.json")
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"There must be a folder {tmp_path / 'missing'}" in result.stderr

    def test_a_file_as_folder_of_annotated_copies(self, tmp_path: Path, real: str, photo: str) -> None:
        (tmp_path / "file").touch()
        result = run("scan", photo, photo, "--detector", real, "--annotate", tmp_path / "file")
        assert result.exit_code == 2
        assert "cannot be made" in result.stderr

    def test_a_closed_folder_of_annotated_copies_is_said_before_the_scan(
        self, tmp_path: Path, real: str, photo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marked = tmp_path / "marked"
        marked.mkdir()
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(marked) and access(path, mode))
        result = run("scan", photo, photo, "--detector", real, "--annotate", marked, "--json", tmp_path / "out.json")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"facetell: Nothing can be written to the folder {marked}. Choose another folder.\n"
        assert [path.name for path in tmp_path.iterdir()] == ["marked"]

    def test_marked_copies_are_not_written_over_what_is_scanned(self, tmp_path: Path, real: str) -> None:
        photo = media.write_picture(tmp_path / "photo.png", media.astronaut())
        run("scan", photo, photo, "--detector", real, "--annotate", tmp_path)
        copy = tmp_path / marked_name(photo, ".png")
        before, of_copy = sha256_of(copy), marked_name(copy, ".png")
        result = run("scan", photo, copy, "--detector", real, "--annotate", tmp_path)
        assert result.exit_code == 2
        assert f"{copy} is not written over" in result.stderr
        assert sha256_of(copy) == before
        assert {path.name for path in tmp_path.iterdir()} == {"photo.png", copy.name, of_copy}

    def test_marked_copies_in_a_scanned_folder_are_not_scanned_themselves(self, tmp_path: Path, real: str) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        media.write_picture(folder / "photo.png", media.astronaut())
        (tmp_path / "link").symlink_to(folder, target_is_directory=True)
        for marked in (folder / "marked", tmp_path / "link" / "marked"):
            for _ in range(2):
                _, verdicts = judged(folder, "--detector", real, "--annotate", marked)
                assert [verdict["path"] for verdict in verdicts] == [str(folder / "photo.png")]
        (copy,) = (folder / "marked").iterdir()
        assert copy.name == marked_name(folder / "photo.png", ".png")

    def test_a_folder_is_not_marked_into_itself_nor_into_one_around_it(self, tmp_path: Path, real: str) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        media.write_picture(folder / "photo.png", media.astronaut())
        for marked in (folder, tmp_path, f"{folder}/../in"):
            result = run("scan", folder, "--detector", real, "--annotate", marked)
            assert (result.exit_code, result.stdout) == (2, "")
            assert "another folder" in result.stderr
        assert [path.name for path in folder.iterdir()] == ["photo.png"]

    @pytest.mark.skipif(os.name != "posix", reason="names of 255 bytes")
    def test_a_name_of_full_length_is_marked_too(self, tmp_path: Path, real: str, photo: str) -> None:
        long = tmp_path / ("\u00e9" * 125 + ".jpg")
        long.write_bytes(Path(photo).read_bytes())
        assert run("scan", long, photo, "--detector", real, "--annotate", tmp_path / "out").exit_code == 0
        assert (tmp_path / "out" / ("\u00e9" * 100 + f"-{sha256_of(photo)[:8]}-marked.png")).is_file()

    def test_a_folder_of_one_is_annotated_into_a_folder(self, tmp_path: Path, real: str) -> None:
        (tmp_path / "in").mkdir()
        media.write_picture(tmp_path / "in" / "photo.png", media.astronaut())
        assert run("scan", tmp_path / "in", "--detector", real, "--annotate", tmp_path / "out").exit_code == 0
        assert (tmp_path / "out" / marked_name(tmp_path / "in" / "photo.png", ".png")).is_file()

    @pytest.mark.parametrize("option", ["--json", "--csv", "--html"])
    def test_what_cannot_be_an_output_is_refused_before_the_scan(
        self, tmp_path: Path, real: str, photo: str, option: str
    ) -> None:
        for target in (tmp_path, tmp_path / ("n" * 300)):
            result = run("scan", photo, "--detector", real, option, target)
            assert (result.exit_code, result.stdout) == (2, "")
            assert str(target) in result.stderr
        result = run("scan", photo, "--detector", real, "--annotate", tmp_path / "marked.avi")
        assert (result.exit_code, result.stdout) == (2, "")

    def test_quiet_leaves_names_as_they_are(self, tmp_path: Path, real: str, photo: str) -> None:
        odd = tmp_path / "take:100:b.jpg"
        odd.write_bytes(Path(photo).read_bytes())
        assert str(odd) in run("scan", odd, "--detector", real, "--quiet").stdout


class TestBadInput:
    """Each ends in a named error or a true verdict, with the other files of the call still scanned."""

    def one_error(self, path: object, detector: str, photo: str, error: str) -> None:
        code, (bad, good) = judged(path, photo, "--detector", detector)
        assert code == 2
        assert (bad["label"], bad["p_fake"]) == ("ERROR", None)
        assert bad["error"]["type"] == error
        assert "\n" not in bad["error"]["message"]
        assert good["label"] == "FAKE"

    def test_missing(self, tmp_path: Path, fake: str, photo: str) -> None:
        self.one_error(tmp_path / "missing.mp4", fake, photo, "FileMissingError")

    @pytest.mark.parametrize("name", ["-", "https://example.org/clip.mp4"])
    def test_what_is_no_file_at_all_is_to_be_saved_to_one(self, fake: str, name: str) -> None:
        _, (verdict,) = judged(name, "--detector", fake)
        assert verdict["error"]["message"] == (
            f"{name} does not exist. Only files are read: save the video to one first."
        )

    def test_folder(self, tmp_path: Path, fake: str, photo: str) -> None:
        self.one_error(tmp_path, fake, photo, "FileMissingError")

    def test_pipe(self, tmp_path: Path, fake: str, photo: str) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        with open(os.open(tmp_path / "pipe.mp4", os.O_RDWR)):  # so that opening to read does not wait for a writer
            self.one_error(tmp_path / "pipe.mp4", fake, photo, "FileMissingError")

    @pytest.mark.parametrize("content", [b"", b"Not a video.\n" * 500, bytes(5000)])
    def test_no_video(self, tmp_path: Path, fake: str, photo: str, content: bytes) -> None:
        path = tmp_path / "text.mp4"
        path.write_bytes(content)
        self.one_error(path, fake, photo, "NotVideoError")

    def test_sound_only(self, tmp_path: Path, fake: str, photo: str) -> None:
        self.one_error(media.write_sound(tmp_path / "sound.m4a"), fake, photo, "NotVideoError")

    def test_mp4_without_its_end(self, tmp_path: Path, fake: str, photo: str, portrait_clip: Path) -> None:
        content = portrait_clip.read_bytes()
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[: len(content) // 2])
        self.one_error(path, fake, photo, "DamagedVideoError")

    def test_more_pixels_than_allowed(self, tmp_path: Path, fake: str, photo: str) -> None:
        Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
        self.one_error(tmp_path / "huge.png", fake, photo, "LimitError")

    def test_every_complaint_names_its_file_once(
        self, tmp_path: Path, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scoring, "MAX_CROPS", 1)
        network = brightness(frames=5, gain=10.0, bias=-4.0)
        clips = write(tmp_path, network, kind="clip", frames=5)
        lines = run("scan", portrait_clip, "missing.mp4", "--detector", clips).stderr.splitlines()
        assert lines[0].startswith(f"facetell: {portrait_clip}: This detector has to hold more than 1 faces at once.")
        assert lines[1].count("missing.mp4") == 1

    def test_a_frame_that_is_not_there(self, fake: str, photo: str) -> None:
        code, (verdict,) = judged(photo, "--detector", fake, "--sample", "at:150")
        assert (code, verdict["error"]["type"]) == (2, "UsageError")

    def test_a_stream_cut_off_in_the_middle_is_judged_by_what_is_there(self, tmp_path: Path, fake: str) -> None:
        whole = media.write_video(tmp_path / "whole.mkv", media.portrait_frames(60), gop=10).read_bytes()
        path = tmp_path / "cut.mkv"
        path.write_bytes(whole[: len(whole) // 2])
        code, (verdict,) = judged(path, "--detector", fake)
        assert (code, verdict["label"]) == (1, "FAKE")
        assert 5 < verdict["coverage"]["frames_sampled"] <= 20

    def test_corrupt_packets_are_counted_and_passed_over(self, tmp_path: Path, fake: str) -> None:
        path = media.write_video(tmp_path / "clip.mkv", media.portrait_frames(60), gop=10)
        content = bytearray(path.read_bytes())
        for place in range(len(content) // 4, len(content) // 2, 40):
            content[place] ^= 0xFF
        path.write_bytes(content)
        code, (verdict,) = judged(path, "--detector", fake, "--sample", "every:1")
        assert (code, verdict["label"]) == (1, "FAKE")
        assert verdict["coverage"]["frames_sampled"] > 0

    def test_one_frame(self, tmp_path: Path, fake: str) -> None:
        path = media.write_video(tmp_path / "one.mp4", media.portrait_frames(1))
        code, (verdict,) = judged(path, "--detector", fake)
        assert (code, verdict["label"]) == (1, "FAKE")
        assert verdict["coverage"]["frames_sampled"] == 1

    def test_16_by_16_pixels(self, tmp_path: Path, fake: str) -> None:
        path = media.write_video(tmp_path / "tiny.mp4", media.portrait_frames(10, (16, 16)))
        code, (verdict,) = judged(path, "--detector", fake)
        assert verdict["label"] in ("NO_FACE", "INCONCLUSIVE")
        assert (code == 2) is (verdict["label"] == "NO_FACE")

    def test_8k(self, tmp_path: Path, fake: str) -> None:
        picture = media.view(media.astronaut(), (7680, 4320), (225, 150), 300)
        path = media.write_picture(tmp_path / "8k.jpg", picture)
        _, (verdict,) = judged(path, "--detector", fake)
        assert verdict["label"] == "FAKE"
        assert verdict["video"]["width"] == 7680

    def test_no_face(self, empty_scene: str, fake: str) -> None:
        code, (verdict,) = judged(empty_scene, "--detector", fake)
        assert (code, verdict["label"], verdict["p_fake"]) == (2, "NO_FACE", None)
        assert verdict["reasons"]

    def test_a_drawing_is_no_real_person(self, tmp_path: Path, real: str) -> None:
        drawing = Image.new("RGB", (400, 400), "white")
        from PIL import ImageDraw

        pen = ImageDraw.Draw(drawing)
        pen.ellipse((80, 40, 320, 360), outline="black", width=4)
        pen.ellipse((140, 150, 170, 170), fill="black")
        pen.ellipse((230, 150, 260, 170), fill="black")
        pen.arc((150, 220, 250, 300), 20, 160, fill="black", width=4)
        drawing.save(tmp_path / "drawing.png")
        _, (verdict,) = judged(tmp_path / "drawing.png", "--detector", real)
        faces = verdict["coverage"]["faces"]
        assert (verdict["label"] == "NO_FACE") is (faces == 0)

    def test_a_crowd_of_thirty(self, tmp_path: Path, fake: str) -> None:
        path = media.write_picture(tmp_path / "crowd.png", media.crowd(30))
        _, (verdict,) = judged(path, "--detector", fake)
        assert verdict["label"] == "FAKE"
        assert len(verdict["tracks"]) == verdict["coverage"]["faces"] >= 28

    @pytest.mark.parametrize(
        "name",
        [
            "two words.jpg",
            'quote\'s "and" more.jpg',
            "<script>alert(1)</script>.jpg",
            "Gesicht – 顔 – وجه – 😀.jpg",
            "-dash.jpg",
            "[bold red]markup[/].jpg",
            "escape\x1b[31m\nand line.jpg",
            "percent%20%s{}.jpg",
        ],
    )
    def test_odd_names(self, tmp_path: Path, fake: str, photo: str, name: str) -> None:
        path = tmp_path / name.replace("/", "∕")
        path.write_bytes(Path(photo).read_bytes())
        page = tmp_path / "page.html"
        result = run("scan", path, "--detector", fake, "--html", page, "--json", tmp_path / "out.json")
        assert result.exit_code == 1
        assert "\x1b" not in result.stdout
        (verdict,) = json.loads((tmp_path / "out.json").read_text())["verdicts"]
        assert verdict["path"] == str(path)
        assert "<script>alert" not in page.read_text()

    def test_names_that_are_no_text(self, tmp_path: Path, fake: str, photo: str) -> None:
        path = os.fsencode(tmp_path) + b"/latin-\xe9.jpg"
        Path(os.fsdecode(path)).write_bytes(Path(photo).read_bytes())
        done = subprocess.run(
            [sys.executable, "-m", "facetell", "scan", path, "--detector", fake, "--html", tmp_path / "page.html"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done.stderr
        assert "latin-" in done.stdout

    def test_altered_weights(self, tmp_path: Path, fake: str, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
        weights = tmp_path / "tiny.onnx"
        weights.write_bytes(Path(fake).read_bytes() + b"\0")
        monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
        monkeypatch.setattr(zoo, "SHIPPED", {"tiny": sha256_of(fake)})
        result = run("scan", photo, "--detector", "tiny")
        assert result.exit_code == 2
        assert "not the published ones" in result.stderr
        weights.unlink()
        result = run("scan", photo, "--detector", "tiny")
        assert result.exit_code == 2
        assert "missing" in result.stderr


class TestProcess:
    """What only a process of its own shows: imports, pipes, colour."""

    def facetell(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "facetell", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )

    def test_version(self) -> None:
        assert self.facetell("--version").stdout == f"facetell {__version__}\n"

    def test_help_imports_nothing_heavy(self) -> None:
        code = "import sys; from facetell.cli import main\ntry: main()\nfinally: print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
        assert "Usage" in done.stdout
        heavy = {"numpy", "cv2", "av", "onnxruntime", "onnx", "pandas", "torch", "sklearn", "matplotlib", "PIL", "rich"}
        assert heavy.isdisjoint(done.stdout.split())

    def test_scan_never_imports_torch(self, real: str, photo: str) -> None:
        code = "import sys; from facetell.cli import main\ntry: main()\nfinally: print(*sys.modules)"
        command = [sys.executable, "-c", code, "scan", photo, "--detector", real]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        loaded = set(done.stdout.split())
        assert "onnxruntime" in loaded
        assert {"torch", "pandas", "sklearn", "matplotlib"}.isdisjoint(loaded)
        assert {"av", "pillow_heif"}.isdisjoint(loaded)  # what parses files is loaded where it can do no harm

    def test_a_pipe_gets_plain_text_and_no_progress(self, real: str, photo: str) -> None:
        done = self.facetell("scan", photo, "--detector", real)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
        assert done.stderr == ""

    def test_colour_can_be_forced_and_forbidden(self, real: str, photo: str) -> None:
        forced = self.facetell("scan", photo, "--detector", real, FORCE_COLOR="1", NO_COLOR="")
        assert "\x1b[" in forced.stdout
        forbidden = self.facetell("scan", photo, "--detector", real, FORCE_COLOR="1", NO_COLOR="1")
        assert "\x1b[3" not in forbidden.stdout

    def shell(self, command: str, **environment: str) -> tuple[int, str, str]:
        """Exit code of the pipe's first failure, output and complaints; `facetell` is this one."""
        script = f'facetell() {{ {sys.executable} -m facetell "$@"; }}; set -o pipefail; {command}'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, **environment})
        return done.returncode, done.stdout, done.stderr

    def test_a_reader_that_goes_away_is_no_traceback_and_no_fake(self, fake: str, photo: str) -> None:
        command = f"facetell scan {photo} --detector {fake}"
        assert self.shell(f"{command} --json - | head -c 1")[1:] == ("{", "")
        for gone in (command, f"{command} --json -", f"{command} -q 2>&1", "facetell models", "facetell --help"):
            assert self.shell(f"{gone} | true") == (141, "", "")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_output_that_cannot_be_written_is_one_line_and_exit_2(self, fake: str, photo: str, unbuffered: str) -> None:
        said = "Standard output cannot be written: No space left on device.\n"
        command = f"facetell scan {photo} --detector {fake} -q"
        for full in (command, f"{command} --json -", "facetell models", "facetell --version"):
            assert self.shell(f"{full} >/dev/full", PYTHONUNBUFFERED=unbuffered) == (2, "", f"facetell: {said}")
        code, _, said = self.shell(f"{command} --json /dev/full")
        assert (code, said) == (2, "facetell: /dev/full cannot be written: No space left on device.\n")
        assert self.shell(f"{command} missing.mp4 --exit-zero 2>/dev/full")[0] == 0

    def test_a_document_for_closed_output_is_refused(self, fake: str, photo: str) -> None:
        code, _, said = self.shell(f"facetell scan {photo} --detector {fake} --json - >&-")
        assert (code, said) == (2, "facetell: Standard output is closed. Give the path of a file to write.\n")

    def test_closed_streams_are_nothing_to_a_scan(self, fake: str, photo: str, tmp_path: Path) -> None:
        out = tmp_path / "out.json"
        assert self.shell(f"facetell scan {photo} --detector {fake} --json {out} <&- >&- 2>&-") == (1, "", "")
        assert json.loads(out.read_text())["verdicts"][0]["label"] == "FAKE"
        said = self.shell(f"facetell scan missing.mp4 --detector {fake} --json - --exit-zero 2>&-")[1]
        assert json.loads(said)["verdicts"][0]["label"] == "ERROR"

    @pytest.mark.skipif(os.name != "posix", reason="signals")
    @pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_a_run_that_is_stopped_ends_as_the_readme_says(
        self, fake: str, photo: str, sent: signal.Signals, code: int
    ) -> None:
        heard = (
            "import signal\n"  # what runs the tests, such as nohup, may have them ignored
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
            "from facetell.cli import main\n"
            "main()"
        )
        command = [sys.executable, "-c", heard, "scan", *[photo] * 500, "--detector", fake, "-q"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as run:
            assert run.stdout is not None
            assert run.stdout.readline()
            run.send_signal(sent)
            run.communicate()
        assert (run.returncode if run.returncode > 0 else 128 - run.returncode) == code  # as a shell says it

    @pytest.mark.parametrize("error", ["KeyError", "EOFError", "BrokenPipeError", "MemoryError"])
    def test_a_breakdown_is_a_traceback_and_exit_2(self, error: str) -> None:
        code = (
            "import facetell.detectors, facetell.cli\n"
            f"def shipped(): raise {error}\n"
            "facetell.detectors.shipped = shipped\n"
            "facetell.cli.main()"
        )
        done = subprocess.run([sys.executable, "-c", code, "models"], capture_output=True, text=True)
        assert done.returncode == 2
        assert f"{error}\n" in done.stderr


def test_without_arguments_the_help_is_shown() -> None:
    assert "Usage" in run().output
    assert "scan" in run("--help").output


def test_scores_do_not_depend_on_the_output_asked_for(tmp_path: Path, real: str, portrait_clip: Path) -> None:
    _, (plain,) = judged(portrait_clip, "--detector", real)
    _, (with_page,) = judged(portrait_clip, "--detector", real, "--html", tmp_path / "page.html")
    del plain["seconds"], with_page["seconds"]
    assert plain == with_page
    assert np.isfinite(plain["p_fake"])
