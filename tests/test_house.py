"""The rules of the house: which room may import which, and what a scan may load."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import facetell
from facetell.scanning import Scanner

SOURCE = Path(facetell.__file__).parent
ORDER = (
    *("types", "errors", "files", "residual", "video", "faces", "detectors", "scanning", "report"),
    *("data", "forge", "evaluation", "networks", "training", "cli"),
)
TRAINING_STACK = {"torch", "torchvision", "timm", "lightning"}
EVAL_STACK = {"pandas", "pyarrow", "sklearn", "scipy", "matplotlib"}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


def imports_of(path: Path) -> list[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_above_it(path: Path):
    room = path.relative_to(SOURCE).parts[0]
    below = ORDER[ORDER.index(room) + 1 :]
    wrong = [name for name in imports_of(path) if name.startswith("facetell.") and name.split(".")[1] in below]
    assert not wrong


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(SOURCE).parts[0] not in ("networks", "training")],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_only_networks_and_training_name_the_training_stack(path: Path):
    named = {name.split(".")[0] for name in imports_of(path)} & TRAINING_STACK
    allowed = {"lightning"} if path == SOURCE / "cli" / "train.py" else set()  # it says what to install
    assert named <= allowed


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(SOURCE).parts[0] != "video"],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_only_the_room_of_videos_parses_files(path: Path):
    """The others ask a `ReaderPool`, which does it in a process of its own."""
    named = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("facetell.video")
        for alias in node.names
    }
    assert not named & {"VideoReader", "Source", "probe", "provenance", "open_picture", "of_video", "of_picture"}


@pytest.mark.parametrize("module", ["facetell", "facetell.cli", "facetell.scanning", "facetell.report"])
def test_a_scan_loads_neither_torch_nor_tables(module: str):
    code = f"import sys, {module}; print(*(name.split('.')[0] for name in sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (TRAINING_STACK | EVAL_STACK)


def test_a_scan_leaves_nothing_in_the_home_of_its_user(tmp_path: Path):
    """Neither caches nor what ONNX Runtime would keep there to report to its maker."""
    clip = SOURCE.parents[1] / "examples" / "portrait.mp4"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "facetell", "scan", str(clip), "--quiet"], env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_type_checkers_know_the_package_and_what_scan_takes():
    assert (SOURCE / "py.typed").is_file()
    options = {name: hint.__forward_arg__ for name, hint in facetell.ScanOptions.__annotations__.items()}
    known = inspect.signature(Scanner).parameters
    assert options == {name: str(parameter.annotation) for name, parameter in known.items()}
