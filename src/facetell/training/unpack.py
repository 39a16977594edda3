"""The networks inside a detector file as checkpoints, for whoever has the file alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from facetell.detectors.file import DetectorFile
from facetell.errors import DetectorFileError, TrainingError
from facetell.networks.frame import MARGIN
from facetell.training.checkpoint import summary, write_checkpoint
from facetell.training.frame import TASK, FrameRecipe
from facetell.training.recipe import load_recipe, parse_overrides

_WEIGHT = re.compile(r"network\.networks\.(\d+)\.(.+\.(?:weight|bias))(?:_DequantizeLinear_Output)?")


def unpack(file: DetectorFile, number: int, out: str | Path, overrides: Sequence[str] = ()) -> None:
    """Write one of the networks of a frame detector's file as a checkpoint: to train on, to average, to join anew.

    Its batch norms are folded. Weights of 8 bits come back as the numbers that they stand for, no finer. The file does
    not say how its networks were trained, so the checkpoint's recipe is `default` with `overrides`; but `scale` is the
    card's.

    Args:
        file: what `facetell train frame`, `average frame`, `ensemble` or `models quantise` wrote.
        number: which of its networks, from 1, in the order in which the card's description names the backbones.
        out: the checkpoint.
        overrides: `key=value` on the recipe: `backbone`, where it is not the recipe's, and how the network looks at a
            crop: `size`, `mirror`, `wide`, `votes`.

    Raises:
        DetectorFileError: its weights are not what the network's operators need.
        TrainingError: it holds no such network, or not one of the recipe's backbone; or `size` or `scale` contradicts
            its card.
        RecipeError: an override that does not, or `fold = false`.
        OutputError: `out` cannot be written.
    """
    networks = _networks(file)
    if number not in networks:
        held = f"{len(networks)} networks" if networks else "no network of `facetell train frame` with folded norms"
        raise TrainingError(
            f"{file.path} holds {held}; there is no network {number}.", "Choose another number or file."
        )
    recipe = _recipe_for(file, overrides)
    if not recipe.fold:
        raise TrainingError("The batch norms of a detector file are folded: fold = false is impossible.", "Leave it.")
    module = TASK.module(recipe)
    ours, theirs = dict(module.network.named_parameters()), networks[number]
    zeros = {name: np.zeros(value.shape, np.float32) for name, value in ours.items() if name.endswith(".bias")}
    theirs = zeros | theirs  # a bias of zeros is left out of a file
    if {name: value.shape for name, value in ours.items()} != {name: value.shape for name, value in theirs.items()}:
        raise TrainingError(
            f"Network {number} of {file.path} is not a {recipe.backbone} with folded norms.",
            "The description in its card names the backbones (facetell models --detector FILE): --set backbone=NAME.",
        )
    module.network.load_state_dict({name: torch.from_numpy(value) for name, value in theirs.items()}, strict=False)
    names = file.card.training_data.partition(", with ")[0].split(", ")  # what the forge made, the recipe says
    write_checkpoint(out, module, summary(0, 0.0, recipe, {}, finished=True, trained_on=names))


def _recipe_for(file: DetectorFile, overrides: Sequence[str]) -> FrameRecipe:
    """The recipe `default` with the overrides, at the card's scale; the weights of its backbone are in the file."""
    recipe = load_recipe("default", FrameRecipe, overrides)
    side, plain = file.card.input_size, file.card.input_size - 2 * MARGIN
    if recipe.size not in (side, plain):
        raise TrainingError(
            f"size = {recipe.size} contradicts the card of {file.path}, which takes crops of {side} pixels.",
            f"Give --set size={side}, or {plain} if one of its networks looks at a wide crop.",
        )
    scale = round(file.card.geometry.scale * side / recipe.size, 6)  # a face is as large with a margin as without
    if "scale" in parse_overrides(overrides) and abs(recipe.scale - scale) > 1e-6:
        raise TrainingError(
            f"scale = {recipe.scale:g} contradicts the card of {file.path}: at {recipe.size} pixels it is {scale:g}.",
            "Leave it out.",
        )
    return replace(recipe, scale=scale, weights="none")


def _networks(file: DetectorFile) -> dict[int, dict[str, np.ndarray]]:
    """The weights of each network by its number from 1, whether they stand there as they are or in 8 bits."""
    graph = onnx.load_model_from_string(file.content).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[int, dict[str, np.ndarray]] = {}
    try:
        for name, tensor in tensors.items():
            if (match := _WEIGHT.fullmatch(name)) and tensor.data_type == onnx.TensorProto.FLOAT:
                found.setdefault(int(match[1]) + 1, {})[match[2]] = numpy_helper.to_array(tensor).copy()
        for node in graph.node:
            match = _WEIGHT.fullmatch(node.output[0]) if node.op_type == "DequantizeLinear" else None
            if match and all(name in tensors for name in node.input):
                inputs = {name: numpy_helper.to_array(tensors[name]) for name in node.input}
                (value,) = ReferenceEvaluator(node).run(None, inputs)
                found.setdefault(int(match[1]) + 1, {})[match[2]] = np.asarray(value)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raise DetectorFileError(f"The weights in {file.path} cannot be read: {error}.") from error
    return found
