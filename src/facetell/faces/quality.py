"""Quality gates: is a face good enough to be judged, and how much should it count?

Each gate compares one measure with its limit. The ratio of the two tells whether the face passes (above 1) and how
much it counts: half at the limit, nearly fully at twice the limit. A face that fails is marked, not dropped. The limits
stand where ordinary faces of compressed video pass and a face blurred, shrunk or darkened beyond use does not.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from facetell.faces.detect import Detection
from facetell.types import Box, FaceQuality

MIN_EYES_PX = 16.0  # distance between the eyes; the face is then about 45 pixels high
MIN_SHARPNESS = 0.015
MAX_YAW_DEG = 50.0
MAX_PITCH_DEG = 45.0
MIN_BRIGHTNESS = 0.06
MIN_LIT = 0.3  # share of the face that is not black
MIN_UNBURNT = 0.6  # share of the face that is not white
MIN_VISIBLE = 0.5  # share of the face's box that lies in the picture

TURNED = "not upright"  # on its side or upside down: YuNet's points, and all that is cut by them, are wrong
MEASURED_SIDE = 64  # of the face on which blur and exposure are measured; smaller hides blur, larger sees compression
BLACK, WHITE = 16, 250  # luma at and beyond which a pixel is clipped
STEEPNESS = 6

# YuNet's five points on a face seen from the front (x right, y down, z away): their mean over photographs in template
# units. How far the tip of the nose stands out was read off how eyes and nose shift against each other as faces turn.
MODEL = np.array([[-19, -12.8, 0], [19, -12.8, 0], [0, 8.9, -20], [-16.2, 25.6, 0], [16.2, 25.6, 0]])
MODEL -= MODEL.mean(axis=0)
FIT = np.linalg.pinv(MODEL)
EYE_DISTANCE = MODEL[1, 0] - MODEL[0, 0]


def assess(image: np.ndarray, detection: Detection, *, upright: bool = True) -> FaceQuality:
    """Measures one face of an RGB picture (H, W, 3) uint8 and names the gates it fails.

    `size_px` is the distance the eyes would have if the face were turned to the camera. Whether the face is `upright`,
    `FaceDetector.is_upright` tells; one that is not fails.

    >>> import numpy as np
    >>> face = Detection((14, 14, 100, 100), np.float32(MODEL[:, :2] + 64), 0.9)
    >>> assess(np.full((128, 128, 3), 90, np.uint8), face).problems
    ('blurred',)
    """
    size, yaw, pitch, roll = pose(detection.points)
    face, visible = _face(image, detection.box)
    brightness = float(face.mean()) / 255
    sharp = sharpness(face)
    ratios = {
        "too small": size / MIN_EYES_PX,
        "blurred": sharp / MIN_SHARPNESS,
        "turned away": min(MAX_YAW_DEG / max(abs(yaw), 1), MAX_PITCH_DEG / max(abs(pitch), 1)),
        "too dark": min(brightness / MIN_BRIGHTNESS, float((face > BLACK).mean()) / MIN_LIT),
        "too bright": float((face < WHITE).mean()) / MIN_UNBURNT,
        "cut off": visible / MIN_VISIBLE,
    }
    return FaceQuality(
        size_px=size,
        sharpness=sharp,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        brightness=brightness,
        weight=math.prod(ratio**STEEPNESS / (1 + ratio**STEEPNESS) for ratio in ratios.values()),
        problems=(*(() if upright else (TURNED,)), *(problem for problem, ratio in ratios.items() if ratio < 1)),
    )


def pose(points: np.ndarray) -> tuple[float, float, float, float]:
    """Eye distance in pixels (as if seen from the front) and yaw, pitch, roll in degrees from five points (5, 2).

    Positive is turned to the right of the picture, up, and clockwise. The points are taken for a generic face seen from
    afar (scaled orthography): the affine camera that fits them best is replaced by the nearest one without shear.

    >>> [round(value) + 0 for value in pose(2 * MODEL[:, :2])]
    [76, 0, 0, 0]
    """
    flat = np.asarray(points, np.float64)
    camera = (flat - flat.mean(axis=0)).T @ FIT.T  # (2, 3)
    left, scales, right = np.linalg.svd(camera, full_matrices=False)
    x, y = left @ right
    z = np.cross(x, y)
    yaw = math.atan2(z[0], z[2])
    pitch = math.asin(max(-1.0, min(1.0, -z[1])))
    roll = math.atan2(-x[1], y[1])
    return float(scales.mean() * EYE_DISTANCE), math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def sharpness(face: np.ndarray) -> float:
    """Variance of the Laplacian over the variance of a luma picture (H, W): 0 is flat.

    Dividing by the contrast makes a pale, backlit face comparable with a vivid one.
    """
    luma = face.astype(np.float32)
    return float(cv2.Laplacian(luma, cv2.CV_32F).var() / (luma.var() + 1))


def _face(image: np.ndarray, box: Box) -> tuple[np.ndarray, float]:
    """What a picture shows of a face's box, as luma at the scale that makes the box `MEASURED_SIDE` long; its share."""
    height, width = image.shape[:2]
    x, y, w, h = box
    seen_w = max(0.0, min(x + w, width) - max(x, 0.0))
    seen_h = max(0.0, min(y + h, height) - max(y, 0.0))
    left, top = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
    face = image[top : max(top + 1, round(y + h)), left : max(left + 1, round(x + w))]
    scale = MEASURED_SIDE / max(w, h)
    size = (max(3, round(face.shape[1] * scale)), max(3, round(face.shape[0] * scale)))
    face = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), seen_w * seen_h / (w * h)
