"""A swap brings the donor's features, in the target's colours, to the right place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facetell.errors import ForgeError
from facetell.forge.swap import _fetch, swap


@pytest.fixture(scope="module")
def donor(face):
    """The face with closed, dark eyes and another colour, larger and turned, and its points."""
    image, points = face
    painted = image.copy()
    for x, y in points[:2].astype(int).tolist():
        cv2.circle(painted, (x, y), 9, (10, 10, 10), -1)
    turn = cv2.getRotationMatrix2D((128, 128), 12, 1.6)
    turn[:, 2] += 72
    picture = cv2.warpAffine(painted[..., ::-1], turn, (400, 400))
    return picture, cv2.transform(points[:, None], turn)[:, 0]


@pytest.mark.parametrize("blending", ["seamless", "soft"])
def test_the_donors_eyes_come_to_the_targets_eyes(face, donor, blending):
    image, points = face
    forged = swap(image, points, donor[0], donor[1], blending)
    assert np.array_equal(forged.fake[forged.mask == 0], image[forged.mask == 0])
    x, y = points[0].astype(int)
    assert forged.mask[y, x] > 0.9
    eye = np.s_[y - 5 : y + 5, x - 5 : x + 5]
    assert forged.fake[eye].mean() < image[eye].mean() - 30  # the painted disc


def test_the_colours_become_the_targets(face, donor):
    image, points = face
    fake = swap(image, points, donor[0], donor[1], "soft").fake
    skin = np.s_[150:165, 110:130]
    given = donor[0].reshape(-1, 3)
    assert given[:, 2].mean() > given[:, 0].mean()  # the donor is blue
    assert np.abs(fake[skin].mean((0, 1)) - image[skin].mean((0, 1))).max() < 25


def test_a_face_at_the_border_is_refused(face, donor):
    image, points = face
    cut = image[:, 90:]
    with pytest.raises(ForgeError, match="cut off"):
        swap(np.ascontiguousarray(cut), points - np.array([90, 0]), donor[0], donor[1])


def test_a_larger_donor_comes_to_the_same_place(face):
    """The face in four times its size, swapped into itself, does not move."""
    image, points = face
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    for other, places in ((image, points), (large, ((points + 0.5) * 4 - 0.5).astype(np.float32))):
        fetched = _fetch(other, places, points, image.shape[:2])
        middle = np.s_[60:200, 70:180]  # of the face; away from the border, which the fetching reflects
        one, two = (cv2.cvtColor(p[middle], cv2.COLOR_RGB2GRAY).astype(float) for p in (image, fetched))
        window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_64F)
        assert np.abs(cv2.phaseCorrelate(one, two, window)[0]).max() < 0.05


def test_a_seamless_swap_with_oneself_changes_nothing(face):
    """Wherever the rim's half covered pixels lie, the donor's face comes to its place to the pixel."""
    image, points = face
    for step in np.linspace(0, 1, 9):
        moved = (points + step).astype(np.float32)
        forged = swap(image, moved, image, moved, "seamless")
        assert np.abs(forged.fake.astype(int) - image)[forged.mask > 0.9].max() <= 3  # the solver's rounding
