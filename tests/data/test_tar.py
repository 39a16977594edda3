"""Tars are read at random; what does not lie in them as it is gets refused."""

from __future__ import annotations

import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from facetell.data.tar import members, open_file, read_bytes
from facetell.errors import DataError
from tests.data.made import add_member


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """A few kilobytes may claim terabytes, and what is stored is not what was packed."""
    sparse = tarfile.TarInfo("a.jpg")
    sparse.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 42)}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(sparse)
    with pytest.raises(DataError, match=r"holds a sparse file, 'a\.jpg'"):
        read_bytes(str(tmp_path / "a.tar"), "a.jpg")


def test_twenty_tars_in_turn_are_listed_once_each(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{k}.tar") for k in range(20)]
    for path in paths:
        with tarfile.open(path, "w") as tar:
            add_member(tar, "a", path.encode())
    before = members.cache_info().misses
    for path in paths * 2:
        assert read_bytes(path, "a") == path.encode()
    assert members.cache_info().misses - before == 20


def test_members_are_read_where_a_descriptor_has_one_position_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which has neither `pread` nor `preadv`."""
    for name in ("pread", "preadv"):
        monkeypatch.delattr(os, name, raising=False)
    path = str(tmp_path / "a.tar")
    contents = {f"{k}": bytes([k]) * (30_000 + k) for k in range(4)}
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            add_member(tar, name, content)
    assert read_bytes(path, "2") == contents["2"]
    with closing(open_file(path, "3")) as file, closing(file.twin()) as twin, ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda k: (file, twin)[k % 2].read(k, 20_000 + k), range(100)))
    assert got == [contents["3"][k : 20_000 + 2 * k] for k in range(100)]
