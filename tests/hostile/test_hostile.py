"""150 hostile files of every kind; `make fuzz` tries thousands."""

from pathlib import Path

import pytest

from facetell.scanning import Scanner
from facetell.video import Limits
from tests.detectors.networks import saying
from tests.hostile.generator import cases
from tests.hostile.run import scan_all

LIMITS = Limits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def test_each_is_judged_or_refused_soon_in_little_memory_and_said_plainly(folder: Path, tmp_path: Path) -> None:
    scanner = Scanner(saying(tmp_path, -5.0), limits=LIMITS)
    summary = scan_all(cases(folder / "bases", 150), scanner, tmp_path, most_s=2 * LIMITS.seconds)
    print(summary)
    assert summary.tried == 150
    assert not summary.crashes
    assert not summary.hangs
    assert not summary.leaks
    assert not summary.broken
    assert summary.judged.total() > 20  # that is, not everything is refused
    assert summary.worst_mb[0] < LIMITS.memory_mb


def test_the_same_seed_draws_the_same_damage(folder: Path) -> None:
    first, again = list(cases(folder / "bases", 120, seed=3)), list(cases(folder / "bases", 120, seed=3))
    assert [case.name for case in first] == [case.name for case in again]
    for case, other in zip(first, again, strict=True):
        if case.kind in ("bits flipped", "cut up", "absurd header", "truncated"):
            assert case.make() == other.make()
