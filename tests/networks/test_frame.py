"""The main detector's network: any backbone, weights from strangers, what is trained."""

from __future__ import annotations

import pytest
import torch

from facetell.errors import TrainingError
from facetell.networks.frame import FrameNet, fold_norms, mask_vote


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
def test_any_backbone_gives_the_same_outputs(backbone: str):
    network = FrameNet(backbone, 64).eval()
    outputs = network(torch.zeros(2, 3, 64, 64))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "logit": (2,),
        "blend": (2,),
        "texture": (2,),
        "mask": (2,),
        "heatmap": (2, 4, 4),
    }
    assert 0 <= outputs["heatmap"].min() <= outputs["heatmap"].max() <= 1


def test_either_kind_of_trace_is_enough():
    network = FrameNet("resnet18", 64).eval()
    network.join.copy_(torch.tensor([0.5, 2.0, 1.5, -3.0]))
    outputs = network(torch.randn(3, 3, 64, 64))
    pasted = 0.5 * outputs["blend"] + 1.5 * outputs["mask"]
    expected = torch.logaddexp(pasted, 2 * outputs["texture"] - 3)
    torch.testing.assert_close(outputs["logit"], expected)
    nothing, much = torch.tensor([-9.0]), torch.tensor([9.0])
    assert network.joined(nothing, much, nothing) > 10
    assert network.joined(much, nothing, much) > 10
    assert network.joined(nothing, nothing, nothing) < -10


def test_the_mask_votes_with_its_highest_sixteenth():
    mask = torch.zeros(1, 8, 8)
    mask[0, 0, :4] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert mask_vote(mask).item() == pytest.approx(2.5)


def test_norms_leaves_everything_else_frozen():
    network = FrameNet("vit_tiny_patch16_224", 64, tune="norms")
    trained = {name for name, value in network.backbone.named_parameters() if value.requires_grad}
    assert trained
    assert all("norm" in name for name in trained)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_folding_leaves_the_function_and_no_norms(backbone: str):
    network = FrameNet(backbone, 64)
    network.train()(torch.randn(4, 3, 64, 64))  # so that the norms have statistics of their own
    crops = torch.randn(2, 3, 64, 64)
    expected = network.eval()(crops)
    fold_norms(network.backbone, 64)
    folded = network.eval()(crops)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    for name, value in expected.items():
        torch.testing.assert_close(folded[name], value, rtol=1e-4, atol=1e-4)


def test_a_backbone_whose_norms_are_not_after_their_convolutions_is_not_folded():
    backbone = FrameNet("repvit_m0_9", 64).backbone
    generator = torch.Generator().manual_seed(0)
    for norm in (module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_var = 0.5 + torch.rand(norm.num_features, generator=generator)  # as after a training
    with pytest.raises(TrainingError, match=r"Folding this backbone's norms.*fold=false"):
        fold_norms(backbone, 64)


@pytest.mark.parametrize("backbone", ["vit_small_patch32_224", "vit_small_patch8_224"])
def test_a_backbone_without_the_masks_stride_is_refused(backbone: str, monkeypatch):
    monkeypatch.setattr("timm.models.vision_transformer.VisionTransformer.init_weights", lambda *_, **__: None)  # slow
    with pytest.raises(TrainingError, match=r"no feature map of one cell for 16 pixels.*vit_tiny_patch16_224"):
        FrameNet(backbone, 64)


def test_tuning_the_norms_needs_some():
    with pytest.raises(TrainingError, match="test_efficientnet has no LayerNorm"):
        FrameNet("test_efficientnet", 64, tune="norms")
