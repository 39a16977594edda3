"""The main detector: one backbone that looks at one aligned face, with three opinions on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facetell.errors import TrainingError
from facetell.networks.backbone import features_of, load_backbone

Part = Literal["blend", "texture", "mask"]
PARTS: tuple[Part, ...] = ("blend", "texture", "mask")  # the opinions, in the order of `FrameNet.join`
JOIN = (1.0, 2.0, 1.0, -1.0)
MASK_STRIDE = 16  # input pixels to a cell of the mask
MARGIN = MASK_STRIDE  # input pixels by which the crop for a wide look is larger on each side: one cell of the map
FOLDED = 0.01  # share of the largest number that folding norms may change by its rounding
MASK_TOP = 16  # the mask's opinion is the mean of its highest 1/16 of cells


class Opinions(nn.Module):
    """What has three opinions on a face, and joins them into one score."""

    join: Tensor  # weights of PARTS, then a constant beside texture

    def parts(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Blend (N,) and texture (N,) logits and the mask's logits (N, h, w) of normalised crops (N, 3, H, W)."""
        raise NotImplementedError

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


class FrameNet(Opinions):
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

    def __init__(self, backbone: str, size: int, weights: str = "none", tune: str = "all", drop: float = 0.2) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Identity()  # what is done to the crops before the backbone sees them
        self.backbone = load_backbone(backbone, size, weights)
        self.level, channels, deep = _mask_level(self.backbone)
        self.normalise = tune == "norms"
        if self.normalise:
            _freeze_all_but_norms(self.backbone)
            if not any(weight.requires_grad for weight in self.backbone.parameters()):
                raise TrainingError(f"{backbone} has no LayerNorm to train alone.", "Set tune=all, or take a vit.")
        self.mean, self.std = (tuple(self.backbone.pretrained_cfg[name]) for name in ("mean", "std"))
        self.head = nn.Sequential(nn.Dropout(drop), nn.Linear(features_of(self.backbone), 2))
        self.mask_near = nn.Conv2d(channels, 64, 1)
        self.mask_deep = nn.Conv2d(deep, 64, 1)
        self.mask_out = nn.Conv2d(64, 1, 1)
        self.register_buffer("join", torch.tensor(JOIN))

    def parts(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        final, levels = self.backbone.forward_intermediates(self.stem(crops))
        features = self.backbone.forward_head(final, pre_logits=True)
        if self.normalise:
            features = F.normalize(features, dim=1)
        logits = self.head(features)
        near = self.mask_near(levels[self.level])
        deep = F.interpolate(self.mask_deep(levels[-1]), size=near.shape[-2:], mode="nearest")
        mask = self.mask_out(F.relu(near + deep))[:, 0]
        return logits[:, 0], logits[:, 1], mask


class Member(NamedTuple):
    """A network of an ensemble, and how it looks at a crop."""

    network: FrameNet
    mirror: bool  # it looks twice: the second time at the mirror image
    wide: bool = False  # its first look takes the whole of a crop with a margin, reduced to the size of its middle
    votes: frozenset[Part] = frozenset(PARTS)  # the opinions of it that count


class Ensemble(Opinions):
    """Several looks at one crop: the mean of their logits, which errs less than one look's.

    Networks trained apart, on other fakes or with another backbone, err apart (Lakshminarayanan et al., "Simple and
    Scalable Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS 2017), and so does one network that sees
    a face the other way round and in another size. Every look counts the same, so a network that looks twice counts
    twice. The first one's join holds.

    Args:
        members: networks for crops of one size; for each of PARTS one at least that votes on it.

    Attributes:
        margin: pixels by which a crop is larger on each side than the networks' input: `MARGIN` if any look is wide.

    >>> nets = [FrameNet(name, 64, "none").eval() for name in ("tf_efficientnet_lite0", "tf_efficientnet_lite2")]
    >>> both = Ensemble([Member(nets[0], mirror=True), Member(nets[1], mirror=False, votes=frozenset({"blend"}))])
    >>> both.eval()(torch.zeros(2, 3, 64, 64))["heatmap"].shape
    torch.Size([2, 4, 4])
    >>> Ensemble([Member(nets[0], mirror=True, wide=True)]).eval()(torch.zeros(2, 3, 96, 96))["heatmap"].shape
    torch.Size([2, 6, 6])
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in members)
        self.members = members
        self.margin = MARGIN if any(member.wide for member in members) else 0
        self.register_buffer("join", members[0].network.join.clone())

    def parts(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        opinions: dict[Part, list[Tensor]] = {name: [] for name in PARTS}
        middle = crops[..., self.margin : -self.margin, self.margin : -self.margin] if self.margin else crops
        for network, mirror, wide, votes in self.members:
            looks = [self._whole(network, crops, middle.shape[-2:]) if wide else self._middle(network, middle)]
            if mirror:
                blend, texture, mask = self._middle(network, middle.flip(3))
                looks.append((blend, texture, mask.flip(2)))
            for name, *given in zip(PARTS, *looks, strict=True):
                opinions[name] += given if name in votes else []
        blend, texture, mask = (torch.stack(given).mean(dim=0) for given in opinions.values())
        return blend, texture, mask

    def _whole(self, network: FrameNet, crops: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        blend, texture, mask = network.parts(F.interpolate(crops, size, mode="bilinear", antialias=True))
        cells = [side + 2 * self.margin // MASK_STRIDE for side in mask.shape[-2:]]
        return blend, texture, F.interpolate(mask[:, None], cells, mode="bilinear")[:, 0]

    def _middle(self, network: FrameNet, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map is carried on to the crop's border, which this look does not see."""
        blend, texture, mask = network.parts(crops)
        return blend, texture, F.pad(mask[:, None], [self.margin // MASK_STRIDE] * 4, mode="replicate")[:, 0]


def mask_vote(mask: Tensor) -> Tensor:
    """The mean (N,) of the highest 1/16 of a map's (N, h, w) cells."""
    cells = mask.flatten(1)
    return cells.topk(max(1, cells.shape[1] // MASK_TOP), dim=1).values.mean(dim=1)


def _mask_level(backbone: Any) -> tuple[int, int, int]:
    """Which of the backbone's feature maps has the mask's stride, its channels, and the channels of the last one."""
    levels = list(backbone.feature_info)
    fit = [i for i, level in enumerate(levels) if level["reduction"] == MASK_STRIDE]
    if not fit:
        raise TrainingError(
            f"The backbone has no feature map of one cell for {MASK_STRIDE} pixels, which the mask needs.",
            "Choose another, such as tf_efficientnet_lite0 or vit_tiny_patch16_224.",
        )
    return fit[-1], levels[fit[-1]]["num_chs"], levels[-1]["num_chs"]


def fold_norms(backbone: nn.Module, size: int) -> None:
    """Put every batch norm's scale and shift into the convolution before it, in place: the same function without norms.

    What follows is trained without batch statistics: faster, and a batch may be of any size. For networks that
    declare each norm right after its convolution, as most of timm's convolutional ones do.

    Raises:
        TrainingError: the backbone gives something else afterwards, at pictures of this size.
    """
    picture = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    backbone.eval()
    with torch.no_grad():
        before = backbone(picture)
        _fold(backbone)
        change = (backbone(picture) - before).abs().max()
    if change > FOLDED * before.abs().max():
        raise TrainingError("Folding this backbone's norms would change what it computes.", "Set fold=false.")


def _fold(module: nn.Module) -> None:
    children = list(module.named_children())
    for (name, convolution), (after, norm) in pairwise(children):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(convolution.eval(), norm.eval()))
            setattr(module, after, getattr(norm, "act", nn.Identity()))  # timm's norms hold the activation too
    for child in module.children():
        _fold(child)


def _freeze_all_but_norms(backbone: nn.Module) -> None:
    backbone.requires_grad_(False)
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)
