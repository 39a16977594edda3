import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from facetell.errors import OutputError
from facetell.files import replacing, temporary_folder


def test_a_temporary_folder_is_gone_afterwards() -> None:
    with temporary_folder() as folder:
        (folder / "a.txt").write_text("a")
    assert not folder.exists()


def test_no_place_for_a_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="no room for temporary files: No such file") as caught, temporary_folder():
        pass
    assert "TMPDIR" in caught.value.advice


def test_a_disk_that_fills_up_in_a_temporary_folder_is_named_and_other_errors_stay() -> None:
    with pytest.raises(OutputError, match="no room for temporary files: No space left"), temporary_folder():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), temporary_folder() as folder:
        (folder / "missing").read_text()
    assert not folder.exists()


def test_a_new_file_has_the_rights_of_any_without_a_touch_on_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is one for all threads of a host, and none can be read without setting it."""
    before = os.umask(0o027)
    try:
        monkeypatch.delattr(os, "umask")
        with replacing(tmp_path / "a.txt") as part:
            part.write_text("a")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_signal_while_the_temporary_file_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there as soon as the system made it, and a signal may be heard of before `touch` has returned."""
    touch = Path.touch

    def interrupted(self: Path, *args: Any, **options: Any) -> None:
        touch(self, *args, **options)
        raise SystemExit(129)

    monkeypatch.setattr(Path, "touch", interrupted)
    with pytest.raises(SystemExit), replacing(tmp_path / "a.txt"):
        pass
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EACCES, "another program"), (errno.ENOSPC, "disk"), (errno.ENAMETOOLONG, "shorter")]
)
def test_what_cannot_take_its_place_says_why(number: int, advice: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=advice), replacing(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))
    assert not os.listdir(tmp_path)
