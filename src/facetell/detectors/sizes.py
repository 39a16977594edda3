"""The shapes of a network's tensors, worked out node by node before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape: TypeAlias = tuple[int | str, ...]
FEW = 64  # numbers of a tensor whose values are looked at: a list of sizes has no more
FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
UNCHANGED = {"GroupNormalization", "MeanVarianceNormalization"}  # ONNX infers no shape for them: that of their input


def network_shapes(model: onnx.ModelProto, inputs: Sequence[int]) -> Iterator[tuple[onnx.NodeProto, str, Shape | None]]:
    """Each tensor that a node makes, in order: the node, the tensor's name and its shape.

    What the network computes from the shapes of its tensors alone is computed here too, exactly, because other shapes
    are made of it. What the file itself says of a tensor between layers, or of an output, is no evidence.

    Args:
        model: a valid one, without control flow and sparse weights.
        inputs: sizes of its input, the batch's first, where the file leaves them open.

    Yields:
        In place of a size that only a run would tell, the shape has a name or "?"; it is None where not even the
        number of dimensions is known.

    Raises:
        onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, IndexError, OverflowError: an
            operator cannot take what it is given, or would end the process on some of it.
    """
    versions = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    imports = list(model.opset_import)
    types, values = _given(model.graph, inputs)
    for node in model.graph.node:
        names = [name for name in node.input if name]
        if node.op_type in ("Div", "Mod") and not _divides(node, types, values):
            raise ValueError(f"whole numbers are divided by what may be 0 or -1 ({node.op_type})")
        made: dict[str, onnx.TypeProto] = {}
        if node.op_type in UNCHANGED and names[0] in types:
            made = {node.output[0]: types[names[0]]}
        elif all(name in types for name in names):
            made = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain),
                node,
                {name: types[name] for name in names},
                {name: values[name] for name in names if name in values},
                opset_imports=imports,
                ir_version=model.ir_version,
            )
        types.update((name, kind) for name, kind in made.items() if kind.tensor_type.elem_type)
        for name in filter(None, node.output):
            yield node, name, shape_of(types[name]) if name in types else None
        sizes = _known(types.get(node.output[0]))
        if sizes is not None and math.prod(sizes) <= FEW:
            value = _constant(node) if node.op_type == "Constant" else _computed(node, types, values, sizes)
            if value is not None:
                values[node.output[0]] = value


def shape_of(kind: onnx.TypeProto) -> Shape | None:
    """The shape in a tensor's type, if there is one; unknown sizes by their name or "?"."""
    if not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)


def _given(
    graph: onnx.GraphProto, inputs: Sequence[int]
) -> tuple[dict[str, onnx.TypeProto], dict[str, onnx.TensorProto]]:
    """The types of what is there before the first node, and the values of small weights."""
    types: dict[str, onnx.TypeProto] = {}
    for tensor in graph.initializer:
        types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    for value in graph.input:
        if value.name not in types:
            kind = onnx.TypeProto()
            kind.CopyFrom(value.type)
            for dim, size in zip(kind.tensor_type.shape.dim, inputs, strict=False):
                if not dim.HasField("dim_value"):
                    dim.dim_value = size
            types[value.name] = kind
    return types, {tensor.name: tensor for tensor in graph.initializer if math.prod(tensor.dims) <= FEW}


def _divides(node: onnx.NodeProto, types: dict[str, onnx.TypeProto], values: dict[str, onnx.TensorProto]) -> bool:
    """Whether the processor can carry out a division: of whole numbers not by 0, and the lowest of all not by -1."""
    divisor = node.input[1]
    if divisor in types and types[divisor].tensor_type.elem_type in FLOATS:
        return True
    return divisor in values and not np.isin(numpy_helper.to_array(values[divisor]), (0, -1)).any()


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    match attribute.name:
        case "value":
            return value
        case "value_int" | "value_ints":
            return numpy_helper.from_array(np.array(value, np.int64))
        case "value_float" | "value_floats":
            return numpy_helper.from_array(np.array(value, np.float32))
    return None


def _computed(
    node: onnx.NodeProto, types: dict[str, onnx.TypeProto], values: dict[str, onnx.TensorProto], shape: tuple[int, ...]
) -> onnx.TensorProto | None:
    """What a node makes of known sizes, which are always int64; None where it makes something else."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type in ("Shape", "Size"):
        sizes = _known(types[node.input[0]])
        if sizes is None:
            return None
        part = sizes[attributes.get("start", 0) : attributes.get("end")]
        return numpy_helper.from_array(np.array(part if node.op_type == "Shape" else math.prod(sizes), np.int64))
    if any(name not in values or values[name].data_type != onnx.TensorProto.INT64 for name in node.input):
        return None
    arrays = [numpy_helper.to_array(values[name]) for name in node.input]
    with np.errstate(over="ignore"):  # it wraps around there, too
        match node.op_type:
            case "Add":
                made = np.add(*arrays)
            case "Sub":
                made = np.subtract(*arrays)
            case "Mul":
                made = np.multiply(*arrays)
            case "Concat":
                made = np.concatenate(arrays, attributes["axis"])
            case "Gather":
                made = np.take(arrays[0], arrays[1], attributes.get("axis", 0))
            case "Slice" if len(arrays) > 2 and all(places.ndim == 1 for places in arrays[1:]):
                made = _sliced(*arrays)
            case "Range":
                made = arrays[0] + arrays[2] * np.arange(*shape)
            case "Identity" | "Reshape" | "Squeeze" | "Unsqueeze":
                made = arrays[0].reshape(shape)
            case _:
                return None
    return numpy_helper.from_array(np.asarray(made, np.int64)) if made.shape == shape else None


def _sliced(
    array: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones_like(starts) if steps is None else steps
    where = [slice(None)] * array.ndim
    for axis, *places in zip(axes, starts, ends, steps, strict=True):
        where[axis] = slice(*places)
    return array[tuple(where)]


def _known(kind: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """The shape, if all of it is known."""
    sizes = None if kind is None else shape_of(kind)
    if sizes is None:
        return None
    known = tuple(size for size in sizes if isinstance(size, int))
    return known if len(known) == len(sizes) else None
