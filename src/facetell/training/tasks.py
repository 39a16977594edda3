"""What a task is, and the list of them. Free of torch, so that the command line can list them fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from facetell.errors import RecipeError, UsageError
from facetell.training.recipe import CommonRecipe, Recipe

if TYPE_CHECKING:
    from facetell.data.cache import FaceCache
    from facetell.training.module import Module, Run


class Entry(NamedTuple):
    """Where a task lies."""

    place: str  # module:name
    recipe: str  # the shipped recipe that is its default
    others: tuple[str, ...] = ()  # shipped recipes that are for it, too


TASKS = {
    "autoencoder": Entry("facetell.training.autoencoder:TASK", "autoencoder"),
    "cnn3d": Entry("facetell.training.clip:CNN3D", "cnn3d"),
    "frame": Entry("facetell.training.frame:TASK", "default", ("ln-tune",)),
    "gru": Entry("facetell.training.clip:GRU", "gru"),
    "lightgbm": Entry("facetell.training.boosting:TASK", "lightgbm"),
    "meso": Entry("facetell.training.crop:MESO", "meso", ("meso-paper",)),
    "noise": Entry("facetell.training.crop:NOISE", "noise"),
}


class Batches(Protocol):
    """A map from a number to a whole batch: a dict of arrays, the same one each time it is asked for.

    For training the number is the step, 0, 1, 2, … without end, and all chance in it comes from
    `np.random.default_rng([seed, step])`: so a resumed run sees what an uninterrupted one would have seen.
    """

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


class SizedBatches(Batches, Protocol):
    """Batches that end: for validation."""

    def __len__(self) -> int: ...


class Data(NamedTuple):
    """What a task trains and validates on."""

    train: Batches
    validation: SizedBatches


class Task(Protocol):
    """One kind of detector: its recipe, network, loss, batches and file. One file each."""

    name: str

    @property
    def recipe(self) -> type[Recipe]: ...

    def module(self, recipe: Any) -> Module:
        """The network with its losses, randomly initialised from torch's global generator (seeded by `fit`)."""
        ...

    def data(self, recipe: Any, caches: Sequence[FaceCache]) -> Data:
        """Batches from the caches' train and dev splits; TrainingError where a class or a split is missing."""
        ...

    def validation(self, recipe: Any, caches: Sequence[FaceCache]) -> SizedBatches:
        """Those of `data` from the dev split alone, for weights that are measured and not trained."""
        ...

    def trained_on(self, caches: Sequence[FaceCache]) -> list[str]:
        """Names of the data sets in the caches' train splits, as the card gives them."""
        ...

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path:
        """Write the detector file, card inside, of `run.module` into `run.out`, and return its path."""
        ...


@runtime_checkable
class TrainsItself(Protocol):
    """A task without a torch training: `facetell.training.fit.fit` leaves it to the task. It takes seconds.

    It is not resumed: started again, it gives the same result.
    """

    name: str

    @property
    def recipe(self) -> type[CommonRecipe]: ...

    def fit(self, recipe: Any, caches: Sequence[FaceCache], out: Path) -> Run: ...

    def export(self, run: Run, caches: Sequence[FaceCache]) -> Path: ...


def recipe_for(name: str, asked: str | None) -> str:
    """The recipe asked for, a file or the name of one that ships; the task's own, if none is.

    >>> recipe_for("frame", None), recipe_for("frame", "ln-tune")
    ('default', 'ln-tune')

    Raises:
        RecipeError: one that ships for another network.
    """
    others = [task for task, entry in TASKS.items() if asked in (entry.recipe, *entry.others)]
    if others and name not in others:
        ours = ", ".join((TASKS[name].recipe, *TASKS[name].others))
        raise RecipeError(f"The recipe {asked} is for the network {others[0]}.", f"Give {ours}, or a file of your own.")
    return asked or TASKS[name].recipe


def get_task(name: str) -> Task | TrainsItself:
    """The task of this name.

    Raises:
        UsageError: no such task.
    """
    if name not in TASKS:
        raise UsageError(f"There is no network called {name!r} to train.", f"Known: {', '.join(sorted(TASKS))}.")
    return resolve_name(TASKS[name].place)
