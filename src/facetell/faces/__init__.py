"""Frames become face tracks: detection, quality gates, alignment, tracking."""

from facetell.faces.align import Geometry, crop_face
from facetell.faces.detect import Detection, FaceDetector

__all__ = ["Detection", "FaceDetector", "Geometry", "crop_face"]
