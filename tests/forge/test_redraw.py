"""Faces drawn anew by an autoencoder, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facetell.errors import DetectorFileError, ForgeError, UnknownDetectorError
from facetell.forge import masks
from facetell.forge.blend import self_blend
from facetell.forge.redraw import Painter, open_painter


def painter_file(path: Path, operator: str = "Identity", given: str = "faces", made: str = "drawn") -> Path:
    """A network of one operator."""
    node = helper.make_node(operator, [given], [made])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, "h", "w"]) for name in (given, made)]
    graph = helper.make_graph([node], "painter", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Painter:
    """Rounds all up to white: what is left are the picture's own large-scale colours."""
    return open_painter(painter_file(tmp_path / "flat.onnx", "Ceil"))


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (200, 200, 3), np.uint8)


def test_the_square_around_the_face_is_drawn_and_nothing_else(flat: Painter):
    image = picture()
    drawn = flat.redraw(image, masks.ANCHORS + 95, 96)
    changed = (drawn != image).any(axis=2)
    assert drawn[90:130, 75:115].std() < image[90:130, 75:115].std() / 3  # the middle of the face
    assert not changed[0].any()
    assert not changed[:, 0].any()
    assert 0.3 < changed.mean() < 0.6  # a square of 125 face units


def test_an_exact_copy_lands_where_it_was_taken(tmp_path: Path):
    same = open_painter(painter_file(tmp_path / "same.onnx"))
    image = np.repeat(np.tile(np.arange(200, dtype=np.uint8), (200, 1))[..., None], 3, axis=2)
    drawn = same.redraw(image, masks.ANCHORS + 95, 160)
    assert np.abs(drawn.astype(int) - image).max() <= 2


def test_a_redrawn_blend_differs_only_under_its_mask(flat: Painter):
    image = picture()
    for seed in range(5):
        forged = self_blend(image, masks.ANCHORS + 95, np.random.default_rng(seed), painter=flat)
        outside = forged.mask == 0
        assert np.array_equal(forged.real, image)  # the copy carries all changes, never its surroundings
        assert np.array_equal(forged.fake[outside], forged.real[outside])
        replaced = forged.mask > 0.9
        if replaced.any():
            assert forged.fake[replaced].std() < 0.8 * forged.real[replaced].std()


def test_without_a_painter_the_same_seed_draws_as_before(flat: Painter):
    image = picture()
    one, two = (self_blend(image, masks.ANCHORS + 95, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one.fake, two.fake)
    assert not np.array_equal(
        one.fake, self_blend(image, masks.ANCHORS + 95, np.random.default_rng(4), painter=flat).fake
    )


def test_other_networks_and_files_are_refused(tmp_path: Path):
    with pytest.raises(ForgeError, match="not an autoencoder"):
        open_painter(painter_file(tmp_path / "other.onnx", given="crops"))
    with pytest.raises(UnknownDetectorError):
        open_painter(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(DetectorFileError):
        open_painter(tmp_path / "text.onnx")


def test_a_picture_of_another_size_is_named(tmp_path: Path):
    small = open_painter(painter_file(tmp_path / "small.onnx", "GlobalAveragePool"))
    with pytest.raises(DetectorFileError, match="size"):
        small.redraw(picture(), masks.ANCHORS + 95, 96)
