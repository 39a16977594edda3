"""A detector and a manifest become numbers: metrics, protocol, comparison, calibration."""

from facetell.evaluation.metrics import metrics, paired

__all__ = ["metrics", "paired"]
