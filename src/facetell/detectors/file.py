"""Opens ONNX files from strangers: nothing runs before a file was found self-contained, plain and as its card says."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

from facetell.detectors.card import METADATA_KEY, DetectorCard
from facetell.errors import DetectorFileError, UnknownDetectorError, UsageError
from facetell.files import replacing

MAX_BYTES = 256 * 2**20
MAX_NODES = 20_000
MAX_TENSOR = 2**28  # elements of one tensor between layers, for one crop
STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
SHOWN = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}  # as large as what the picture shows makes them
GROWING = {
    "AffineGrid",
    "BlackmanWindow",
    "CenterCropPad",
    "Col2Im",
    "ConstantOfShape",
    "DFT",
    "Expand",
    "HammingWindow",
    "HannWindow",
    "MaxUnpool",
    "MelWeightMatrix",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "Tile",
    "Upsample",
}
PICKING = {"Cast", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze"}  # of sizes, they make none larger
INPUT = "crops"
Shape: TypeAlias = tuple[int | str, ...]
RUNTIME_ERRORS = (  # what ONNX Runtime raises; its exceptions have no base of their own
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)


@dataclass(frozen=True, eq=False, slots=True)
class NetworkFile:
    """A checked ONNX file, ready to become a session."""

    path: Path
    content: bytes


@dataclass(frozen=True, eq=False, slots=True)
class DetectorFile(NetworkFile):
    """One with a card, checked against it."""

    sha256: str
    card: DetectorCard


def read_network(path: str | os.PathLike[str]) -> NetworkFile:
    """A network that is no detector: self-contained and plain, without a card.

    Raises:
        UnknownDetectorError: no such file.
        DetectorFileError: not ONNX, too large, not self-contained or not plain.
    """
    model, content = _parse(Path(path))
    _check_plain(model, str(path))
    return NetworkFile(Path(path), content)


def read_detector_file(path: str | os.PathLike[str], *, published: bool = False) -> DetectorFile:
    """A detector file whose network and card have been checked against each other.

    Args:
        path: the file.
        published: it is known to be one that was checked before it shipped: its network is not checked again.

    Raises:
        UnknownDetectorError: no such file.
        DetectorFileError: not ONNX, too large, not self-contained, without a card, or not what its card says.
    """
    model, content = _parse(Path(path))
    cards = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(cards) != 1:
        raise DetectorFileError(
            f"{path} is an ONNX file without a facetell card.",
            "Make a detector file of it with `facetell models pack`.",
        )
    card = DetectorCard.from_json(cards[0], source=f"The card of {path}")
    if not published:
        _check_sizes(model, _check_plain(model, str(path), card), str(path))
    _check(model, card, str(path))
    return DetectorFile(Path(path), content, hashlib.sha256(content).hexdigest(), card)


def pack(onnx_path: str | os.PathLike[str], card: DetectorCard, out_path: str | os.PathLike[str]) -> None:
    """Write a detector file: the network of an ONNX file with `card` inside. Nothing is written unless both fit.

    The network takes `crops`, float32 (N, C, H, W) for kind `frame` and (N, T, C, H, W) for `clip` and `series`,
    already normalised as (x / 255 - mean) / std, and gives the outputs its card names: the logit of FAKE (N,), a heat
    map (N, h, w) in 0…1, parts (N,).

    Raises:
        DetectorError: the network is unfit or not what the card says.
        OutputError: `out_path` cannot be written.
    """
    model, _ = _parse(Path(onnx_path))
    _check_sizes(model, _check_plain(model, str(onnx_path), card), str(onnx_path))
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    _check(model, card, str(onnx_path))
    with replacing(out_path) as part:
        part.write_bytes(model.SerializeToString(deterministic=True))


def open_session(file: NetworkFile, device: str = "cpu", threads: int = 0) -> ort.InferenceSession:
    """An ONNX Runtime session for a checked file.

    Args:
        file: what `read_detector_file` or `read_network` gave.
        device: an ONNX Runtime provider by its short name, such as "cpu", "cuda" or "coreml".
        threads: within one call; 0 leaves it to ONNX Runtime.

    Raises:
        UsageError: this installation of ONNX Runtime has no such device.
        DetectorFileError: ONNX Runtime cannot run the network.
    """
    available = {name.removesuffix("ExecutionProvider").lower(): name for name in ort.get_available_providers()}
    if device.lower() not in available:
        raise UsageError(
            f"ONNX Runtime has no device {device!r} here.", f"It has {', '.join(sorted(available, key=_cpu_first))}."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # decoding has a use for the core
    options.enable_mem_pattern = False  # one block for all tensors: 33 MB more for the default detector, no faster
    try:
        return ort.InferenceSession(file.content, options, providers=[available[device.lower()]])
    except RUNTIME_ERRORS as error:
        raise DetectorFileError(f"ONNX Runtime cannot run {file.path}: {_one_line(error)}.") from error


def _parse(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """The model in a file and the very bytes it was read from; data outside the file is refused, never loaded."""
    try:
        if not path.is_file():
            raise UnknownDetectorError(
                f"There is no detector file {path}.", "`facetell models` lists the shipped ones."
            )
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnknownDetectorError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise DetectorFileError(f"{path} is larger than {MAX_BYTES >> 20} MB.")
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise DetectorFileError(f"{path} is not an ONNX file.") from error
    if not model.graph.node:
        raise DetectorFileError(f"{path} is not an ONNX file, or holds no network.")
    return model, content


def _check_plain(model: onnx.ModelProto, path: str, card: DetectorCard | None = None) -> dict[str, Shape]:
    """Only standard operators in one straight graph, all numbers inside: nothing to fetch, no loops, no dice.

    Returns:
        The shapes of its tensors for one crop as the card has it, as far as they can be known.
    """
    if model.functions or model.training_info:
        raise DetectorFileError(f"{path} defines functions or training steps of its own.", "Export it for inference.")
    domains = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
    if foreign := domains - STANDARD_DOMAINS:
        raise DetectorFileError(
            f"{path} uses operators of {min(foreign)!r}.", "Only those of the ONNX standard are run."
        )
    if len(model.graph.node) > MAX_NODES:
        raise DetectorFileError(f"{path} has more than {MAX_NODES} operators.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise DetectorFileError(f"{path} keeps its weights in another file.", "Save the model as a single file.")
    for node in model.graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise DetectorFileError(f"{path} has control flow ({node.op_type}).", "Export it as one straight graph.")
        if node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2):  # the third: whether it drops
            raise DetectorFileError(f"{path} draws random numbers ({node.op_type}).", "Export it for inference.")
        if node.op_type in SHOWN:
            raise DetectorFileError(f"{path} makes tensors of a size that depends on the picture ({node.op_type}).")
    try:
        onnx.checker.check_model(model)
        shapes = _shapes_of_one(model, (1,) if card is None else (1, *_item(card)))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, UnicodeDecodeError) as error:
        raise DetectorFileError(f"{path} is not a valid network: {_one_line(error)}.") from error
    for name, shape in shapes.items():
        elements = math.prod(size for size in shape if isinstance(size, int) and size > 0)
        if elements > MAX_TENSOR:
            raise DetectorFileError(f"{path} makes a tensor of {elements} numbers ({name}).")
    return shapes


def _check_sizes(model: onnx.ModelProto, shapes: dict[str, Shape], path: str) -> None:
    """A detector's crops are of one size, so that of whatever it makes of them can be known before it runs."""
    counting = _counting(model.graph)
    for node in model.graph.node:
        known = all(isinstance(size, int) for name in node.output for size in shapes.get(name, ("?",)))
        if node.op_type in GROWING and not known and not counting.issuperset(node.output):
            raise DetectorFileError(
                f"{path} makes a tensor of a size that cannot be known before it runs ({node.op_type}).",
                "Export it with fixed sizes.",
            )


def _shapes_of_one(model: onnx.ModelProto, crop: tuple[int, ...]) -> dict[str, Shape]:
    """The shapes of tensors between layers and of outputs, for one crop; what the file itself says is no evidence.

    Args:
        crop: sizes of its input, the batch's first, where the file leaves them open.
    """
    single = onnx.ModelProto()
    single.CopyFrom(model)
    weights = {tensor.name for tensor in single.graph.initializer}
    for value in single.graph.input:
        if value.name not in weights:
            for dim, size in zip(value.type.tensor_type.shape.dim, crop, strict=False):
                if not dim.HasField("dim_value"):
                    dim.dim_value = size
    del single.graph.value_info[:]
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    return {value.name: _shape(value) for value in (*graph.value_info, *graph.output) if _has_shape(value)}


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.HasField("shape")


def _counting(graph: onnx.GraphProto) -> set[str]:
    """What ranges give that count from 0 to a tensor's size, as PyTorch's exporter writes them: no more than that."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sizes, counting = set(), set()
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or (node.op_type in PICKING and node.input[0] in sizes):
            sizes.update(node.output)
        elif node.op_type == "Range" and node.input[1] in sizes:
            first, step = (weights.get(name) for name in (node.input[0], node.input[2]))
            if first is not None and step is not None and (_number(first), _number(step)) == (0, 1):
                counting.update(node.output)
    return counting


def _number(tensor: onnx.TensorProto) -> float:
    values = onnx.numpy_helper.to_array(tensor)
    return float(values) if values.size == 1 else math.nan


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _check(model: onnx.ModelProto, card: DetectorCard, path: str) -> None:
    """The network's inputs and outputs are those the card promises."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    if list(inputs) != [INPUT]:
        raise DetectorFileError(f"{path} must have the one input {INPUT!r}; it has {', '.join(inputs) or 'none'}.")
    if inputs[INPUT].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise DetectorFileError(f"The input of {path} is not float32.")
    wanted = (None, *_item(card))
    shape = _shape(inputs[INPUT])
    fits = len(shape) == len(wanted) and all(
        isinstance(size, str) or size == want for size, want in zip(shape[1:], wanted[1:], strict=True)
    )
    if not fits or isinstance(shape[0], int):
        raise DetectorFileError(
            f"The input of {path} has shape {_written(shape)}; its card asks for {_written(('N', *wanted[1:]))}."
        )
    outputs = {value.name for value in model.graph.output}
    for key, name in card.outputs.items():
        if name and name not in outputs:
            raise DetectorFileError(
                f"{path} has no output {name!r}, which its card names as {key!r}.",
                f"It has {', '.join(sorted(outputs))}.",
            )


def _item(card: DetectorCard) -> tuple[int, ...]:
    """The network's input for one crop or run of crops."""
    clip = () if card.kind == "frame" else (card.frames,)
    return (*clip, card.channels, card.input_size, card.input_size)


def _shape(value: onnx.ValueInfoProto) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)


def _written(shape: tuple[object, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _cpu_first(name: str) -> tuple[bool, str]:
    return name != "cpu", name


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
