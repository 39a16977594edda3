"""Recipes: everything that decides a training, in one TOML file checked against one dataclass."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from facetell.errors import RecipeError

R = TypeVar("R", bound="CommonRecipe")
RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Range:
    """The values a number may take, both ends included."""

    low: float
    high: float = float("inf")


@dataclass(frozen=True)
class CommonRecipe:
    """What every training needs, whatever trains."""

    seed: Annotated[int, Range(0, 2**31 - 1)] = 0  # what LightGBM takes, too
    steps: Annotated[int, Range(1)] = 1000  # length of the training; --max-minutes may end it sooner
    learning_rate: Annotated[float, Range(0)] = 3e-4
    patience: Annotated[int, Range(0)] = 0  # validations without a better `monitor` that end the training; 0: never


@dataclass(frozen=True)
class Recipe(CommonRecipe):
    """What a network's training needs. A task's recipe extends it: annotated fields with defaults are all it takes."""

    batch: Annotated[int, Range(1)] = 32
    weight_decay: Annotated[float, Range(0)] = 0.01
    warmup: Annotated[int, Range(0)] = 100  # steps of linear warm-up
    hold: Annotated[float, Range(0, 1)] = 0.3  # share of the budget before the cosine decay sets in
    clip_norm: Annotated[float, Range(0)] = 5.0  # largest gradient norm; 0: not clipped
    ema: Annotated[float, Range(0, 0.99999)] = 0.0  # decay of the weights' running average; 0: none
    validate_every: Annotated[int, Range(1)] = 100  # steps
    monitor: str = "loss"  # the validation metric that chooses the best weights
    mode: Literal["min", "max"] = "min"
    checkpoint_minutes: Annotated[float, Range(0)] = 2.0
    keep: Annotated[int, Range(1)] = 2  # latest checkpoints kept, beside the best


def load_recipe(name: str | Path, kind: type[R], overrides: Sequence[str] = ()) -> R:
    """The recipe of this name that ships, or of this TOML file, with `key=value` overrides on top.

    >>> load_recipe("meso", Recipe, ["seed=3", "steps=10"]).seed  # doctest: +SKIP
    3

    Raises:
        RecipeError: no such recipe, not TOML, an unknown key, a wrong type or a value out of range.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = RECIPES / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        shipped = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise RecipeError(
            f"{path} cannot be read: {error.strerror}.", f"Give a .toml file, or one of {shipped}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}.") from error
    values |= parse_overrides(overrides)
    source = f"{path} with --set" if overrides else str(path)
    return make_recipe(values, kind, source)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of `key=value` texts; a value is TOML, or a bare word.

    >>> parse_overrides(["seed=3", "mode=max", "kinds=[1, 0, 0]"])
    {'seed': 3, 'mode': 'max', 'kinds': [1, 0, 0]}

    Raises:
        RecipeError: a text without an equals sign.
    """
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise RecipeError(f"{override!r} is not an override.", "Write --set key=value.")
        values[key.strip()] = _parse(text.strip())
    return values


def make_recipe(values: dict[str, Any], kind: type[R], source: str = "the recipe") -> R:
    """A checked recipe from plain values; lists become tuples, whole numbers become floats where floats are wanted.

    >>> make_recipe({"learning_rate": 1, "mode": "max"}, Recipe).learning_rate
    1.0
    >>> make_recipe({"learning_rat": 1}, Recipe)
    Traceback (most recent call last):
    facetell.errors.RecipeError: the recipe has an unknown key 'learning_rat'. Did you mean 'learning_rate'?

    Raises:
        RecipeError: naming the key and the source.
    """
    import difflib

    hints = typing.get_type_hints(kind, include_extras=True)
    checked = {}
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            advice = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(sorted(hints))}."
            raise RecipeError(f"{source} has an unknown key {key!r}.", advice)
        checked[key] = _check(key, value, hints[key], source)
    return kind(**checked)


def to_toml(recipe: CommonRecipe) -> str:
    """The recipe as TOML that `load_recipe` reads back to an equal one.

    >>> to_toml(Recipe(seed=3)).splitlines()[0]
    'seed = 3'
    """
    return "".join(f"{key} = {_written(value)}\n" for key, value in dataclasses.asdict(recipe).items())


def _written(value: Any) -> str:
    """A value as TOML.

    >>> _written((1.5, float("inf"), True, 'a "b"'))
    '[1.5, inf, true, "a \\\\"b\\\\""]'
    """
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, str):  # as JSON, but that TOML knows no surrogates and wants DEL escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _check(key: str, value: Any, hint: Any, source: str) -> Any:
    if typing.get_origin(hint) is Annotated:
        kind, limits = typing.get_args(hint)
        value = _check(key, value, kind, source)
        for number in value if isinstance(value, tuple) else (value,):
            if not limits.low <= number <= limits.high:
                raise RecipeError(f"{source}: {key} = {value} is outside {limits.low} … {limits.high}.")
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise RecipeError(f"{source}: {key} = {value!r} is none of {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple:
        if isinstance(value, list | tuple):
            kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
            if len(value) == len(kinds):
                return tuple(_check(key, item, item_kind, source) for item, item_kind in zip(value, kinds, strict=True))
        raise RecipeError(f"{source}: {key} = {value!r} should be a list like {hint}.")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise RecipeError(f"{source}: {key} = {value!r} should be of type {hint.__name__}.")
    if hint is str and re.search("[\ud800-\udfff]", value):  # of a file's name; recipe.toml could not hold it
        raise RecipeError(f"{source}: {key} = {value!r} is no text in UTF-8.", "Give the file another name.")
    return value


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string, as a shell would have it
