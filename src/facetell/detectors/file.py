"""Opens ONNX files from strangers: nothing runs before a file was found self-contained, plain and as its card says."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

from facetell.detectors.card import METADATA_KEY, DetectorCard
from facetell.detectors.sizes import Shape, network_shapes, shape_of
from facetell.errors import DetectorFileError, UnknownDetectorError, UsageError
from facetell.files import replacing

MAX_BYTES = 256 * 2**20
MAX_NODES = 20_000
MAX_TENSOR = 2**28  # elements of one tensor between layers, for one crop
MAX_HELD = 2**29  # of all of them that are held at one time
STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
SHOWN = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}  # as large as what the picture shows makes them
UNFIT = (onnx.shape_inference.InferenceError, onnx.checker.ValidationError)  # shape inference raises either
INPUT = "crops"
CROPS_AT_ONCE = (1, 2)  # as `Detector` gives them to a network: whole batches, and what is left
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
    _check_sizes(model, (1,), str(path), known=False)
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
        _check_network(model, card, str(path))
    _check_card(model, card, str(path))
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
    _check_network(model, card, str(onnx_path))
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    _check_card(model, card, str(onnx_path))
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


def _check_network(model: onnx.ModelProto, card: DetectorCard, path: str) -> None:
    """It is plain, of a known and sane size for as many crops as it will ever be given at once, and gives for each of
    them what its card says.
    """
    _check_plain(model, path)
    found = {crops: _check_sizes(model, (crops, *_item(card)), path) for crops in CROPS_AT_ONCE}
    for crops, shapes in found.items():
        for name in filter(None, card.outputs.values()):
            dimensions = 3 if name == card.heatmap else 1
            shape = shapes.get(name)
            if shape is not None and (len(shape) != dimensions or shape[0] != crops):
                raise DetectorFileError(
                    f"Output {name!r} of {path} has shape {_written(shape)} where N is {crops}.",
                    f"It must be {'(N, h, w)' if dimensions == 3 else '(N,)'}: reshape it and export again.",
                )


def _check_plain(model: onnx.ModelProto, path: str) -> None:
    """Only standard operators in one straight graph, all numbers inside: nothing to fetch, no loops, no dice."""
    if model.functions or model.training_info:
        raise DetectorFileError(f"{path} defines functions or training steps of its own.", "Export it for inference.")
    domains = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
    if foreign := domains - STANDARD_DOMAINS:
        raise DetectorFileError(
            f"{path} uses operators of {min(foreign)!r}.", "Only those of the ONNX standard are run."
        )
    if len(model.graph.node) > MAX_NODES:
        raise DetectorFileError(f"{path} has more than {MAX_NODES} operators.")
    if model.graph.sparse_initializer:  # small in the file, made whole when it is loaded
        raise DetectorFileError(f"{path} keeps weights as sparse tensors.", "Save them as plain ones.")
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
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise DetectorFileError(f"{path} is not a valid network: {_one_line(error)}.") from error


def _check_sizes(
    model: onnx.ModelProto, inputs: Sequence[int], path: str, known: bool = True
) -> dict[str, Shape | None]:
    """No tensor is absurdly large, nor are all that are held at one time; and a detector's crops are of one size, so
    that all sizes must be `known` now: here they are, by the tensors' names.
    """
    made, shapes = {}, {}
    try:
        for node, name, shape in network_shapes(model, inputs):
            sizes = [size for size in shape or () if isinstance(size, int) and size >= 0]
            if known and (shape is None or len(sizes) < len(shape)):
                raise DetectorFileError(
                    f"{path} makes a tensor of a size that cannot be known before it runs"
                    f" ({node.op_type}, node {node.name or name!r}).",
                    "Export it with fixed sizes; only the batch may be free.",
                )
            elements = math.prod(size for size in sizes if size)
            if elements > MAX_TENSOR * inputs[0]:  # before the next is looked at, which may be made of it
                raise DetectorFileError(f"{path} makes a tensor of {elements} numbers ({name}).")
            made[name], shapes[name] = elements, shape
    except (*UNFIT, ValueError, IndexError, OverflowError) as error:
        raise DetectorFileError(f"{path} is not a valid network: {_one_line(error)}.") from error
    if (held := _most_held(model.graph, made)) > MAX_HELD * inputs[0]:
        raise DetectorFileError(f"{path} holds {held} numbers at one time.")
    return shapes


def _most_held(graph: onnx.GraphProto, elements: Mapping[str, int]) -> int:
    """The most elements of tensors between layers that a run holds at one time.

    A tensor lasts until its last use; an output, and what does not depend on the crops, which may be computed before
    the first run and kept, to the end.
    """
    last = {name: number for number, node in enumerate(graph.node) for name in node.input}
    fixed, outputs = {tensor.name for tensor in graph.initializer}, {value.name for value in graph.output}
    held = most = 0
    for number, node in enumerate(graph.node):
        held += sum(elements[name] for name in filter(None, node.output))
        most = max(most, held)
        if node.op_type in ("Shape", "Size") or fixed.issuperset(filter(None, node.input)):
            fixed.update(node.output)
        done = {name for name in (*node.input, *node.output) if last.get(name, number) == number}
        held -= sum(elements.get(name, 0) for name in done - fixed - outputs)
    return most


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _check_card(model: onnx.ModelProto, card: DetectorCard, path: str) -> None:
    """The network's inputs and outputs are those the card promises."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    if list(inputs) != [INPUT]:
        raise DetectorFileError(f"{path} must have the one input {INPUT!r}; it has {', '.join(inputs) or 'none'}.")
    if inputs[INPUT].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise DetectorFileError(f"The input of {path} is not float32.")
    wanted = ("N", *_item(card))
    shape = shape_of(inputs[INPUT].type) or ()
    if len(shape) != len(wanted) or any(
        size != want for size, want in zip(shape, wanted, strict=True) if isinstance(size, int)
    ):
        raise DetectorFileError(
            f"The input of {path} has shape {_written(shape)}; its card asks for {_written(wanted)}."
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


def _written(shape: tuple[object, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _cpu_first(name: str) -> tuple[bool, str]:
    return name != "cpu", name


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
