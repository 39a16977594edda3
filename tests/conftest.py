"""What all tests share: the research data's folder, sample media, and slow tests last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import media

if "PYTEST_XDIST_WORKER" in os.environ:  # several test processes: a core each, in what they start too
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("facetell", deadline=None)  # a loaded machine is no failure
settings.load_profile("facetell")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of research data: FACETELL_DATA, else ../shared/data beside the repository. Skips without it."""
    folder = Path(os.environ.get("FACETELL_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the research data: {folder} is not there (set FACETELL_DATA)")
    return folder


@pytest.fixture(scope="session")
def portrait_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of one person, 320×240 H.264 at 30 frames a second, with sound."""
    folder = tmp_path_factory.mktemp("portrait")
    return media.write_video(folder / "portrait.mp4", media.portrait_frames(60), audio=True)
