"""What a forged pair promises: the same but for the mask, visible, repeatable, of every family."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from facetell.errors import ForgeError
from facetell.forge import blend, masks


def pairs(face, count=60, **options):
    image, points = face
    rng = np.random.default_rng(5)
    return [blend.self_blend(image, points, rng, **options) for _ in range(count)]


def test_twins_differ_only_inside_the_mask_and_there_visibly(face):
    for forged in pairs(face):
        assert forged.mask.dtype == np.float32
        assert forged.mask.min() >= 0
        assert forged.mask.max() <= 1
        assert np.array_equal(forged.fake[forged.mask == 0], forged.real[forged.mask == 0])
        assert blend.difference(forged.fake, forged.real, 1.5).max() >= blend.VISIBLE


def test_the_mask_is_the_share_that_was_replaced(face):
    image, points = face
    drawn = blend.SelfBlend.draw(np.random.default_rng(3), "mouth")
    white = blend.paste(np.full_like(image, 255), np.zeros_like(image), drawn.apply(image, points).mask)
    assert np.abs(white[..., 0] / 255 - drawn.apply(image, points).mask).max() < 0.01


def test_one_of_the_copies_is_left_as_it_was(face):
    image, _ = face
    real_is_input = [np.array_equal(forged.real, image) for forged in pairs(face)]
    assert 0.2 < np.mean(real_is_input) < 0.9  # else the background carries the mismatch, in both twins alike


def test_the_same_seed_gives_the_same_pair(face):
    image, points = face
    one, other, third = (blend.self_blend(image, points, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(one.fake, other.fake)
    assert np.array_equal(one.mask, other.mask)
    assert not np.array_equal(one.fake, third.fake)


def test_all_families_occur_and_inner_ones_as_often_as_asked(face):
    seen = Counter(forged.family for forged in pairs(face, 150))
    assert set(seen) == set(masks.FAMILIES)
    assert 0.28 < sum(seen[family] for family in masks.INNER) / 150 < 0.52
    assert {forged.family for forged in pairs(face, 20, inner=0)} <= set(masks.WHOLE)
    assert {forged.family for forged in pairs(face, 20, inner=1)} <= set(masks.INNER)


def test_inner_families_bend_the_features_and_often_keep_the_colour():
    rng = np.random.default_rng(0)
    drawn = [blend.SelfBlend.draw(rng, "eyes") for _ in range(1000)]
    assert 0.58 < np.mean([one.colour is None for one in drawn]) < 0.72  # 65 %, as docs/forge.md says
    longest = [np.linalg.norm(one.warp[1:5, 1:5], axis=2).max() for one in drawn if one.warp is not None]
    assert len(longest) == 1000
    assert min(longest) >= 0.99
    assert max(longest) <= 4.01


def test_a_clips_mismatch_is_on_the_pasted_copy_alone(face):
    image, points = face
    for seed in range(12):
        clip = blend.ClipBlend(image, points, np.random.default_rng(seed))
        forged = clip.apply(image, points, 0.0)
        assert np.array_equal(forged.fake[forged.mask == 0], image[forged.mask == 0])
        assert np.array_equal(clip.apply(image, None, 0.0).fake, image)


def test_a_blend_follows_the_face_through_a_clip(face):
    image, points = face
    drawn = blend.SelfBlend.draw(np.random.default_rng(1), "face")
    still, moved = drawn.apply(image, points).mask, drawn.apply(image, points + 7).mask
    assert np.abs(moved[7:, 7:] - still[:-7, :-7]).mean() < 0.01


def test_grey_and_flat_pictures_still_give_a_visible_fake(face):
    image, points = face
    grey = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    for picture in (grey, np.full_like(image, 90)):
        forged = blend.self_blend(picture, points, np.random.default_rng(2), family="mouth")
        assert blend.difference(forged.fake, forged.real, 1.5).max() >= blend.VISIBLE


@pytest.mark.parametrize("bad", [np.zeros((4, 2)), np.full((5, 2), np.nan), np.zeros((5, 2)), np.ones((5, 2)) * 900])
def test_points_that_are_no_face_are_refused(face, bad):
    with pytest.raises(ForgeError):
        blend.self_blend(face[0], bad, np.random.default_rng(0))


def test_a_part_differs_only_where_the_fake_does(face, fake):
    real, points = face
    rng = np.random.default_rng(0)
    parts = [part for _ in range(40) if (part := blend.paste_part(fake, real, points, rng))]
    assert {part.family for part in parts} == {"mouth", "lower", "eyes", "ellipse", "window"}
    for part in parts:
        changed = (part.fake != part.real).any(2)
        assert changed[part.mask > 0.5].mean() > 0.9
        assert not changed[:65].any()  # the fake is the real one there
        assert part.mask[:60].max() == 0


def test_no_part_of_twins_or_of_pictures_that_are_not_aligned(face, fake):
    real, points = face
    rng = np.random.default_rng(0)
    assert all(blend.paste_part(real, real, points, rng) is None for _ in range(10))
    assert all(blend.paste_part(np.roll(real, 9, 0), real, points, rng) is None for _ in range(10))
    with pytest.raises(ForgeError, match="size"):
        blend.paste_part(fake[:200], real, points, rng)


def test_a_mixture_is_labelled_with_its_share(face, fake):
    real, _ = face
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(50):
        image, share = blend.mix(fake, real, rng)
        expected = share * fake.astype(float) + (1 - share) * real
        assert np.abs(image - expected).max() < 1
        shares.append(share)
    assert min(shares) < 0.1
    assert max(shares) > 0.9
