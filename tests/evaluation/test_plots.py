import re

import numpy as np

from facetell.evaluation.plots import reliability


def test_how_many_stand_behind_a_point_can_be_read_on_any_page() -> None:
    """Nearly as large as the other words, and in the colour that the page gives to text."""
    labels, scores = np.array([0, 1] * 300), np.linspace(0, 0.999, 600)
    numbers = re.findall(r'<text style="([^"]*)"[^>]*>60</text>', reliability(labels, scores))
    assert len(numbers) == 10
    for style in numbers:
        assert "fill" not in style
        (size,) = re.findall(r"font(?:-size)?: ([0-9.]+)px", style)
        assert float(size) >= 9
