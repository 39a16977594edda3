"""Backbones and their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from facetell.errors import TrainingError
from facetell.networks.backbone import load_backbone


def test_packaged_weights_fit_and_are_not_random():
    one = load_backbone("tf_efficientnet_lite0", 64, "package").state_dict()
    two = load_backbone("tf_efficientnet_lite0", 64, "package").state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_weights_from_a_file(tmp_path: Path):
    source = load_backbone("resnet18", 64, "none")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    loaded = load_backbone("resnet18", 64, str(tmp_path / "weights.pth"))
    assert torch.equal(source.state_dict()["conv1.weight"], loaded.state_dict()["conv1.weight"])


def test_an_unknown_backbone_is_named_with_near_ones():
    with pytest.raises(TrainingError, match=r"no backbone called 'resnet19'.*resnet1"):
        load_backbone("resnet19", 64, "none")


def test_a_missing_weight_package_says_what_to_install():
    with pytest.raises(TrainingError, match="pip install efficientnet-lite4-pytorch-model"):
        load_backbone("tf_efficientnet_lite4", 64, "package")


def test_a_backbone_without_a_package_says_what_to_set():
    with pytest.raises(TrainingError, match="No package holds weights for resnet18"):
        load_backbone("resnet18", 64, "package")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path):
    torch.save(load_backbone("resnet18", 64, "none").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(TrainingError, match="do not fit"):
        load_backbone("resnet34", 64, str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(TrainingError, match="not a file of weights"):
        load_backbone("resnet18", 64, str(tmp_path / "weights.pth"))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(TrainingError, match="There are no weights at"):
        load_backbone("resnet18", 64, str(tmp_path / "absent.pth"))


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_published_weights_are_unwrapped(tmp_path: Path, key: str):
    source = load_backbone("test_efficientnet", 64, "none").state_dict()
    torch.save({key: source, "epoch": 3}, tmp_path / "weights.pth")
    loaded = load_backbone("test_efficientnet", 64, str(tmp_path / "weights.pth")).state_dict()
    assert all(torch.equal(source[name], loaded[name]) for name in source)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"facetell": {}, "state_dict": {}}, "a checkpoint of facetell.*--set start"),
        (torch.zeros(3), "not a file of weights"),
        ({"epoch": 3}, "not a file of weights"),
        ({"state_dict": {}}, "do not fit the backbone"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object, said: str):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(TrainingError, match=said):
        load_backbone("test_efficientnet", 64, str(tmp_path / "weights.pth"))


def test_a_convolutional_backbone_that_is_called_vit_takes_any_size():
    assert load_backbone("efficientvit_b0", 64, "none").eval()(torch.zeros(1, 3, 64, 64)).ndim == 2
