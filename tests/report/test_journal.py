import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.errors import OutputError
from facetell.report import journal as room
from facetell.report.journal import Journal, stamp_of
from facetell.report.json import verdict_from_dict, verdict_to_dict
from facetell.types import Coverage, FaceScore, Label, Provenance, TrackScore, Verdict
from tests.report import made

SETTINGS = {"detector": "abc", "plan": "uniform:20"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.json.journal"


def verdict_on(path: Path) -> Verdict:
    path.write_text("a file")
    return Verdict(str(path), Label.REAL, p_fake=0.25)


def opened(path: Path, settings: dict[str, str] | None = None) -> closing[Journal]:
    return closing(Journal(path, settings or SETTINGS))


def filled(path: Path, folder: Path, count: int = 3) -> list[Path]:
    files = [folder / f"{number}.mp4" for number in range(count)]
    with opened(path) as journal:
        for file in files:
            journal.add(verdict_on(file), stamp_of(str(file)))
    return files


def number_in(path: Path) -> int:
    with opened(path) as journal:
        return len(journal.paths)


def test_what_was_added_is_there_again(path: Path, tmp_path: Path) -> None:
    files = filled(path, tmp_path)
    with opened(path) as journal:
        assert journal.paths == set(map(str, files))
        for file in files:
            verdict = journal.get(str(file))
            assert verdict is not None
            assert (verdict.label, verdict.p_fake) == (Label.REAL, 0.25)
        assert journal.get(str(tmp_path / "other.mp4")) is None
        journal.remove()
    assert not path.exists()


def test_a_file_that_changed_is_scanned_again(path: Path, tmp_path: Path) -> None:
    files = filled(path, tmp_path)
    files[1].write_text("another file")
    files[2].unlink()
    with opened(path) as journal:
        assert [journal.get(str(file)) is not None for file in files] == [True, False, False]


def test_what_ended_in_an_error_is_tried_again(path: Path, tmp_path: Path) -> None:
    (file, *_) = filled(path, tmp_path)
    other = tmp_path / "large.mp4"
    other.write_text("a file")
    with opened(path) as journal:
        for failed in (file, other):
            journal.add(replace(made.error(), path=str(failed)), stamp_of(str(failed)))
    with opened(path) as again:
        assert len(again.paths) == 3
        assert again.get(str(other)) is None


def test_a_marked_copy_belongs_to_the_verdict_before_it(path: Path, tmp_path: Path) -> None:
    (file, other, _) = filled(path, tmp_path)
    with opened(path) as journal:
        journal.add_copy(str(file), "marked.mp4")
        journal.add_copy(str(other), "other.mp4")
        journal.add(verdict_on(other), stamp_of(str(other)))
    with opened(path) as journal:
        assert (journal.copy_of(str(file)), journal.copy_of(str(other))) == ("marked.mp4", None)


def test_other_settings_begin_anew_and_what_was_finished_is_kept(path: Path, tmp_path: Path) -> None:
    filled(path, tmp_path)
    kept = path.read_bytes()
    for name in ("out.json.journal.old", "out.json.journal.old2"):
        path.write_bytes(kept)
        with opened(path, {**SETTINGS, "plan": "every:5"}) as journal:
            assert not journal.paths
            assert journal.set_aside == tmp_path / name
        assert (tmp_path / name).read_bytes() == kept
    with opened(path) as journal:  # which held nothing but its header
        assert journal.set_aside is None


def test_two_runs_do_not_write_one(path: Path, tmp_path: Path) -> None:
    with opened(path):
        for settings in (SETTINGS, {"plan": "every:5"}):
            with pytest.raises(OutputError, match=r"Another run is writing .*out\.json\.journal"):
                Journal(path, settings)
    assert number_in(path) == 0


def test_one_that_is_gone_once_it_is_locked_was_another_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = room.fcntl.flock
    with opened(path) as ending:

        def end_first(*arguments: int) -> None:
            ending.remove()
            lock(*arguments)

        monkeypatch.setattr(room.fcntl, "flock", end_first)
        with pytest.raises(OutputError, match="Another run is writing"):
            Journal(path, SETTINGS)


@pytest.mark.parametrize("content", [b"precious", b'{"schema": "facetell/1"}\n', b'{"schema": "other'])
def test_a_file_that_is_no_journal_is_left_alone(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"is something else\. Move it away"):
        Journal(path, SETTINGS)
    assert path.read_bytes() == content


def test_nor_is_a_link_followed_or_a_pipe_waited_for(path: Path, tmp_path: Path) -> None:
    filled(tmp_path / "elsewhere", tmp_path)
    before = (tmp_path / "elsewhere").read_bytes()
    for target in ("elsewhere", "missing"):
        path.symlink_to(tmp_path / target)
        with pytest.raises(OutputError, match="is something else"):
            Journal(path, SETTINGS)
        path.unlink()
    assert (tmp_path / "elsewhere").read_bytes() == before
    assert not (tmp_path / "missing").exists()
    os.mkfifo(path)
    with pytest.raises(OutputError, match="is something else"):
        Journal(path, SETTINGS)
    assert path.is_fifo()


def test_broken_off_anywhere_the_whole_lines_count_and_the_run_goes_on(path: Path, tmp_path: Path) -> None:
    """As a SIGKILL or a power cut leaves it, at every byte."""
    files = filled(path, tmp_path)
    whole = path.read_bytes()
    ends = [number + 1 for number, byte in enumerate(whole) if byte == 10]
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        with opened(path) as journal:
            assert len(journal.paths) == max(0, sum(end <= length for end in ends) - 1)
            journal.add(verdict_on(files[0]), stamp_of(str(files[0])))
        assert all(json.loads(line.split("\t")[0]) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 50,
        b"\0\r\0",
        b"",
        b"5",
        b"[]",
        b"{}",
        b'{"stamp": null, "verdict": {}}',
        b'{"stamp": null, "verdict": {"path": "a.mp4", "error": null}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=lambda garbage: str(garbage[:20]),
)
@pytest.mark.parametrize("after", [1, 3])
def test_a_line_that_cannot_be_read_counts_for_nothing_and_costs_no_other(
    garbage: bytes, after: int, path: Path, tmp_path: Path
) -> None:
    files = filled(path, tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[: after + 1], garbage + b"\n", *lines[after + 1 :]]))
    for count in (3, 4):
        with opened(path) as journal:
            assert len(journal.paths) == count
            assert all(journal.get(str(file)) for file in files)
            journal.add(verdict_on(tmp_path / "new.mp4"), None)


def changed(path: Path, key: str, value: object) -> None:
    """Put another value into the first verdict of a journal, by hand."""
    lines = path.read_text().splitlines()
    said, checksum = lines[1].split("\t")
    entry = json.loads(said)
    entry["verdict"][key] = value
    path.write_text("\n".join([lines[0], f"{json.dumps(entry)}\t{checksum}", *lines[2:], ""]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("p_fake", "x"),
        ("p_fake", 0.75),
        ("prior", float("nan")),
        ("label", "MAYBE"),
        ("tracks", [{}]),
        ("tracks", 5),
        ("coverage", {"problems": []}),
        ("video", {}),
        ("provenance", "x"),
        ("path", ["a"]),
        ("unknown", 1),
    ],
)
def test_a_verdict_that_is_not_as_it_was_written_is_none(key: str, value: object, path: Path, tmp_path: Path) -> None:
    (file, *others) = filled(path, tmp_path)
    changed(path, key, value)
    with opened(path) as journal:
        assert journal.get(str(file)) is None
        assert all(journal.get(str(other)) for other in others)


def test_a_verdict_that_other_code_of_the_same_version_wrote_is_none(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = filled(path, tmp_path)
    with opened(path) as journal, monkeypatch.context() as patch:
        patch.setattr(room, "verdict_to_dict", lambda verdict: {**verdict_to_dict(verdict), "unknown": 1})
        journal.add(verdict_on(tmp_path / "new.mp4"), None)
    with opened(path) as journal:
        assert journal.paths == set(map(str, files))


def test_a_line_of_a_run_with_other_settings_counts_for_nothing(path: Path, tmp_path: Path) -> None:
    filled(path, tmp_path)
    _, *lines = path.read_bytes().splitlines(keepends=True)
    with opened(path, {"plan": "every:5"}):
        pass
    path.write_bytes(path.read_bytes() + b"".join(lines))
    with opened(path, {"plan": "every:5"}) as journal:
        assert not journal.paths


def test_a_full_disk_keeps_what_was_finished(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = filled(path, tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(path) as journal, monkeypatch.context() as patch:
        patch.setattr(room.os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*run the same again"):
            journal.add(verdict_on(files[0]), None)
    assert number_in(path) == 3


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_limit_in_the_middle_of_a_line_keeps_what_was_finished(path: Path, tmp_path: Path) -> None:
    code = """
import resource, sys
from facetell.errors import OutputError
from facetell.report.journal import Journal
from facetell.types import Label, Verdict
resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
journal = Journal(sys.argv[1], {"a": 1})
for number in range(100):
    try:
        journal.add(Verdict(f"{number}.mp4", Label.REAL, p_fake=0.5), [1, 2])
    except OutputError as error:
        print(number, error)
        break
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    number = int(done.stdout.split()[0])
    assert "File too large" in done.stdout
    assert 1 < number < 99
    with closing(Journal(path, {"a": 1})) as journal:
        assert len(journal.paths) == number


@pytest.fixture
def vanished(tmp_path: Path) -> Iterator[tuple[Journal, Path]]:
    """A journal in use, whose folder is moved away, and its path."""
    path = tmp_path / "out" / "out.json.journal"
    path.parent.mkdir()
    filled(path, tmp_path)
    with opened(path) as journal:
        path.parent.rename(tmp_path / "out.old")
        yield journal, path


@pytest.mark.parametrize("in_its_place", ["nothing", "a file"])
@pytest.mark.parametrize("temporary", ["usable", "missing"])
def test_a_vanished_folder_is_noticed_and_what_was_finished_is_saved(
    vanished: tuple[Journal, Path],
    in_its_place: str,
    temporary: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal, path = vanished
    if in_its_place == "a file":
        path.parent.touch()
    monkeypatch.chdir(tmp_path)
    if temporary == "missing":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="is gone") as caught:
        journal.add(verdict_on(tmp_path / "0.mp4"), None)
    saved = Path(caught.value.advice.split(" in ")[1].split(":")[0])
    path.parent.unlink(missing_ok=True)
    path.parent.mkdir()
    shutil.move(saved, path)
    assert number_in(path) == 3


def test_where_it_cannot_be_saved_the_error_says_so(
    vanished: tuple[Journal, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(tempfile, "mkstemp", nowhere)
    with pytest.raises(OutputError, match=r"is gone\. What was finished is lost"):
        vanished[0].add(verdict_on(tmp_path / "0.mp4"), None)


def test_a_folder_that_is_closed_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Journal(tmp_path / "missing" / "out.journal", SETTINGS)


@pytest.mark.parametrize("verdict", made.everything(), ids=lambda verdict: str(verdict.label))
def test_a_verdict_comes_back_as_it_went(verdict: Verdict) -> None:
    fields = verdict_to_dict(verdict)
    assert verdict_to_dict(verdict_from_dict(json.loads(json.dumps(fields)))) == fields


def test_a_verdict_from_before_sample_and_lost_frames_were_kept_is_read() -> None:
    fields = verdict_to_dict(made.fake())
    del fields["sample"], fields["coverage"]["frames_lost"]
    verdict = verdict_from_dict(fields)
    assert (verdict.sample, verdict.coverage.frames_lost) == (None, 0)


texts = st.text(max_size=20)
shares = st.floats(0, 1)
faces = st.builds(
    FaceScore,
    time_s=st.floats(0, 1e5),
    box=st.tuples(*[st.floats(-1e4, 1e4)] * 4),
    p_fake=shares,
    logit=st.floats(-50, 50),
    quality=shares,
    usable=st.booleans(),
    problems=st.tuples(texts),
)
tracks = st.builds(
    TrackScore,
    id=st.integers(1, 99),
    label=st.sampled_from(Label),
    start_s=shares,
    end_s=shares,
    p_fake=shares,
    logit=st.floats(-50, 50),
    counts=st.booleans(),
    scores=st.lists(faces, max_size=3),
    region=st.none() | texts,
)


@given(
    st.builds(
        Verdict,
        path=texts,
        label=st.sampled_from(Label),
        p_fake=st.none() | shares,
        reasons=st.tuples(texts),
        coverage=st.builds(Coverage, faces=st.integers(0, 99), problems=st.dictionaries(texts, st.integers(0, 9))),
        tracks=st.lists(tracks, max_size=2),
        provenance=st.builds(Provenance, encoder=st.none() | texts, tags=st.dictionaries(texts, texts)),
    )
)
def test_any_verdict_comes_back_as_it_went(verdict: Verdict) -> None:
    fields = verdict_to_dict(verdict)
    assert verdict_to_dict(verdict_from_dict(json.loads(json.dumps(fields)))) == fields
