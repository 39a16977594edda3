"""What `make` makes of the exit codes of what it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("code", "fails"), [(0, False), (1, False), (2, True), (141, True)])
def test_a_fake_is_no_error_of_make(code: int, fails: bool, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    facetell = tmp_path / "bin" / "facetell"
    facetell.write_text(f"#!/bin/sh\necho $@\nexit {code}\n")
    facetell.chmod(0o755)
    (tmp_path / ".installed").touch()
    command = ["make", "-C", str(ROOT), "scan", f"CORE={tmp_path}", "VIDEO=a clip.mp4"]
    # Whoever runs the tests by make hands its own flags on.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "scan a clip.mp4" in done.stdout
    assert (done.returncode != 0, f"Error {code}" in done.stderr) == (fails, fails)
