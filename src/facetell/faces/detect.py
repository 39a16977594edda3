"""Finds faces and their five points with YuNet (Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort

from facetell.types import Box

MODEL = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
STRIDES = (8, 16, 32)
SIDE = 640  # longer side to which larger pictures are reduced before the search
MIN_SCORE = 0.7  # faces below it are dropped
OVERLAP = 0.3  # intersection over union above which the weaker of two boxes goes, as in cv2.FaceDetectorYN
LARGE = 0.35  # of the picture's shorter side: a face above this was seen well enough at full reach
CLOSE_UP_SIDE = 128  # long side of the reduced picture in which faces that fill the frame are looked for
CLOSE_UP_BORDER = 0.4  # of that, on each side: YuNet needs to see where a face ends
UPRIGHT = 0.92  # no face that lies on its side or stands on its head scores as much
TURNED_SIDE = 64  # pixels of the picture in which it is told which way round a face is
TURNED_MARGIN = 1.7  # of the face's longer side that it shows
TURNED_GAIN = 0.02  # by which a face that is not upright scores higher another way round, in 99 of 100 (by hand)


@dataclass(frozen=True, eq=False, slots=True)
class Detection:
    """A face in one picture: box (x, y, w, h) and five points (5, 2) float32 in pixels, score 0…1.

    The points are the eyes, the tip of the nose and the corners of the mouth; the left one in the picture comes first.
    """

    box: Box
    points: np.ndarray
    score: float


@cache
def _model() -> bytes:
    """YuNet with its input freed from 640×640: every layer of it works on any multiple of 32."""
    model = onnx.load(MODEL)
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:]
    height.dim_param, width.dim_param = "height", "width"
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"cells_{output.name}"
    return model.SerializeToString()


class FaceDetector:
    """YuNet in ONNX Runtime.

    >>> import numpy as np
    >>> FaceDetector().detect(np.full((120, 160, 3), 90, np.uint8))
    []
    """

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(_model(), options, providers=["CPUExecutionProvider"])

    def detect(self, image: np.ndarray) -> list[Detection]:
        """All faces of an RGB picture (H, W, 3) uint8, the best first.

        A face so large that it overflows the picture is looked for once more in a small copy with a border around it.
        """
        height, width = image.shape[:2]
        reduced = _resized(image, _small(width, height, SIDE))
        faces = self._search(reduced, (width, height))
        large = LARGE * min(height, width)
        if not any(max(face.box[2:]) > large for face in faces):
            # From what is reduced already: 3 times faster.
            tiny = _resized(reduced, _small(width, height, CLOSE_UP_SIDE))
            close_ups = self._search(tiny, (width, height), round(CLOSE_UP_BORDER * max(tiny.shape)))
            faces += [face for face in close_ups if max(face.box[2:]) > large]
            faces = _without_overlaps(faces)
        return faces

    def is_upright(self, image: np.ndarray, face: Detection) -> bool:
        """Whether a face that was found in this picture is upright, and not on its side or upside down.

        YuNet finds faces that are turned, too, and lays the points of an upright face on them. It is less sure of them
        than of the same face turned upright, so whoever scores higher another way round was not.
        """
        if face.score >= UPRIGHT:
            return True
        near = _square_around(image, face.box)
        upright, right, left, over = (np.rot90(near, quarters) for quarters in (0, 3, 1, 2))
        maps = self._maps(np.vstack([np.hstack([upright, right]), np.hstack([left, over])]))  # one call, half as dear
        best = np.zeros((2, 2))
        for stride in STRIDES:
            cells = TURNED_SIDE // stride
            quarters = _confidence(maps, stride).reshape(2, cells, 2, cells)
            best = np.maximum(best, quarters.max(axis=(1, 3)))
        score, *others = np.sqrt(best).ravel()
        return bool(max(others) < score + TURNED_GAIN)

    def _search(self, image: np.ndarray, size: tuple[int, int], border: int = 0) -> list[Detection]:
        """One pass over a picture reduced from one of `size` (width, height), in whose pixels the faces are given.

        The picture lies in the middle of a grey border of so many pixels.
        """
        small = image.shape[1::-1]
        padded = (-(-(small[1] + 2 * border) // 32) * 32, -(-(small[0] + 2 * border) // 32) * 32)
        canvas = np.full((*padded, 3), 0 if border == 0 else 127, np.uint8)
        canvas[border : border + small[1], border : border + small[0]] = image
        factor = np.array(size, np.float32) / small
        return _without_overlaps(_decode(self._maps(canvas), padded[1], factor, border))

    def _maps(self, canvas: np.ndarray) -> dict[str, np.ndarray]:
        """The network's raw maps of a picture whose sides are multiples of 32."""
        blob = np.stack(cv2.split(canvas)[::-1]).astype(np.float32)[None]  # YuNet was trained on BGR, 0…255
        names = [output.name for output in self._session.get_outputs()]
        maps = map(np.asarray, self._session.run(names, {"input": blob}))
        return dict(zip(names, maps, strict=True))


def _small(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of the picture reduced to this longer side; a smaller picture stays as it is."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if size == image.shape[1::-1] else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _decode(outputs: dict[str, np.ndarray], width: int, factor: np.ndarray, border: int) -> list[Detection]:
    """Faces from `MIN_SCORE` up in the maps of a picture so wide, in pixels of the unscaled one without its border."""
    faces = []
    for stride in STRIDES:
        confidence = _confidence(outputs, stride)
        cells = np.flatnonzero(confidence >= MIN_SCORE**2)
        row, column = np.divmod(cells, width // stride)
        corner = np.stack([column, row], axis=1).astype(np.float32)
        shift, extent = np.split(outputs[f"bbox_{stride}"][0, cells], 2, axis=1)
        points = outputs[f"kps_{stride}"][0, cells].reshape(-1, 5, 2)
        size = np.exp(extent) * stride * factor
        centre = ((corner + shift) * stride - border) * factor
        points = ((corner[:, None] + points) * stride - border) * factor
        for i, cell in enumerate(cells):
            x, y = (centre[i] - size[i] / 2).tolist()
            w, h = size[i].tolist()
            faces.append(Detection((x, y, w, h), points[i], float(np.sqrt(confidence[cell]))))
    return faces


def _confidence(outputs: dict[str, np.ndarray], stride: int) -> np.ndarray:
    """The squared score of each cell of this stride."""
    return outputs[f"cls_{stride}"][0, :, 0].clip(0, 1) * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1)


def _square_around(image: np.ndarray, box: Box) -> np.ndarray:
    """A face with some of what is around it, (64, 64, 3); grey where the picture ends."""
    x, y, w, h = box
    side = max(1.0, TURNED_MARGIN * max(w, h))
    left, top = x + (w - side) / 2, y + (h - side) / 2
    rows, columns = (
        slice(*np.clip([start, start + side], 0, length).round().astype(int))
        for start, length in zip((top, left), image.shape[:2], strict=True)
    )
    square = np.full((TURNED_SIDE, TURNED_SIDE, 3), 127, np.uint8)
    inside, scale = image[rows, columns], TURNED_SIDE / side
    if inside.size:
        down, right = (round(max(-start, 0) * scale) for start in (top, left))
        size = [max(1, round(length * scale)) for length in inside.shape[1::-1]]
        part = square[down : down + size[1], right : right + size[0]]
        part[:] = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)[: part.shape[0], : part.shape[1]]
    return square


def _without_overlaps(faces: list[Detection]) -> list[Detection]:
    """The faces, best first, less those that overlap a better one."""
    if not faces:
        return []
    kept = cv2.dnn.NMSBoxes([face.box for face in faces], [face.score for face in faces], 0.0, OVERLAP)
    return [faces[int(i)] for i in np.asarray(kept).ravel()]
