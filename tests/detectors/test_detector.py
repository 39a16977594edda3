from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from facetell.detectors import load_detector
from facetell.detectors.detector import BATCH
from facetell.errors import DetectorFileError
from tests.detectors.networks import SIZE, array, brightness, write


def crops(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *(shape or (SIZE, SIZE, 3))), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 3])
def test_logits_and_heatmaps_are_those_of_the_formula(tmp_path: Path, count: int) -> None:
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 2.0])
    detector = load_detector(write(tmp_path, mean=tuple(mean), std=tuple(std)))
    images = crops(count)
    normal = (images / 255 - mean) / std
    scores = detector.score(images)
    np.testing.assert_allclose(scores.logits, normal.mean(axis=(1, 2, 3)), atol=1e-5)
    assert scores.heatmaps is not None
    np.testing.assert_allclose(scores.heatmaps, normal.mean(axis=3), atol=1e-5)
    assert scores.parts == {}


def test_grey_is_the_mean_of_the_colours(tmp_path: Path) -> None:
    path = write(tmp_path, brightness(channels=1, gain=3.0, bias=-1.0), channels=1, mean=(0.0,), std=(1.0,))
    images = crops(2)
    expected = 3 * (images / 255).mean(axis=(1, 2, 3)) - 1
    np.testing.assert_allclose(load_detector(path).score(images).logits, expected, atol=1e-5)


def test_a_clip_detector_takes_runs_of_faces(tmp_path: Path) -> None:
    detector = load_detector(write(tmp_path, brightness(frames=4), kind="clip", frames=4))
    images = crops(3, 4, SIZE, SIZE, 3)
    np.testing.assert_allclose(detector.score(images).logits, (images / 255).mean(axis=(1, 2, 3, 4)), atol=1e-5)


def test_parts_come_by_their_names(tmp_path: Path) -> None:
    detector = load_detector(write(tmp_path, brightness(), outputs={"logit": "logit", "blend": "logit"}))
    scores = detector.score(crops(2))
    np.testing.assert_array_equal(scores.parts["blend"], scores.logits)


def test_no_crops_no_scores(tmp_path: Path) -> None:
    scores = load_detector(write(tmp_path)).score(crops(0))
    assert scores.logits.shape == (0,)


@pytest.mark.parametrize("images", [crops(1, 16, 16, 3), crops(1).astype(np.float32), crops(1)[0]])
def test_crops_of_another_kind_are_refused(tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="crops must be uint8"):
        load_detector(write(tmp_path)).score(images)


def test_an_infinite_logit_is_no_score(tmp_path: Path) -> None:
    detector = load_detector(write(tmp_path, brightness(gain=float("inf"))))
    with pytest.raises(DetectorFileError, match="not one finite number per crop"):
        detector.score(crops(1))


def test_a_map_for_a_logit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorFileError, match=r"'heatmap' of .* has shape \(1, .*\) where N is 1") as caught:
        write(tmp_path, brightness(), outputs={"logit": "heatmap"})
    assert "(N,)" in caught.value.advice


def test_a_column_of_logits_is_refused_when_it_is_packed(tmp_path: Path) -> None:
    network = ending_in([make_node("Unsqueeze", ["before", "one"], ["logit"])], "logit")
    network.graph.initializer.append(array("one", [1], np.int64))
    with pytest.raises(DetectorFileError, match=r"has shape \(1, 1\) where N is 1"):
        write(tmp_path, network)


def ending_in(nodes: list[onnx.NodeProto], output: str, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """`brightness()` with an output of its own made anew by these nodes, out of `before` that was it until now."""
    network = brightness()
    for node in network.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    network.graph.node.extend(nodes)
    network.graph.initializer.extend([array("large", 1e300, np.float64), array("first", [0], np.int64)])
    for value in network.graph.output:
        if value.name == output:
            shape = ["n"] if output == "logit" else ["n", "h", "w"]
            value.CopyFrom(onnx.helper.make_tensor_value_info(output, kind, shape))
    return network


def test_text_for_a_logit_is_refused(tmp_path: Path) -> None:
    network = ending_in([make_node("Cast", ["before"], ["logit"], to=TensorProto.STRING)], "logit", TensorProto.STRING)
    with pytest.raises(DetectorFileError, match="not one finite number per crop"):
        load_detector(write(tmp_path, network)).score(crops(1))


def test_a_logit_beyond_32_bits_is_no_score(tmp_path: Path) -> None:
    nodes = [
        make_node("Cast", ["before"], ["double"], to=TensorProto.DOUBLE),
        make_node("Mul", ["double", "large"], ["logit"]),
    ]
    network = ending_in(nodes, "logit", TensorProto.DOUBLE)
    with pytest.raises(DetectorFileError, match="not one finite number per crop"):
        load_detector(write(tmp_path, network)).score(crops(1))


MAP = {"logit": "logit", "heatmap": "heatmap"}


def test_a_map_whose_size_follows_the_batch_is_refused(tmp_path: Path) -> None:
    nodes = [
        make_node("Unsqueeze", ["logit", "channel"], ["column"]),
        make_node("Unsqueeze", ["logit", "first"], ["row"]),
        make_node("Mul", ["column", "row"], ["square"]),
        make_node("Unsqueeze", ["square", "channel"], ["heatmap"]),
    ]
    detector = load_detector(write(tmp_path, ending_in(nodes, "heatmap"), outputs=MAP))
    with pytest.raises(DetectorFileError, match=r"'heatmap' of .* is not of one size"):
        detector.score(crops(BATCH + 1))


def test_a_map_of_nothing_is_refused(tmp_path: Path) -> None:
    network = ending_in([make_node("Slice", ["before", "first", "first", "channel"], ["heatmap"])], "heatmap")
    with pytest.raises(DetectorFileError, match="not a finite map per crop"):
        load_detector(write(tmp_path, network, outputs=MAP)).score(crops(1))
