"""The options of `facetell train` that stand for settings of a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from facetell.cli import app


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
