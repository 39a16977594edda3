import errno
import json
import os
import shutil
import subprocess
import sys
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


def filled(path: Path, folder: Path, count: int = 3) -> list[Path]:
    files = [folder / f"{number}.mp4" for number in range(count)]
    journal = Journal(path, SETTINGS)
    for file in files:
        journal.add(verdict_on(file), stamp_of(str(file)))
    return files


def test_what_was_added_is_there_again(path: Path, tmp_path: Path) -> None:
    files = filled(path, tmp_path)
    journal = Journal(path, SETTINGS)
    assert len(journal) == 3
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
    journal = Journal(path, SETTINGS)
    assert [journal.get(str(file)) is not None for file in files] == [True, False, False]


def test_what_ended_in_an_error_is_tried_again(path: Path, tmp_path: Path) -> None:
    (file, *_) = filled(path, tmp_path)
    journal = Journal(path, SETTINGS)
    journal.add(replace(made.error(), path=str(file)), stamp_of(str(file)))
    other = tmp_path / "large.mp4"
    other.write_text("a file")
    journal.add(replace(made.error(), path=str(other)), stamp_of(str(other)))
    again = Journal(path, SETTINGS)
    assert len(again) == 3
    assert again.get(str(other)) is None


def test_other_settings_begin_anew(path: Path, tmp_path: Path) -> None:
    filled(path, tmp_path)
    assert len(Journal(path, {**SETTINGS, "plan": "every:5"})) == 0
    assert len(Journal(path, SETTINGS)) == 0


def test_broken_off_anywhere_the_whole_lines_count_and_the_run_goes_on(path: Path, tmp_path: Path) -> None:
    """As a SIGKILL or a power cut leaves it, at every byte."""
    files = filled(path, tmp_path)
    whole = path.read_bytes()
    ends = [number + 1 for number, byte in enumerate(whole) if byte == 10]
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        journal = Journal(path, SETTINGS)
        assert len(journal) == max(0, sum(end <= length for end in ends) - 1)
        journal.add(verdict_on(files[0]), stamp_of(str(files[0])))
        assert all(json.loads(line) for line in path.read_text().splitlines())


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
        journal = Journal(path, SETTINGS)
        assert len(journal) == count
        assert all(journal.get(str(file)) for file in files)
        journal.add(verdict_on(tmp_path / "new.mp4"), None)


def changed(path: Path, key: str, value: object) -> None:
    """Put another value into the first verdict of a journal."""
    lines = path.read_text().splitlines()
    entry = json.loads(lines[1])
    entry["verdict"][key] = value
    path.write_text("\n".join([lines[0], json.dumps(entry), *lines[2:], ""]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("p_fake", "x"),
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
def test_a_verdict_that_makes_no_sense_is_none(key: str, value: object, path: Path, tmp_path: Path) -> None:
    (file, *others) = filled(path, tmp_path)
    changed(path, key, value)
    journal = Journal(path, SETTINGS)
    assert journal.get(str(file)) is None
    assert all(journal.get(str(other)) for other in others)


def test_a_full_disk_keeps_what_was_finished(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = filled(path, tmp_path)
    journal = Journal(path, SETTINGS)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(room.os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*run the same again"):
            journal.add(verdict_on(files[0]), None)
    assert len(Journal(path, SETTINGS)) == 3


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
    assert len(Journal(path, {"a": 1})) == number


def test_a_vanished_folder_is_noticed_and_what_was_finished_is_saved(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "out.json.journal"
    files = filled(path, tmp_path)
    journal = Journal(path, SETTINGS)
    shutil.rmtree(folder)
    with pytest.raises(OutputError, match="is gone") as caught:
        journal.add(verdict_on(files[0]), None)
    saved = Path(caught.value.advice.split(" in ")[1].split(":")[0])
    folder.mkdir()
    shutil.move(saved, path)
    assert len(Journal(path, SETTINGS)) == 3


def test_a_folder_that_is_closed_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Journal(tmp_path / "missing" / "out.journal", SETTINGS)


@pytest.mark.parametrize("verdict", made.everything(), ids=lambda verdict: str(verdict.label))
def test_a_verdict_comes_back_as_it_went(verdict: Verdict) -> None:
    fields = verdict_to_dict(verdict)
    assert verdict_to_dict(verdict_from_dict(json.loads(json.dumps(fields)))) == fields


def test_a_verdict_from_before_sample_and_lost_frames_were_kept_is_read(path: Path, tmp_path: Path) -> None:
    (file, *_) = filled(path, tmp_path)
    lines = path.read_text().splitlines()
    entry = json.loads(lines[1])
    del entry["verdict"]["sample"], entry["verdict"]["coverage"]["frames_lost"]
    path.write_text("\n".join([lines[0], json.dumps(entry), *lines[2:], ""]))
    verdict = Journal(path, SETTINGS).get(str(file))
    assert verdict is not None
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
