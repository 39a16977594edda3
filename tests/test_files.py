import errno
import os
import tempfile
from pathlib import Path

import pytest

from facetell.errors import OutputError
from facetell.files import temporary_folder


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
