"""A detector and a manifest become numbers: metrics, protocol, comparison, calibration."""

from __future__ import annotations

try:
    import scipy  # noqa: F401
    import sklearn  # noqa: F401
except ImportError as error:
    from facetell.errors import MissingExtraError

    raise MissingExtraError(
        f"Evaluation needs {error.name}, which is not installed.", 'pip install ".[eval]"'
    ) from error

from facetell.evaluation.metrics import metrics, paired

__all__ = ["metrics", "paired"]
