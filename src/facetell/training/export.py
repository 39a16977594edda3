"""A trained torch network becomes a detector file, and is shown to give the same numbers."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from facetell.detectors import DetectorCard, pack
from facetell.errors import TrainingError
from facetell.files import replacing, sha256_of, temporary_folder
from facetell.report.card import card_page

OPSET = 18
TOLERANCE = 1e-4  # largest difference of an output, torch against ONNX Runtime, relative where it is above 1


def export(
    network: nn.Module, example: Tensor, outputs: Sequence[str], card: DetectorCard, path: str | os.PathLike[str]
) -> float:
    """Write `network` with its card as a detector file, and the card beside it as Markdown.

    Batch norms are folded; the batch size stays free.

    Args:
        network: takes `example`, gives one tensor or a tuple of them, one per name in `outputs`.
        example: (N, C, H, W) or (N, T, C, H, W), normalised; real faces make the comparison a real one; N at least 2.
        outputs: the names of the ONNX outputs, in the network's order.

    Returns:
        The largest difference between torch's and ONNX Runtime's outputs on `example`.

    Raises:
        TrainingError: they differ by more than 1e-4.
        DetectorError: the network is not what the card says.
        OutputError: `path` cannot be written.
    """
    network = network.cpu().eval()
    with temporary_folder() as folder:
        plain = folder / "network.onnx"
        onnx.save(to_onnx(network, example, outputs), plain)
        difference = parity(network, plain, example)
        if difference > TOLERANCE:
            raise TrainingError(
                f"The exported network differs from the trained one by {difference:.2g}.",
                "An operator is not translated faithfully; replace it in the network.",
            )
        pack(plain, card, path)
    with replacing(Path(path).with_suffix(".md")) as part:
        part.write_text(card_page(card, sha256_of(path)), encoding="utf-8")
    return difference


def parity(network: nn.Module, path: str | Path, example: Tensor, inputs: str = "crops") -> float:
    """The largest difference between the outputs of `network` and of the ONNX file, relative where they exceed 1."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        ours = network(example)
    ours = [output.numpy() for output in (ours if isinstance(ours, tuple) else (ours,))]
    theirs = [np.asarray(output) for output in session.run(None, {inputs: example.contiguous().numpy()})]
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(a))).max()) for a, b in zip(ours, theirs, strict=True))


def to_onnx(
    network: nn.Module, example: Tensor, outputs: Sequence[str], inputs: str = "crops", sides: int = 0
) -> onnx.ModelProto:
    """The network for any number of items, and where `sides` is given for pictures of any multiple of it."""
    free: dict[int, Any] = {0: torch.export.Dim("N")}
    if sides:
        free |= {axis: sides * torch.export.Dim(name, min=1, max=256) for axis, name in ((2, "h"), (3, "w"))}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _out_of_place(network):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[inputs],
            output_names=list(outputs),
            dynamic_shapes=(free,),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # stack traces with this machine's paths
    del model.graph.value_info[:]
    return model


@contextlib.contextmanager
def _out_of_place(network: nn.Module) -> Iterator[None]:
    """Activations that write over their input are not translated as they are but taken apart: half of the time."""
    changed: list[Any] = [module for module in network.modules() if getattr(module, "inplace", False)]
    for module in changed:
        module.inplace = False
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True
