"""Many files: folders, and runs that are cut short at any moment."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.errors import OutputError
from facetell.files import sha256_of
from facetell.report import annotate, journal
from facetell.video.file import files_in
from tests import media
from tests.detectors.networks import saying

COUNT = 6


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saying(tmp_path_factory.mktemp("real"), -5.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures of a face, and what does not belong to them."""
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    first = media.write_picture(folder / "0.jpg", media.astronaut())
    for number in range(1, COUNT):
        shutil.copy(first, folder / ("more" if number > 3 else ".") / f"{number}.JPG")
    (folder / "notes.txt").write_text("not a picture")
    shutil.copy(first, folder / ".hidden.jpg")
    return folder


def scan(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["scan", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


def labels(path: Path) -> list[str]:
    return [verdict["label"] for verdict in json.loads(path.read_text())["verdicts"]]


class TestFolders:
    def test_what_is_in_a_folder_is_scanned_in_order(self, folder: Path, real: str, tmp_path: Path) -> None:
        code, _ = scan(folder, "--detector", real, "--json", tmp_path / "out.json")
        assert code == 0
        found = [verdict["path"] for verdict in json.loads((tmp_path / "out.json").read_text())["verdicts"]]
        assert [Path(path).name.lower() for path in found] == [f"{number}.jpg" for number in range(COUNT)]

    def test_an_empty_one_is_an_error_and_the_rest_is_scanned(self, folder: Path, real: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        code, _ = scan(tmp_path / "empty", folder, "--detector", real, "--json", tmp_path / "out.json")
        assert code == 2
        assert labels(tmp_path / "out.json") == ["ERROR"] + ["REAL"] * COUNT

    @pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="needs a folder one may not read")
    def test_a_closed_one_within_is_not_passed_over(self, folder: Path) -> None:
        (folder / "more").chmod(0)
        assert str(folder / "more") in files_in(str(folder))[0]
        (folder / "more").chmod(0o755)

    def test_links_do_not_lead_round_in_circles(self, folder: Path) -> None:
        (folder / "loop").symlink_to(folder, target_is_directory=True)
        assert len(files_in(str(folder))[0]) == COUNT

    def test_a_linked_folder_is_looked_into_once(self, folder: Path, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(folder / "0.jpg", elsewhere / "saved.jfif")
        for name in ("link", "other"):
            (folder / name).symlink_to(elsewhere, target_is_directory=True)
        assert len(files_in(str(folder))[0]) == COUNT + 1

    def test_files_left_out_for_their_suffix_are_counted(self, folder: Path, real: str, tmp_path: Path) -> None:
        (folder / "more" / "clip.xyz").write_bytes(b"who knows")
        code, said = scan(folder, "--detector", real)
        assert code == 0
        assert said == f"facetell: 2 files in {folder} were left out for their suffix; name them to scan them.\n"
        code, said = scan(folder / "notes.txt", "--detector", real)
        assert (code, "left out" in said) == (2, False)

    def test_one_with_nothing_but_other_files_says_so_once(self, real: str, tmp_path: Path) -> None:
        (tmp_path / "clip.xyz").write_bytes(b"who knows")
        code, said = scan(tmp_path, "--detector", real)
        assert code == 2
        assert said == (
            f"facetell: {tmp_path} is a folder. 1 file in {tmp_path} was left out for its suffix; name it to scan it.\n"
        )

    def test_suffixes_of_every_container_that_is_read(self, tmp_path: Path) -> None:
        for suffix in ("f4v", "ogv", "VOB", "mts", "m2ts", "mxf", "asf", "rmvb", "h264"):
            (tmp_path / f"clip.{suffix}").touch()
        assert len(files_in(str(tmp_path))[0]) == 9

    def test_one_that_may_not_be_listed_says_so(
        self, tmp_path: Path, real: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def closed(*_: object) -> list[str]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))

        monkeypatch.setattr(os, "scandir", closed)
        monkeypatch.setattr(os, "listdir", closed)
        code, said = scan(tmp_path, "--detector", real)
        assert code == 2
        assert f"The folder {tmp_path} cannot be read: Permission denied." in said


class TestCutShort:
    def test_killed_at_any_moment_a_second_run_goes_on(self, folder: Path, real: str, tmp_path: Path) -> None:
        out, table = tmp_path / "out.json", tmp_path / "out.csv"
        kept = tmp_path / "out.json.journal"
        command = [sys.executable, "-m", "facetell", "scan", folder, "--detector", real, "--json", out, "--csv", table]
        whole = 0
        for lines in (1, 2, 4):  # of the journal, after which the run is killed
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 120
            while not (kept.exists() and kept.read_bytes().count(b"\n") >= lines):
                assert run.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.002)
            run.send_signal(signal.SIGKILL)
            run.wait()
            assert not out.exists()
            assert not table.exists()
            now = kept.read_bytes().count(b"\n")
            assert now >= max(lines, whole)
            whole = now
        code, said = scan(folder, "--detector", real, "--json", out, "--csv", table)
        assert code == 0
        assert f"{whole - 1} of {COUNT} files finished in an earlier run" in said
        assert labels(out) == ["REAL"] * COUNT
        assert len(table.read_text().splitlines()) == 1 + COUNT
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.csv", "out.json"]

    @pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_stopped_by_hand_it_says_how_to_go_on(
        self, folder: Path, real: str, tmp_path: Path, sent: signal.Signals, code: int
    ) -> None:
        out, kept = tmp_path / "out.json", tmp_path / "out.json.journal"
        for number in range(COUNT, 200 * COUNT):  # more than can be judged before the run is stopped
            os.link(folder / "0.jpg", folder / f"{number}.jpg")
        (folder / "notes.txt").unlink()
        command = [sys.executable, "-m", "facetell", "scan", folder, "--detector", real, "--json", out]
        run = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # jobs in a shell's background ignore some
        )
        deadline = time.monotonic() + 120
        while not (kept.exists() and kept.read_bytes().count(b"\n") >= 2):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        run.send_signal(sent)
        _, said = run.communicate()
        assert (run.returncode, said) == (code, f"facetell: Stopped. The same command goes on with {kept}.\n")
        assert kept.exists()
        assert not out.exists()

    @pytest.mark.skipif(os.name != "posix", reason="signals")
    @pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
    def test_ended_by_a_signal_no_unfinished_file_stays_behind(
        self, real: str, tmp_path: Path, sent: signal.Signals
    ) -> None:
        clip = media.write_video(tmp_path / "clip.mp4", media.portrait_frames(300))
        out = tmp_path / "out"
        out.mkdir()
        command = [sys.executable, "-m", "facetell", "scan", clip, "--detector", real, "--annotate", out / "marked.mp4"]
        run = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 120
        while not any(out.iterdir()):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        run.send_signal(sent)
        run.send_signal(sent)
        run.wait(60)
        assert (run.returncode, list(out.iterdir())) == (128 + sent, [])

    def test_what_goes_on_says_what_an_unbroken_run_says(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.full_after(monkeypatch, 4)
        assert scan(folder, "--detector", real, "--json", tmp_path / "out.json")[0] == 2
        monkeypatch.undo()
        assert scan(folder, "--detector", real, "--json", tmp_path / "out.json")[0] == 0
        assert scan(folder, "--detector", real, "--json", tmp_path / "unbroken.json")[0] == 0
        both = [json.loads((tmp_path / name).read_text())["verdicts"] for name in ("out.json", "unbroken.json")]
        for verdict in both[0] + both[1]:
            del verdict["seconds"]
        assert both[0] == both[1]

    def test_a_full_disk_ends_the_run_and_keeps_what_was_finished(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.full_after(monkeypatch, 3)
        code, said = scan(folder, "--detector", real, "--csv", tmp_path / "out.csv")
        assert code == 2
        assert "No space left on device" in said
        assert "run the same again" in said
        assert not (tmp_path / "out.csv").exists()
        monkeypatch.undo()
        code, said = scan(folder, "--detector", real, "--csv", tmp_path / "out.csv")
        assert code == 0
        assert f"2 of {COUNT} files" in said
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + COUNT

    def test_a_report_that_cannot_be_written_leaves_the_journal(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", self.fails)
            code, said = scan(folder, "--detector", real, "--json", tmp_path / "out.json")
        assert code == 2
        assert "Read-only file system" in said
        assert not (tmp_path / "out.json").exists()
        code, said = scan(folder, "--detector", real, "--json", tmp_path / "out.json")
        assert f"{COUNT} of {COUNT} files" in said
        assert labels(tmp_path / "out.json") == ["REAL"] * COUNT

    def test_a_vanished_output_folder_is_said_at_once(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "target"
        target.mkdir()
        add = journal.Journal.add
        added: list[str] = []

        def vanish(self: journal.Journal, verdict: object, stamp: object) -> None:
            if len(added) == 2:
                shutil.rmtree(target)
            added.append("one")
            add(self, verdict, stamp)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(journal.Journal, "add", vanish)
        code, said = scan(folder, "--detector", real, "--json", target / "out.json")
        monkeypatch.undo()
        assert code == 2
        assert "is gone" in said
        assert len(added) == 3
        target.mkdir()
        shutil.move(said.split(" is in ")[1].split(":")[0], target / "out.json.journal")
        code, said = scan(folder, "--detector", real, "--json", target / "out.json")
        assert (code, f"2 of {COUNT} files" in said) == (0, True)

    @pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="needs a folder one may not write to")
    def test_a_read_only_output_folder_is_said_before_anything_is_scanned(
        self, folder: Path, real: str, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        target.mkdir(mode=0o555)
        code, said = scan(folder, "--detector", real, "--json", target / "out.json")
        assert (code, "cannot be written" in said) == (2, True)

    def test_other_options_begin_anew_and_what_was_finished_is_kept(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, kept = tmp_path / "out.json", tmp_path / "out.json.journal"
        self.cut_short(monkeypatch, 4, folder, "--detector", real, "--json", out)
        code, said = scan(folder, "--detector", real, "--json", out, "--prior", 0.1)
        assert code == 0
        assert "earlier run" not in said
        assert f"{kept}.old keeps what a run with other settings had finished." in said
        Path(f"{kept}.old").rename(kept)
        code, said = scan(folder, "--detector", real, "--json", out)
        assert (code, f"3 of {COUNT} files finished" in said) == (0, True)
        assert not kept.exists()

    def test_other_files_leave_what_was_finished_of_the_first(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, kept = tmp_path / "out.json", tmp_path / "out.json.journal"
        self.cut_short(monkeypatch, 4, folder, "--detector", real, "--json", out)
        code, said = scan(folder / "0.jpg", "--detector", real, "--json", out)
        assert (code, labels(out)) == (0, ["REAL"])
        assert "1 of 1 file finished in an earlier run" in said
        assert f"{kept}.old keeps what an earlier run had finished and is not in this report (2 files)" in said
        Path(f"{kept}.old").rename(kept)
        assert f"3 of {COUNT} files finished" in scan(folder, "--detector", real, "--json", out)[1]

    def test_files_that_changed_are_not_counted_as_finished(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.cut_short(monkeypatch, 4, folder, "--detector", real, "--json", tmp_path / "out.json")
        for path in folder.rglob("*.*"):
            os.utime(path, (0, 0))
        assert scan(folder, "--detector", real, "--json", tmp_path / "out.json") == (
            0,
            f"facetell: 1 file in {folder} was left out for its suffix; name it to scan it.\n",
        )

    def test_a_run_that_is_refused_leaves_what_was_finished_where_it_is(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--detector", real, "--json", tmp_path / "out.json")
        self.cut_short(monkeypatch, 4, folder, *options)
        (tmp_path / "file").touch()
        assert scan(folder, *options, "--prior", 0.1, "--annotate", tmp_path / "file")[0] == 2
        assert not (tmp_path / "out.json.journal.old").exists()

    def test_two_runs_on_one_report_are_not_mixed(self, folder: Path, real: str, tmp_path: Path) -> None:
        with closing(journal.Journal(tmp_path / "out.json.journal", {})):
            code, said = scan(folder, "--detector", real, "--json", tmp_path / "out.json")
        assert (code, f"Another run is writing {tmp_path / 'out.json.journal'}." in said) == (2, True)

    def test_what_has_the_journals_name_is_never_lost(self, folder: Path, real: str, tmp_path: Path) -> None:
        (tmp_path / "out.json.journal").write_text("precious")
        (tmp_path / "link.json.journal").symlink_to(folder / "0.jpg")
        clip = shutil.copy(folder / "0.jpg", tmp_path / "clip.json.journal")
        for file, name, options in (
            (folder, "out.json", ()),
            (folder, "link.json", ()),
            (clip, "clip.json", ()),
            (folder, "a", ("--csv", tmp_path / "a.journal")),
        ):
            before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
            code, said = scan(file, "--detector", real, "--json", tmp_path / name, *options)
            assert (code, f"{tmp_path / name}.journal" in said) == (2, True)
            assert "output file" in said
            assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before

    def test_marked_copies_are_not_made_twice(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--detector", real, "--json", tmp_path / "out.json", "--annotate", tmp_path / "marked")
        self.cut_short(monkeypatch, 7, folder, *options)  # the header, and two lines for each file
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "marked").iterdir()}
        assert scan(folder, *options)[0] == 0
        after = {path: path.stat().st_mtime_ns for path in (tmp_path / "marked").iterdir()}
        assert len(after) == COUNT
        assert sum(after.get(path) == time for path, time in times.items()) == 3

    def test_a_marked_copy_that_failed_is_tried_again(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--detector", real, "--json", tmp_path / "out.json", "--annotate", tmp_path / "marked")
        (tmp_path / "marked").mkdir()
        old = tmp_path / "marked" / f"1-{sha256_of(folder / '1.JPG')[:8]}-marked.png"
        old.write_bytes(b"of an earlier run")
        whole = annotate.annotate

        def failing(path: str, *rest: object) -> None:
            if Path(path).name == "1.JPG":
                raise OutputError("No room.")
            whole(path, *rest)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(annotate, "annotate", failing)
        self.full_after(monkeypatch, 6)
        assert "No room." in scan(folder, *options)[1]
        assert old.read_bytes() == b"of an earlier run"
        monkeypatch.undo()
        code, said = scan(folder, *options)
        assert (code, f"3 of {COUNT} files" in said) == (0, True)
        assert cv2.imread(str(old)) is not None

    def test_a_marked_copy_that_is_gone_is_made_as_before(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With its heat map, which no journal keeps."""
        fake = saying(tmp_path, 5.0)
        options = ("--detector", fake, "--json", tmp_path / "out.json", "--annotate", tmp_path / "marked")
        self.cut_short(monkeypatch, 7, folder, *options)
        copy = tmp_path / "marked" / f"1-{sha256_of(folder / '1.JPG')[:8]}-marked.png"
        before = copy.read_bytes()
        copy.unlink()
        scan(folder, *options)
        assert copy.read_bytes() == before

    def test_marked_copies_can_be_asked_for_later(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--detector", real, "--json", tmp_path / "out.json")
        self.cut_short(monkeypatch, 4, folder, *options)
        (tmp_path / "marked").mkdir()
        old = tmp_path / "marked" / f"1-{sha256_of(folder / '1.JPG')[:8]}-marked.png"
        old.write_bytes(b"of an earlier run with other settings")
        code, said = scan(folder, *options, "--annotate", tmp_path / "marked")
        assert (code, f"3 of {COUNT} files finished" in said) == (0, True)
        assert len(list((tmp_path / "marked").iterdir())) == COUNT
        assert cv2.imread(str(old)) is not None

    def test_reports_without_every_marked_copy_leave_the_journal(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--detector", real, "--json", tmp_path / "out.json", "--annotate", tmp_path / "marked")

        def failing(*_: object) -> None:
            raise OutputError("No room.")

        with monkeypatch.context() as patch:
            patch.setattr(annotate, "annotate", failing)
            code, said = scan(folder, *options)
        assert (code, labels(tmp_path / "out.json")) == (2, ["REAL"] * COUNT)
        assert f"with {tmp_path / 'out.json.journal'}." in said
        code, said = scan(folder, *options)
        assert (code, f"{COUNT} of {COUNT} files" in said) == (0, True)
        assert len(list((tmp_path / "marked").iterdir())) == COUNT
        assert not (tmp_path / "out.json.journal").exists()

    def test_a_vanished_folder_of_marked_copies_is_said_at_once(
        self, folder: Path, real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marked = tmp_path / "marked"
        options = ("--detector", real, "--json", tmp_path / "out.json", "--annotate", marked)
        whole = annotate.annotate

        def vanishing(path: str, *rest: object) -> None:
            if Path(path).name == "2.JPG":
                shutil.rmtree(marked)
            whole(path, *rest)  # pyright: ignore[reportArgumentType]

        with monkeypatch.context() as patch:
            patch.setattr(annotate, "annotate", vanishing)
            code, said = scan(folder, *options)
        assert (code, said.count("cannot be written")) == (2, 0)
        assert f"The folder {marked} is gone, or closed. Put it back" in said
        code, said = scan(folder, *options)
        assert (code, f"3 of {COUNT} files" in said) == (0, True)
        assert len(list(marked.iterdir())) == COUNT

    def cut_short(self, monkeypatch: pytest.MonkeyPatch, writes: int, *command: object) -> None:
        """A scan whose disk is full after so many lines of the journal."""
        self.full_after(monkeypatch, writes)
        scan(*command)
        monkeypatch.undo()

    def full_after(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        """Let the disk be full after so many lines of the journal."""
        left = [writes]

        def fsync(_: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(journal.os, "fsync", fsync)

    def fails(self, *_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_limits_are_options(folder: Path, real: str, tmp_path: Path) -> None:
    clip = media.write_video(tmp_path / "clip.mp4", media.portrait_frames(30), audio=True)
    for option, value, complaint in (
        ("--max-pixels", 1000, "1,000 pixels"),
        ("--max-frames", 10, "more than 10 frames"),
        ("--max-streams", 1, "more than 1 streams"),
        ("--max-memory", 100, "100 MiB"),
    ):
        code, said = scan(clip, "--detector", real, option, value)
        assert (code, complaint in said) == (2, True), said
    for option, value in (
        ("--max-seconds", "0"),
        ("--max-seconds", "inf"),
        ("--max-cpu", "nan"),
        ("--max-cpu", "1e300"),
    ):
        code, said = scan(clip, "--detector", real, option, value)
        assert (code, said) == (
            2,
            f"facetell: {option} cannot be {float(value):g}. Give a number above 0, up to 1,000,000,000.\n",
        )
    most = [part for option in ("seconds", "cpu", "memory", "pixels") for part in (f"--max-{option}", 10**9)]
    assert scan(clip, "--detector", real, *most) == (0, "")
