"""A small network of one convolution, before and after its numbers have eight bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data.cache import FaceCache
from facetell.detectors import Threshold, load_detector
from facetell.errors import DataError, ManifestError, UsageError
from facetell.evaluation.quantise import WHOLE, crops_of, quantise
from tests.detectors import networks
from tests.training.made import face_cache

SIZE = 64


def convolution() -> onnx.ModelProto:
    """logit = the mean of 64 random features of 16×16 pixels; heatmap = the sigmoid of their mean."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.05, (64, 3, 16, 16)).astype(np.float32)
    kernel -= kernel.mean(axis=(1, 2, 3), keepdims=True)
    nodes = [
        helper.make_node("Conv", ["crops", "kernel"], ["features"], strides=[8, 8], name="conv"),
        helper.make_node("Relu", ["features"], ["active"], name="relu"),
        helper.make_node("ReduceMean", ["active", "all"], ["logit"], keepdims=0, name="mean"),
        helper.make_node("ReduceMean", ["active", "channel"], ["map"], keepdims=0, name="flat"),
        helper.make_node("Sigmoid", ["map"], ["heatmap"], name="sigmoid"),
    ]
    outputs = [
        helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, ["n", 7, 7]),
    ]
    weights = [
        networks.array("kernel", kernel),
        networks.array("all", [1, 2, 3], np.int64),
        networks.array("channel", [1], np.int64),
    ]
    return networks.model(nodes, outputs, weights, ["n", 3, SIZE, SIZE])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FaceCache:
    return face_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated detector in 32-bit numbers."""
    return networks.write(
        tmp_path_factory.mktemp("whole"),
        convolution(),
        input_size=SIZE,
        outputs={"logit": "logit", "heatmap": "heatmap"},
        thresholds=(Threshold(0.01, 2.0, 300, "LFW"),),
        provisional=False,
        metrics={"dev": {"auc": 0.9}, "calibration": {"after": 1}},
    )


@pytest.fixture(scope="module")
def small(whole: Path, cache: FaceCache) -> Path:
    out = whole.with_name("small.onnx")
    quantise(whole, [cache], out, faces=16)
    return out


def test_it_is_smaller_and_says_nearly_the_same(whole: Path, small: Path, cache: FaceCache) -> None:
    assert small.stat().st_size < 0.5 * whole.stat().st_size
    crops = crops_of(cache, load_detector(whole).card, 8)
    before, after = (load_detector(path).score(crops) for path in (whole, small))
    assert before.logits.std() > 0
    np.testing.assert_allclose(after.logits, before.logits, atol=0.03 * np.abs(before.logits).max())
    assert (after.logits != before.logits).any()
    assert before.heatmaps is not None
    assert after.heatmaps is not None
    np.testing.assert_allclose(after.heatmaps, before.heatmaps, atol=0.02)


def test_the_card_says_what_was_measured_on_what(whole: Path, small: Path) -> None:
    old, new = load_detector(whole), load_detector(small)
    assert (new.card.name, new.card.version) == ("tiny", "1-int8")
    assert new.card.provisional
    assert [t.logit for t in new.card.thresholds] == [2.0]
    assert new.card.thresholds[0].source == "carried over from tiny 1 in 32-bit numbers: LFW"
    assert new.card.metrics == {
        "quantisation": {"from": "tiny 1", "sha256": old.info.sha256, "faces": 16},
        "dev (tiny 1 in 32-bit numbers)": {"auc": 0.9},
    }


def test_the_first_convolutions_stay_whole_both_ways_round(cache: FaceCache, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    number, nodes = WHOLE + 2, [helper.make_node("Neg", ["crops"], ["other0"], name="turned")]
    for way, source in (("one", "crops"), ("other", "other0")):
        names = [source, *(f"{way}{k}" for k in range(1, number + 1))]
        for k in range(number):
            nodes.append(helper.make_node("Conv", [names[k], f"kernel{k}"], [names[k + 1]], name=f"{way}-conv{k}"))
    nodes.append(helper.make_node("Add", [f"one{number}", f"other{number}"], ["both"], name="add"))
    nodes.append(helper.make_node("ReduceMean", ["both", "all"], ["logit"], keepdims=0, name="mean"))
    weights = [networks.array(f"kernel{k}", rng.normal(0, 0.5, (3, 3, 1, 1))) for k in range(number)]
    weights.append(networks.array("all", [1, 2, 3], np.int64))
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    deep = networks.model(nodes, outputs, weights, ["n", 3, SIZE, SIZE])
    quantise(networks.write(tmp_path, deep, "deep.onnx", input_size=SIZE), [cache], tmp_path / "out.onnx", faces=4)
    graph = onnx.load(tmp_path / "out.onnx").graph
    widened = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for way in ("one", "other"):
        small = [node.input[1] in widened for node in convolutions if node.name.startswith(f"{way}-")]
        assert small == [False] * WHOLE + [True] * 2


def test_weights_use_seven_bits(small: Path) -> None:
    graph = onnx.load(small).graph
    (kernel,) = (
        numpy_helper.to_array(t)
        for t in graph.initializer
        if t.data_type == TensorProto.INT8 and t.dims[1:] == [3, 16, 16]
    )
    assert 60 <= np.abs(kernel.astype(int)).max() <= 64


def test_the_same_faces_give_the_same_file(whole: Path, small: Path, cache: FaceCache, tmp_path: Path) -> None:
    quantise(whole, [cache], tmp_path / "again.onnx", faces=16)
    assert (tmp_path / "again.onnx").read_bytes() == small.read_bytes()


def test_faces_of_held_out_splits_are_never_used(whole: Path, cache: FaceCache) -> None:
    card = load_detector(whole).card
    train = (cache.manifest["split"].to_numpy()[cache.faces["item"]] == "train").sum()
    assert len(crops_of(cache, card, 10_000)) == train < len(cache)
    for split in ("dev", "validation", "Test"):
        held_out = FaceCache(cache.folder, cache.settings, cache.manifest.assign(split=split), cache.faces)
        with pytest.raises(DataError, match="no face for this"):
            crops_of(held_out, card, 4)


def test_what_cannot_be_quantised(whole: Path, small: Path, cache: FaceCache, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quantised already"):
        quantise(small, [cache], tmp_path / "twice.onnx")
    clips = networks.write(tmp_path, networks.brightness(frames=4), "clips.onnx", kind="clip", frames=4)
    with pytest.raises(UsageError, match="looks at clips"):
        quantise(clips, [cache], tmp_path / "out.onnx")
    with pytest.raises(UsageError, match="neither convolutions nor matrix products"):
        quantise(networks.write(tmp_path, name="bare.onnx"), [cache], tmp_path / "out.onnx")
    with pytest.raises(ManifestError, match="in two caches"):
        quantise(whole, [cache, cache], tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_the_verb(whole: Path, cache: FaceCache, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    words = ["models", "quantise", str(whole), "--data", str(cache.folder), "-o", str(out), "--faces", "8"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "Its thresholds are the old ones; run `facetell calibrate`" in result.output
    assert load_detector(out).card.version == "1-int8"
    again = CliRunner().invoke(app, ["models", "quantise", str(out), "--data", str(tmp_path), "-o", "x.onnx"])
    assert again.exit_code == 2
    assert "is not a face cache" in again.stderr
