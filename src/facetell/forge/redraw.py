"""Faces drawn anew by a small autoencoder: a generator's texture for every real face there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from facetell.detectors.file import RUNTIME_ERRORS, open_session, read_network
from facetell.errors import DetectorFileError, ForgeError
from facetell.faces.align import Geometry, crop_matrix, warp

_COLOUR = 0.08  # of the side: what is coarser than this keeps the picture's own colour
GEOMETRY = Geometry("landmarks", 0.8)  # what the autoencoder is trained on and draws: the whole head
SIDES = (128, 160, 192, 224)  # pixels of the drawn picture, as swappers have them; multiples of the network's stride


@dataclass(frozen=True, eq=False, slots=True)
class Painter:
    """An autoencoder of faces in an ONNX file: `faces` (N, 3, H, W) float32 in 0…1 in, `drawn` likewise out."""

    path: Path
    session: ort.InferenceSession

    def redraw(self, image: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
        """The picture with the upright square around the face drawn anew, in the picture's own colours.

        Args:
            image: (H, W, 3) uint8 RGB.
            points: (5, 2) of the face, in pixels.
            side: pixels of the square that is drawn; the coarser, the less detail is left.

        Raises:
            DetectorFileError: the network gives something else than a picture of that size.
        """
        matrix = crop_matrix(points, (0, 0, 1, 1), GEOMETRY, side)
        crop = np.moveaxis(warp(image, matrix, side).astype(np.float32) / 255, -1, 0)[None]
        try:
            drawn = np.asarray(self.session.run(["drawn"], {"faces": np.ascontiguousarray(crop)})[0])
        except RUNTIME_ERRORS as error:
            raise DetectorFileError(f"The network in {self.path} cannot draw a face of {side} pixels.") from error
        if drawn.shape != crop.shape or not np.isfinite(drawn).all():
            raise DetectorFileError(f"The network in {self.path} does not give a picture of its input's size.")
        picture, wanted = np.moveaxis(drawn[0], 0, -1), np.moveaxis(crop[0], 0, -1)
        picture = picture + cv2.GaussianBlur(wanted - picture, (0, 0), _COLOUR * side)
        picture = (picture.clip(0, 1) * 255).round().astype(np.uint8)
        size = image.shape[1::-1]
        back = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(np.ones((side, side), np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
        return np.where(inside[..., None] > 0, back, image)


@lru_cache(maxsize=8)
def open_painter(path: str | os.PathLike[str]) -> Painter:
    """The autoencoder in an ONNX file, as `facetell train autoencoder` writes it.

    Raises:
        UnknownDetectorError: no such file.
        DetectorFileError: not a plain, self-contained ONNX network.
        ForgeError: a network of another kind.
    """
    file = read_network(path)
    session = open_session(file, threads=1)
    inputs, outputs = [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
    if (inputs, outputs) != (["faces"], ["drawn"]):
        raise ForgeError(f"{path} is not an autoencoder of faces.", "Train one: facetell train autoencoder.")
    return Painter(file.path, session)
