"""The options of `facetell train` that stand for settings of a recipe."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.cli.common import training_stack
from facetell.errors import MissingExtraError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frame", "--input", "residual", "--backbone", "resnet18"], "is not a face cache"),  # no fault of the options
        (["frame", "--input", "noise"], "none of 'rgb', 'residual'"),
        (["meso", "--recipe", "gru"], "The recipe gru is for the network gru. Give meso, meso-paper, or a file"),
        (["meso", "--recipe", "meso-paper"], "is not a face cache"),
        (["meso", "--backbone", "resnet18"], "unknown key 'backbone'"),
    ],
)
def test_the_recipe_on_the_command_line(words: list[str], said: str, tmp_path: Path):
    result = CliRunner().invoke(app, ["train", *words, "--data", str(tmp_path), "-o", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("asked", "missing", "error"),
    [
        ("facetell.data", "pandas", MissingExtraError),  # which by itself names [eval]
        ("torch", "torch", MissingExtraError),
        ("fcntl", "fcntl", ModuleNotFoundError),  # none of the extra's
    ],
)
def test_a_missing_package_names_the_extra_that_has_it(
    asked: str, missing: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(sys.modules, asked, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(error, match=missing) as caught, training_stack():
        importlib.import_module(asked)
    assert ("[train]" in str(caught.value)) == (error is MissingExtraError)
