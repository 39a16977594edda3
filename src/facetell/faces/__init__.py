"""Frames become face tracks: detection, quality gates, alignment, tracking."""

from facetell.faces.align import Geometry, crop_face
from facetell.faces.detect import Detection, FaceDetector
from facetell.faces.quality import assess
from facetell.faces.track import Tracker

__all__ = ["Detection", "FaceDetector", "Geometry", "Tracker", "assess", "crop_face"]
