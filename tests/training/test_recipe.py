"""Recipes are read strictly: every mistake is named with its key and file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from facetell.errors import RecipeError, UsageError
from facetell.training.recipe import Range, Recipe, load_recipe, make_recipe, to_toml
from facetell.training.tasks import TASKS, get_task


@dataclass(frozen=True)
class Wide(Recipe):
    widths: Annotated[tuple[int, int], Range(1, 9)] = (1, 2)
    sizes: tuple[float, ...] = ()
    flip: bool = True


def write(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_overrides(tmp_path):
    path = write(tmp_path, "steps = 7\nlearning_rate = 1\nwidths = [3, 4]\n")
    recipe = load_recipe(path, Wide, ["steps=9", "monitor=auc", "sizes=[1, 2.5]", "flip=false"])
    assert (recipe.steps, recipe.learning_rate, recipe.widths) == (9, 1.0, (3, 4))
    assert (recipe.monitor, recipe.sizes, recipe.flip) == ("auc", (1.0, 2.5), False)


def test_toml_comes_back_equal(tmp_path):
    recipe = Wide(seed=5, widths=(7, 8), sizes=(0.5,), flip=False, learning_rate=1e-5)
    assert load_recipe(write(tmp_path, to_toml(recipe)), Wide) == recipe


@pytest.mark.parametrize(
    "values",
    [
        {"checkpoint_minutes": float("inf"), "sizes": (0.5, float("-inf"), 1e22)},
        {"monitor": '\U0001f600 ä "\\ \x7f \t \n \x00'},
        {"sizes": ()},
    ],
)
def test_what_json_writes_otherwise_comes_back_too(tmp_path, values):
    recipe = Wide(**values)
    assert load_recipe(write(tmp_path, to_toml(recipe)), Wide) == recipe


def test_a_name_that_is_no_utf_8_is_refused():
    with pytest.raises(RecipeError, match=r"monitor = 'a.udcff' is no text"):
        make_recipe({"monitor": "a\udcff"}, Recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", "unknown key 'stepz'. Did you mean 'steps'"),
        ("steps = 0", "steps = 0 is outside 1"),
        ("seed = 99999999999999999999999", "seed = 99999999999999999999999 is outside 0"),
        ("steps = 1.5", "steps = 1.5 should be of type int"),
        ("steps = true", "steps = True should be of type int"),
        ("ema = nan", "ema = nan is outside"),
        ("mode = 'most'", "mode = 'most' is none of 'min', 'max'"),
        ("widths = [1, 2, 3]", r"widths = \[1, 2, 3\] should be a list"),
        ("widths = [1, 10]", r"widths = \(1, 10\) is outside 1"),
        ("widths = 3", "widths = 3 should be a list"),
        ("flip = 1", "flip = 1 should be of type bool"),
        ("steps = ", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(write(tmp_path, text), Wide)
    assert "mine.toml" in str(caught.value)


def test_other_mistakes(tmp_path):
    with pytest.raises(RecipeError, match=r"no-such\.toml cannot be read"):
        load_recipe("no-such", Recipe)
    with pytest.raises(RecipeError, match="'steps' is not an override"):
        load_recipe(write(tmp_path, ""), Recipe, ["steps"])
    with pytest.raises(RecipeError, match="unknown key 'a'"):
        make_recipe({"a": 1}, Recipe)


@pytest.mark.parametrize("setting", ["learning_rate=0", "learning_rate=inf", "leaf_runs=1099511627776"])
def test_what_lightgbm_would_refuse_is_named(setting):
    with pytest.raises(RecipeError, match="is outside"):
        load_recipe("lightgbm", get_task("lightgbm").recipe, [setting])


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_ships_a_sound_recipe(name):
    task = get_task(name)
    assert task.name == name
    assert isinstance(load_recipe(TASKS[name].recipe, task.recipe), task.recipe)


def test_an_unknown_task():
    with pytest.raises(UsageError, match="no network called 'dpn'"):
        get_task("dpn")
