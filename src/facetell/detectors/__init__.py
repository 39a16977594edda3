"""Face crops become scores: a detector is one ONNX file that describes itself."""

from facetell.detectors.card import Aggregation, Calibration, DetectorCard, Scope, Term, Threshold, read_card
from facetell.detectors.detector import Detector, Scores, load_detector
from facetell.detectors.file import pack
from facetell.detectors.zoo import shipped

__all__ = [
    "Aggregation",
    "Calibration",
    "Detector",
    "DetectorCard",
    "Scope",
    "Scores",
    "Term",
    "Threshold",
    "load_detector",
    "pack",
    "read_card",
    "shipped",
]
