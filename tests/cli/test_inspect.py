import json
import shutil
from pathlib import Path

import pytest

from facetell.video import isolation
from tests import media
from tests.cli.test_scan import run


def test_what_a_clip_says_of_itself(portrait_clip: Path) -> None:
    result = run("inspect", portrait_clip)
    assert result.exit_code == 0
    for fact in ("h264, 320×240", "30.000 frames a second", "2.00 s", "aac, 48000 Hz"):
        assert fact in result.stdout


def test_a_still(tmp_path: Path) -> None:
    photo = media.write_picture(tmp_path / "photo.png", media.astronaut())
    output = run("inspect", photo).stdout
    assert "still" in output
    assert "512×512" in output


def test_json_has_a_place_for_every_file(portrait_clip: Path) -> None:
    result = run("inspect", portrait_clip, "missing.mp4", "--json", "-")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["schema"] == "facetell-inspect/1"
    good, bad = document["files"]
    assert good["video"]["frame_rate"] == 30.0
    assert good["error"] is None
    assert bad == {
        "path": "missing.mp4",
        "video": None,
        "provenance": None,
        "error": {"type": "FileMissingError", "message": "missing.mp4 does not exist. Check the path."},
    }


def test_tags_cannot_steer_the_terminal(tmp_path: Path) -> None:
    tags = {"title": "\x1b[31mred [bold]", "comment": "forged by facetell"}
    clip = media.write_video(tmp_path / "tagged.mkv", media.portrait_frames(5), metadata=tags)
    output = run("inspect", clip).stdout
    assert "\x1b" not in output
    assert "red [bold]" in output
    assert "forged by facetell" in output


@pytest.mark.parametrize("verb", ["inspect", "prepare", "degrade"])
def test_what_reads_says_which_protections_the_system_lacks(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "SUPPORTED", False)  # as on Windows
    isolation.shared_readers.cache_clear()
    (tmp_path / "set").mkdir()
    photo = media.write_picture(tmp_path / "set" / "photo.png", media.astronaut())
    result = {
        "inspect": lambda: run("inspect", photo),
        "prepare": lambda: run(
            *("data", "prepare", tmp_path / "set", "-o", tmp_path / "cache", "--label", "REAL", "--workers", "1")
        ),
        "degrade": lambda: run("forge", "degrade", photo, "-o", tmp_path / "out.jpg"),
    }[verb]()
    isolation.shared_readers.cache_clear()
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "Files are read without a process of its own for reading files, a limit on memory" in said


def test_limits_hold_wherever_files_are_read(portrait_clip: Path, tmp_path: Path) -> None:
    few = ("--max-frames", "59")
    (tmp_path / "set").mkdir()
    clip = shutil.copy(portrait_clip, tmp_path / "set")
    for words in (("inspect", clip), ("forge", "degrade", clip, "-o", tmp_path / "out.mp4")):
        result = run(*words, *few)
        assert result.exit_code == 2
        assert "has more than 59 frames" in result.stderr
    made = (*("data", "prepare", tmp_path / "set", "-o", tmp_path / "cache"), *("--label", "REAL", "--workers", "1"))
    assert run(*made, *few).exit_code == 0
    assert "LimitError" in (tmp_path / "cache" / "gaps.csv").read_text()
    assert run("inspect", clip, "--max-pixels", "0").exit_code == 2


def test_a_folder_stands_for_what_is_in_it(tmp_path: Path) -> None:
    for number in range(2):
        media.write_picture(tmp_path / f"{number}.png", media.astronaut())
    result = run("inspect", tmp_path, "--json", "-")
    assert [Path(found["path"]).name for found in json.loads(result.stdout)["files"]] == ["0.png", "1.png"]
