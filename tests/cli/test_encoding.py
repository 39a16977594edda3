"""Terminals and pipes whose encoding lacks the signs that facetell prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facetell.cli.common import write
from tests.detectors.networks import saying


def scan(encoding: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "facetell", "scan", *map(str, arguments), "--exit-zero"]
    return subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=True)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_bars_become_digits_where_they_cannot_be_written(encoding: str, portrait_clip: Path, tmp_path: Path) -> None:
    detector = saying(tmp_path, 1.5)
    plain = scan(encoding, portrait_clip, "--detector", detector).stdout.decode(encoding)
    assert re.search(r"INCONCLUSIVE +0\.82 .* 7{10} ", plain)
    whole = scan("utf-8", portrait_clip, "--detector", detector).stdout.decode("utf-8")
    assert "▇" in whole


def test_documents_on_standard_output_are_utf8(tmp_path: Path, portrait_clip: Path) -> None:
    clip = tmp_path / "Käte–▇.mp4"
    clip.write_bytes(portrait_clip.read_bytes())
    table = scan("ascii", clip, "--detector", saying(tmp_path, 1.5), "--csv", "-").stdout.decode("utf-8")
    assert "Käte–▇.mp4" in table
    document = json.loads(scan("cp1252", clip, "--detector", tmp_path / "saying1.5.onnx", "--json", "-").stdout)
    assert document["verdicts"][0]["path"] == str(clip)


def test_what_is_written_to_standard_output_keeps_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    write("täxt\n", "-")
    print("after")
    assert capfd.readouterr().out == "before\ntäxt\nafter\n"
