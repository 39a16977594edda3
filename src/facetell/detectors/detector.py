"""A detector: uint8 crops in, logits of FAKE out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facetell.detectors import zoo
from facetell.detectors.card import DetectorCard
from facetell.detectors.file import INPUT, RUNTIME_ERRORS, DetectorFile, open_session, read_detector_file
from facetell.errors import DetectorFileError
from facetell.types import DetectorInfo

BATCH = 2  # crops in one call of the network: 4 are 5 % faster and take 70 MB more


@dataclass(frozen=True, eq=False, slots=True)
class Scores:
    """What a detector says of N crops, float32: raw logits (N,), heat maps (N, h, w) in 0…1 or None, parts (N,)."""

    logits: np.ndarray
    heatmaps: np.ndarray | None = None
    parts: dict[str, np.ndarray] = field(default_factory=dict)

    def heatmaps_of_each(self) -> Sequence[np.ndarray | None]:
        """The heat maps crop by crop, None where there are none."""
        return [None] * len(self.logits) if self.heatmaps is None else list(self.heatmaps)

    def parts_of_each(self) -> list[dict[str, float]]:
        """The parts crop by crop.

        >>> Scores(np.zeros(2), parts={"blend": np.array([1.0, 2.0])}).parts_of_each()
        [{'blend': 1.0}, {'blend': 2.0}]
        """
        return [{name: float(values[i]) for name, values in self.parts.items()} for i in range(len(self.logits))]


class Detector:
    """One detector file with its ONNX Runtime session; make it once, use it for many videos.

    Args:
        file: what `read_detector_file` gave.
        device: an ONNX Runtime provider by its short name.
        threads: within one call of the network; 0 leaves it to ONNX Runtime.
    """

    def __init__(self, file: DetectorFile, device: str = "cpu", threads: int = 0) -> None:
        self.card: DetectorCard = file.card
        self.info = DetectorInfo(
            name=file.card.name,
            version=file.card.version,
            sha256=file.sha256,
            shipped=file.sha256 in zoo.SHIPPED.values(),
            licence=file.card.licence,
        )
        self.path = file.path
        self._session = open_session(file, device, threads)
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.card.mean, self.card.std))
        self._gain, self._shift = 1 / (255 * std), mean / std

    @property
    def crop_shape(self) -> tuple[int, ...]:
        """Of one item to score: (H, W, 3) for a frame detector, (T, H, W, 3) for one of clips or series."""
        square = (self.card.input_size, self.card.input_size, 3)
        return square if self.card.kind == "frame" else (self.card.frames, *square)

    def score(self, crops: np.ndarray) -> Scores:
        """Judge N crops, (N, H, W, 3) uint8 RGB, or N runs of T crops, (N, T, H, W, 3).

        Raises:
            ValueError: crops of another shape or type.
            DetectorFileError: the network gave something other than its card promises, or no finite logit.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != self.crop_shape:
            raise ValueError(f"crops must be uint8 (N, *{self.crop_shape}), not {crops.dtype} {crops.shape}")
        names = {key: name for key, name in self.card.outputs.items() if name}
        pieces = [self._run(crops[i : i + BATCH], list(names.values())) for i in range(0, len(crops), BATCH)]
        if not pieces:
            return Scores(np.zeros(0, np.float32), None, {key: np.zeros(0, np.float32) for key in self.card.parts})
        whole = {}
        for (key, name), arrays in zip(names.items(), zip(*pieces, strict=True), strict=True):
            if len({array.shape[1:] for array in arrays}) > 1:
                raise self._unlike_its_card(f"Output {name!r} of {self.path} is not of one size.")
            whole[key] = np.concatenate(arrays)
        logits, heatmaps = whole.pop("logit"), whole.pop("heatmap", None)
        return Scores(logits, heatmaps, whole)

    def normalised(self, crops: np.ndarray) -> np.ndarray:
        """What the network gets of uint8 crops (…, H, W, 3): (…, C, H, W) float32, (x / 255 - mean) / std."""
        pixels = np.ascontiguousarray(np.moveaxis(crops, -1, -3)).astype(np.float32)  # moved as bytes: 2.5 times faster
        if self.card.channels == 1:
            pixels = pixels.mean(axis=-3, keepdims=True)
        pixels *= self._gain
        pixels -= self._shift
        return pixels

    def _run(self, crops: np.ndarray, names: list[str]) -> list[np.ndarray]:
        try:
            outputs = [np.asarray(o) for o in self._session.run(names, {INPUT: self.normalised(crops)})]
            with np.errstate(over="ignore"):  # what is too large for 32 bits becomes infinite, and is refused
                outputs = [o.astype(np.float32, copy=False) if o.dtype.kind in "fiu" else o for o in outputs]
        except RUNTIME_ERRORS as error:
            raise DetectorFileError(f"The network in {self.path} cannot run on these faces.") from error
        for name, output in zip(names, outputs, strict=True):
            dimensions = 3 if name == self.card.heatmap else 1
            fits = output.dtype == np.float32 and output.ndim == dimensions and len(output) == len(crops)
            if not fits or not output.size or not np.isfinite(output).all():
                wanted = "a finite map" if dimensions == 3 else "one finite number"
                raise self._unlike_its_card(f"Output {name!r} of {self.path} is not {wanted} per crop.")
        return outputs

    @staticmethod
    def _unlike_its_card(what: str) -> DetectorFileError:
        return DetectorFileError(what, "The file is not what its card says; export it again.")


def load_detector(name: str | os.PathLike[str] | None = None, device: str = "cpu") -> Detector:
    """A shipped detector by its name, or anyone's by its file; without a name, the default one.

    Args:
        name: a shipped name, or a path: something that is a `Path`, ends in ".onnx" or has a folder in it.
        device: an ONNX Runtime provider by its short name, such as "cpu" or "cuda".

    Raises:
        UnknownDetectorError: no shipped detector of this name, and no such file.
        AlteredDetectorError: a shipped file that is not what was published.
        DetectorFileError: a file that is not a facetell detector file.
        UsageError: no such device.
    """
    return Detector(find_detector_file(name), device)


def find_detector_file(name: str | os.PathLike[str] | None = None) -> DetectorFile:
    """The checked file that `load_detector` would make a session of; the same arguments and errors."""
    if name is None:
        name = zoo.DEFAULT
    if isinstance(name, str) and not name.endswith(".onnx") and Path(name).name == name:
        return zoo.read_shipped(name)
    return read_detector_file(name)
