"""Reads the MesoNet authors' published Keras weights, without TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from facetell.detectors import DetectorCard
from facetell.errors import DetectorFileError, FileMissingError
from facetell.faces.align import Geometry
from facetell.files import sha256_of
from facetell.networks.mesonet import SIZE, Meso4, MesoInception4, Mesonet
from facetell.training.export import export

_KINDS: dict[str, type[nn.Module]] = {"conv2d": nn.Conv2d, "batch_normalization": nn.BatchNorm2d, "dense": nn.Linear}
_NAMES = {  # Keras's -> torch's
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def import_mesonet(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> float:
    """Make a detector file of one of the authors' weight files (Meso4_*.h5, MesoInception_*.h5).

    Returns:
        The largest difference between torch's and ONNX Runtime's outputs on random pictures.

    Raises:
        FileMissingError: no such file.
        DetectorFileError: not a Keras weight file of Meso-4 or MesoInception-4.
        OutputError: `out` cannot be written.
    """
    network = read_mesonet(path)
    kind = type(network).__name__
    name = re.sub("[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-") or kind.lower()
    card = DetectorCard(
        name=name,
        version="1",
        kind="frame",
        input_size=SIZE,
        geometry=Geometry("whole"),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        outputs={"logit": "logit"},
        training_data=f"by the authors of MesoNet; see their publication. Imported from {Path(path).name}",
        licence="Apache-2.0",
        description=f"{kind} with the authors' weights (SHA-256 of their file: {sha256_of(path)}).",
        limits=(
            "It takes pictures whole: give it faces cut out already, as its authors did.",
            "It states no thresholds: nobody measured them on other data than its authors'.",
        ),
    )
    example = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return export(network, example, ["logit"], card, out)


def read_mesonet(path: str | os.PathLike[str]) -> Mesonet:
    """The network with these weights, in eval mode; which of the two it is, the number of convolutions tells.

    Raises:
        FileMissingError, DetectorFileError: as `import_mesonet`.
    """
    if not os.path.isfile(path):
        raise FileMissingError(f"There is no file {os.fspath(path)}.")
    advice = "Give one of the MesoNet authors' weight files, such as Meso4_DF.h5."
    try:
        with h5py.File(path, "r") as file:
            layers = _layers(file)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError) as error:  # h5py's, on broken files
        raise DetectorFileError(f"{os.fspath(path)} is not an HDF5 file, or damaged.", advice) from error
    network = MesoInception4() if len(layers["conv2d"]) > 4 else Meso4()
    for kind, module_type in _KINDS.items():
        modules = [module for module in network.modules() if isinstance(module, module_type)]
        if len(modules) != len(layers[kind]):
            raise DetectorFileError(
                f"{os.fspath(path)} has {len(layers[kind])} layers {kind}, {type(network).__name__} {len(modules)}.",
                advice,
            )
        for module, arrays in zip(modules, layers[kind], strict=True):
            state = {_NAMES.get(name, name): _torch(array) for name, array in arrays.items()}
            wanted = {name: value.shape for name, value in module.state_dict().items() if value.ndim}
            if {name: value.shape for name, value in state.items()} != wanted:
                raise DetectorFileError(f"{os.fspath(path)} has a layer {kind} of another shape.", advice)
            module.load_state_dict(state, strict=False)
    last = network.head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():  # their output is P(real)
        last.weight.neg_()
        last.bias.neg_()
    return network.eval()


def _layers(file: h5py.File) -> dict[str, list[Mapping[str, np.ndarray]]]:
    """Kind -> the arrays of each of its layers, in the order the authors' program made them, which the names number."""
    found: dict[str, list[tuple[int, Mapping[str, np.ndarray]]]] = {kind: [] for kind in _KINDS}
    for name, group in file.items():
        match = re.fullmatch(r"(\w+?)_(\d+)", name)
        if match and match[1] in found and isinstance(group, h5py.Group):
            found[match[1]].append((int(match[2]), _arrays(group)))
    return {kind: [arrays for _, arrays in sorted(layers, key=lambda x: x[0])] for kind, layers in found.items()}


def _arrays(layer: h5py.Group) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def add(path: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):  # a ValueError or TypeError for text and for what is empty
            found[Path(path).name.split(":")[0]] = np.asarray(item[()], np.float32)

    layer.visititems(add)
    return found


def _torch(array: np.ndarray) -> Tensor:
    """The same numbers in the order of torch's axes, outputs first."""
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif array.ndim == 2 and len(array) == 16 * 8 * 8:  # Keras flattens channels last
        array = array.reshape(8, 8, 16, -1).transpose(3, 2, 0, 1).reshape(-1, 16 * 8 * 8)
    else:
        array = array.T
    return torch.from_numpy(np.ascontiguousarray(array))
