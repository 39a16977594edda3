"""Scores become a verdict: the whole way from a path, and the rules that decide."""

from facetell.scanning.pipeline import Scanner

__all__ = ["Scanner"]
