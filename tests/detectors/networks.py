"""Tiny ONNX networks whose answers can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facetell.detectors import DetectorCard, Threshold, pack
from facetell.faces import Geometry

SIZE = 32


def card(**changes: Any) -> DetectorCard:
    """A card for the networks below: mean 0 and std 1, so that a network sees pixel values in 0…1."""
    values: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "kind": "frame",
        "input_size": SIZE,
        "geometry": Geometry("landmarks", 1.0, 0.0),
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "outputs": {"logit": "logit"},
        "training_data": "none",
        "licence": "CC0-1.0",
    }
    return DetectorCard(**{**values, **changes})


def brightness(
    *, gain: float = 1.0, bias: float = 0.0, size: int = SIZE, channels: int = 3, frames: int | None = None
) -> onnx.ModelProto:
    """logit = gain · (mean of the input) + bias; also `heatmap`, the mean over channels, for single crops."""
    clip = [] if frames is None else [frames]
    axes = list(range(1, 4 + len(clip)))
    nodes = [
        helper.make_node("ReduceMean", ["crops", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logit"]),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    weights = [array("axes", axes, np.int64), array("gain", gain), array("bias", bias)]
    if frames is None:
        nodes.append(helper.make_node("ReduceMean", ["crops", "channel"], ["heatmap"], keepdims=0))
        weights.append(array("channel", [1], np.int64))
        outputs.append(helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, ["n", size, size]))
    return model(nodes, outputs, weights, ["n", *clip, channels, size, size])


def contrast() -> onnx.ModelProto:
    """logit = 100 · the mean absolute difference of a pixel and the one three to its right."""
    nodes = [
        helper.make_node("Slice", ["crops", "0", "29", "axis"], ["left"]),
        helper.make_node("Slice", ["crops", "3", "32", "axis"], ["right"]),
        helper.make_node("Sub", ["left", "right"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["size"]),
        helper.make_node("ReduceMean", ["size", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["logit"]),
    ]
    weights = [array(str(place), [place], np.int64) for place in (0, 3, 29, 32)]
    weights += [array("axis", [3], np.int64), array("axes", [1, 2, 3], np.int64), array("gain", 100.0)]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    return model(nodes, outputs, weights, ["n", 3, SIZE, SIZE])


def model(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto],
    shape: Sequence[int | str],
    **options: Any,
) -> onnx.ModelProto:
    """A model of opset 18 with the one input `crops`."""
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, list(shape))
    graph = helper.make_graph(list(nodes), "tiny", [crops], list(outputs), initializer=list(weights))
    options = {"opset_imports": [helper.make_opsetid("", 18)], **options}
    return helper.make_model(graph, ir_version=9, **options)


def array(name: str, values: Any, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def write(folder: Path, network: onnx.ModelProto | None = None, name: str = "tiny.onnx", **changes: Any) -> Path:
    """A detector file in `folder`: by default `brightness()` with a heat map."""
    bare = folder / f"bare-{name}"
    bare.write_bytes((network or brightness()).SerializeToString())
    if network is None:
        changes = {"outputs": {"logit": "logit", "heatmap": "heatmap"}, **changes}
    pack(bare, card(**changes), folder / name)
    return folder / name


def saying(folder: Path, logit: float, **changes: Any) -> Path:
    """A detector that gives every face this logit; FAKE from 1 (5 %) and 3 (1 %) up, REAL below 0."""
    thresholds = tuple(Threshold(rate, logit, 300, "made up", 0.0) for rate, logit in ((0.05, 1.0), (0.01, 3.0)))
    options = {"outputs": {"logit": "logit", "heatmap": "heatmap"}, "thresholds": thresholds, **changes}
    return write(folder, brightness(gain=0.0, bias=logit), f"saying{logit:g}.onnx", **options)
