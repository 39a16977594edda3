"""Damage is the same for both pictures, grows with its strength, and H.264 is the real one."""

from __future__ import annotations

import numpy as np
import pytest

from facetell.errors import ForgeError
from facetell.forge import degrade


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_both_pictures_suffer_the_same(face):
    image, _ = face
    for seed in range(40):
        one, other = degrade.augment_pair([image, image], np.random.default_rng(seed), 1)
        assert np.array_equal(one, other)
        assert one.shape == image.shape
        assert one.dtype == np.uint8


def test_damage_is_random_repeatable_and_grows(face):
    image, _ = face
    one, other = (degrade.augment_pair([image], np.random.default_rng(7), 0.5)[0] for _ in range(2))
    assert np.array_equal(one, other)

    def mean(strength):
        rng = np.random.default_rng(0)
        return np.mean([distance(image, degrade.augment_pair([image], rng, strength)[0]) for _ in range(60)])

    assert mean(0) < mean(0.5) < mean(1)


def test_the_input_is_not_written_to(face):
    image, _ = face
    before = image.copy()
    for seed in range(20):
        degrade.augment_pair([image, image], np.random.default_rng(seed), 0)[0][:] = 0
    assert np.array_equal(image, before)


def test_pictures_of_two_sizes_are_refused(face):
    image, _ = face
    with pytest.raises(ForgeError, match="size"):
        degrade.augment_pair([image, image[:100]], np.random.default_rng(0))


def test_h264_keeps_the_still_in_place_and_gets_worse_with_the_crf(face):
    image, _ = face

    def loss(crf):
        (coded,) = degrade.h264([image], np.random.default_rng(1), crf=(crf, crf))
        return distance(image, coded)

    losses = [loss(crf) for crf in (10, 24, 32, 40)]
    assert losses == sorted(losses)
    assert losses[0] < 3  # aligned: a shift by one pixel alone costs more
    assert distance(image[:, 1:], image[:, :-1]) > losses[0]
    assert losses[-1] > 1.5 * losses[0]


def test_h264_is_the_same_for_both_and_takes_odd_sizes(face):
    image, _ = face
    odd = image[:201, :155]
    one, other = degrade.h264([odd, odd], np.random.default_rng(2))
    assert one.shape == odd.shape
    assert np.array_equal(one, other)
    assert not np.array_equal(one, odd)
