"""ONNX Runtime gives what torch gives, and a network it does not is refused."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from facetell.detectors import DetectorCard, load_detector
from facetell.errors import DetectorFileError, TrainingError
from facetell.faces.align import Geometry
from facetell.files import sha256_of
from facetell.training import export as module
from facetell.training.export import export, parity

CARD = DetectorCard(
    name="tiny",
    version="1",
    kind="frame",
    input_size=16,
    geometry=Geometry("landmarks", 1.0),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    outputs={"logit": "logit"},
    training_data="none",
    licence="CC0",
)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, crops):
        return self.body(crops).mean((1, 2, 3))


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Tiny()
    network(torch.randn(64, 3, 16, 16))  # batch norm statistics other than 0 and 1
    return network


def test_the_file_is_a_detector_of_equal_numbers(network, tmp_path):
    path = tmp_path / "tiny.onnx"
    crops = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    example = ((crops.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    assert export(network, example, ["logit"], CARD, path) <= 1e-4
    logits = load_detector(path).score(crops.numpy()).logits  # another batch size than the example's is tested below
    torch.testing.assert_close(torch.from_numpy(logits), network(example).detach(), atol=1e-4, rtol=0)
    assert parity(network, path, torch.randn(9, 3, 16, 16)) <= 1e-4
    page = path.with_suffix(".md").read_text()
    assert page.startswith("# Detector tiny, version 1")
    assert sha256_of(path) in page


def test_batch_norms_are_folded_and_nothing_of_this_machine_is_told(network, tmp_path):
    path = tmp_path / "tiny.onnx"
    export(network, torch.randn(2, 3, 16, 16), ["logit"], CARD, path)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}
    assert str(torch.__path__[0]).encode() not in path.read_bytes()
    assert b"test_export" not in path.read_bytes()


def test_a_difference_is_an_error_and_leaves_no_file(network, tmp_path, monkeypatch):
    path = tmp_path / "tiny.onnx"
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match="differs from the trained one"):
        export(network, torch.randn(2, 3, 16, 16), ["logit"], CARD, path)
    assert not path.exists()


def test_a_network_that_is_not_as_its_card_says(network, tmp_path):
    with pytest.raises(DetectorFileError):
        export(network, torch.randn(2, 3, 20, 20), ["logit"], CARD, tmp_path / "tiny.onnx")
