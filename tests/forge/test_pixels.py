"""Lost detail leaves the picture where it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facetell.forge import pixels


@pytest.mark.parametrize("down", pixels.DOWN)
@pytest.mark.parametrize("ratio", [1.3, 2.3, 3.5])  # at 2 exactly two pixels are as near
def test_no_way_of_losing_detail_moves_the_picture(face, down: int, ratio: float):
    image, _ = face
    smooth = cv2.GaussianBlur(image, (0, 0), 4)  # or the coarse grid would look like a shift
    coarse = pixels.lose_detail(smooth, 1 / ratio, down, cv2.INTER_LINEAR)
    one, two = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) for picture in (smooth, coarse))
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_64F)
    assert np.abs(cv2.phaseCorrelate(one, two, window)[0]).max() < 0.15
