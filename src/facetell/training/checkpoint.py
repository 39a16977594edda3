"""Checkpoints: what is in one, writing one, and reading one that may be broken or from a stranger."""

from __future__ import annotations

import dataclasses
import io
import pickle
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facetell.errors import TrainingError
from facetell.files import replacing
from facetell.training.recipe import Recipe

FORMAT = "facetell-checkpoint/1"


def read_checkpoint(path: Path, recipe: Recipe | None = None) -> dict[str, Any]:
    """A checkpoint's contents: "state_dict" and "facetell" (step, seconds, recipe, metrics, finished) among them.

    Only tensors and plain values are ever unpickled.

    Raises:
        TrainingError: missing, corrupt, not one of ours, or made by another recipe than `recipe`.
    """
    advice = "Delete it and resume from the one before it, or start anew in another folder."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise TrainingError(f"The checkpoint {path} is corrupt.", advice) from error
    if not _is_ours(state):
        raise TrainingError(f"{path} is not a checkpoint of this version of facetell.", advice)
    if recipe is not None:
        ours = dataclasses.asdict(recipe)
        theirs = dataclasses.asdict(type(recipe)()) | state["facetell"]["recipe"]  # keys younger than it: their default
        different = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        if different:
            raise TrainingError(
                f"The training in {path.parent} was begun with another recipe: {', '.join(different)} differ.",
                "Give the same recipe, or start anew in another folder.",
            )
    return state


def _is_ours(state: Any) -> bool:
    about = state.get("facetell") if isinstance(state, dict) else None
    if not isinstance(about, dict) or about.get("format") != FORMAT or not isinstance(about.get("recipe"), dict):
        return False
    weights = state.get("state_dict")
    return isinstance(weights, dict) and all(isinstance(value, torch.Tensor) for value in weights.values())


def trained_on(states: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Names of the data sets that checkpoints' weights were trained on, each once; older checkpoints say none."""
    return tuple(sorted({name for state in states for name in state["facetell"].get("trained_on", ())}))


def summary(
    step: int,
    seconds: float,
    recipe: Recipe,
    metrics: dict[str, float],
    *,
    finished: bool,
    caches: str = "",
    trained_on: Sequence[str] = (),
) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Args:
        caches: digest of what the training was begun on, where that is known.
        trained_on: names of the data sets that the weights have seen, in this training or an earlier one.
    """
    return {
        "format": FORMAT,
        "step": step,
        "seconds": seconds,
        "recipe": dataclasses.asdict(recipe),
        "metrics": dict(metrics),
        "finished": finished,
        "caches": caches,
        "trained_on": list(trained_on),
    }


def write_checkpoint(path: str | Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write the weights of a whole module with what the checkpoint is to say of itself.

    Raises:
        OutputError: `path` cannot be written.
    """
    content = io.BytesIO()  # written to a full disk, torch.save would raise a RuntimeError
    torch.save({"state_dict": module.state_dict(), "facetell": about}, content)
    with replacing(path) as part:
        part.write_bytes(content.getbuffer())


def latest_in(out: Path) -> Path | None:
    """The checkpoint to resume from, if there is one."""
    found = sorted(out.glob("last-*.ckpt"))
    return found[-1] if found else None
