"""A path becomes frames: what the file is, where it comes from, and the sampled pictures in it."""

from facetell.video.plans import DEFAULT_PLAN, Plan, parse_plan
from facetell.video.probe import probe
from facetell.video.provenance import provenance
from facetell.video.reader import VideoReader

__all__ = ["DEFAULT_PLAN", "Plan", "VideoReader", "parse_plan", "probe", "provenance"]
