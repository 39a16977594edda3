"""The MesoNet authors' weights: read without TensorFlow, as their own framework would run them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from facetell.data.cache import decode_picture
from facetell.detectors import load_detector
from facetell.errors import DetectorFileError, FileMissingError
from facetell.networks.mesonet import Meso4, MesoInception4
from facetell.training.keras import import_mesonet, read_mesonet


def keras_file(path, network):
    """A file as Keras would write it, made from a torch network: layers numbered from 5, as in the authors' files."""
    counts = {"conv2d": 5, "batch_normalization": 5, "dense": 3}
    with h5py.File(path, "w") as file:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                kind, arrays = "conv2d", {"kernel": module.weight.permute(2, 3, 1, 0), "bias": module.bias}
            elif isinstance(module, nn.BatchNorm2d):
                kind = "batch_normalization"
                arrays = {"gamma": module.weight, "beta": module.bias}
                arrays |= {"moving_mean": module.running_mean, "moving_variance": module.running_var}
            elif isinstance(module, nn.Linear):
                kind, weight = "dense", module.weight
                if weight.shape[1] == 1024:
                    weight = weight.reshape(16, 16, 8, 8).permute(2, 3, 1, 0).reshape(1024, 16)
                else:
                    weight = weight.T
                arrays = {"kernel": weight, "bias": module.bias}
            else:
                continue
            name = f"{kind}_{counts[kind]}"
            counts[kind] += 1
            for key, value in arrays.items():
                assert value is not None
                file[f"{name}/{name}/{key}:0"] = value.detach().numpy()
        file["flatten_1/nothing"] = np.zeros(0)
    return path


@pytest.mark.parametrize("kind", [Meso4, MesoInception4])
def test_weights_come_back_with_the_sign_turned(kind, tmp_path):
    torch.manual_seed(0)
    network = kind()
    network(torch.rand(2, 3, 256, 256))  # batch norm statistics other than 0 and 1
    network.eval()
    path = keras_file(tmp_path / "weights.h5", network)
    pictures = torch.rand(2, 3, 256, 256)
    with torch.inference_mode():
        torch.testing.assert_close(read_mesonet(path)(pictures), -network(pictures))


def test_the_detector_file(tmp_path):
    path, out = keras_file(tmp_path / "Meso4_XY.h5", Meso4()), tmp_path / "out.onnx"
    assert import_mesonet(path, out) <= 1e-4
    detector = load_detector(out)
    assert detector.card.name == "meso4-xy"
    assert detector.card.geometry.kind == "whole"
    assert detector.score(np.zeros((3, 256, 256, 3), np.uint8)).logits.shape == (3,)


def test_wrong_files(tmp_path):
    with pytest.raises(FileMissingError, match="no file"):
        read_mesonet(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("text")
    with pytest.raises(DetectorFileError, match=r"text\.h5 is not an HDF5 file"):
        read_mesonet(text)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["conv2d_1/conv2d_1/kernel:0"] = np.zeros((3, 3, 3, 8))
    with pytest.raises(DetectorFileError, match=r"other\.h5 has 1 layers conv2d, Meso4 4"):
        read_mesonet(tmp_path / "other.h5")
    path = keras_file(tmp_path / "shape.h5", Meso4())
    with h5py.File(path, "a") as file:
        del file["dense_4/dense_4/kernel:0"]
        file["dense_4/dense_4/kernel:0"] = np.zeros((8, 1))
    with pytest.raises(DetectorFileError, match="layer dense of another shape"):
        read_mesonet(path)


@pytest.mark.parametrize("kernel", [np.float32(1), "text", h5py.Empty("f")], ids=["scalar", "text", "empty"])
def test_a_kernel_that_is_no_array_is_named(kernel, tmp_path):
    path = keras_file(tmp_path / "odd.h5", Meso4())
    with h5py.File(path, "a") as file:
        del file["dense_3/dense_3/kernel:0"]
        file["dense_3/dense_3/kernel:0"] = kernel
    with pytest.raises(DetectorFileError, match=r"another shape|damaged"):
        read_mesonet(path)


def test_a_layer_that_is_no_group_is_none(tmp_path):
    path = keras_file(tmp_path / "odd.h5", Meso4())
    with h5py.File(path, "a") as file:
        del file["conv2d_6"]
        file["conv2d_6"] = np.zeros(3)
    with pytest.raises(DetectorFileError, match="has 3 layers conv2d, Meso4 4"):
        read_mesonet(path)


@pytest.mark.slow
def test_the_published_face2face_weights_rank_reenactments(data_dir):
    network = read_mesonet(data_dir / "weights" / "Meso4_F2F.h5")
    labels, logits = [], []
    for label, folder in enumerate(("real", "fake")):
        for path in sorted((data_dir / "ffpp_faces" / folder).glob("*.jpg")):
            image = decode_picture(path.read_bytes())
            assert image is not None
            picture = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
            with torch.inference_mode():
                logits.append(float(network(picture)))
            labels.append(label)
    assert roc_auc_score(labels, logits) == pytest.approx(0.86, abs=0.005)  # as in the authors' own framework
