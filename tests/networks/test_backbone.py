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
