from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facetell.detectors import load_detector, pack, shipped, zoo
from facetell.detectors.detector import BATCH
from facetell.detectors.file import CROPS_AT_ONCE, read_detector_file
from facetell.errors import (
    AlteredDetectorError,
    DetectorFileError,
    OutputError,
    UnknownDetectorError,
    UsageError,
)
from facetell.files import sha256_of
from tests.detectors.networks import SIZE, array, brightness, card, model, write


def bare(folder: Path, network: onnx.ModelProto) -> Path:
    path = folder / "bare.onnx"
    path.write_bytes(network.SerializeToString())
    return path


def test_a_packed_file_loads_with_its_card_and_hash(tmp_path: Path) -> None:
    path = write(tmp_path, version="7", licence="MIT")
    detector = load_detector(path)
    assert (detector.info.name, detector.info.version, detector.info.licence) == ("tiny", "7", "MIT")
    assert detector.info.sha256 == sha256_of(path)
    assert not detector.info.shipped


def test_packing_twice_replaces_the_card(tmp_path: Path) -> None:
    first = write(tmp_path, version="1")
    pack(first, card(version="2"), tmp_path / "second.onnx")
    assert read_detector_file(tmp_path / "second.onnx").card.version == "2"


def test_packing_is_reproducible(tmp_path: Path) -> None:
    assert sha256_of(write(tmp_path, name="a.onnx")) == sha256_of(write(tmp_path, name="b.onnx"))


def test_nothing_is_written_when_network_and_card_disagree(tmp_path: Path) -> None:
    with pytest.raises(DetectorFileError, match="has no output 'score'"):
        pack(bare(tmp_path, brightness()), card(outputs={"logit": "score"}), tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        pack(bare(tmp_path, brightness()), card(), tmp_path / "missing" / "out.onnx")


@pytest.mark.parametrize(
    ("network", "changes", "complaint"),
    [
        (brightness(size=64), {}, r"has shape \(n, 3, 64, 64\); its card asks for \(N, 3, 32, 32\)"),
        (brightness(channels=1), {}, r"has shape \(n, 1, 32, 32\)"),
        (brightness(frames=4), {}, r"has shape \(n, 4, 3, 32, 32\)"),
        (brightness(frames=4), {"kind": "clip", "frames": 5}, r"asks for \(N, 5, 3, 32, 32\)"),
        (brightness(), {"outputs": {"logit": "logit", "heatmap": "mask"}}, "has no output 'mask'"),
    ],
)
def test_a_network_that_is_not_what_its_card_says(
    tmp_path: Path, network: onnx.ModelProto, changes: dict, complaint: str
) -> None:
    with pytest.raises(DetectorFileError, match=complaint):
        pack(bare(tmp_path, network), card(**changes), tmp_path / "out.onnx")


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    network = brightness()
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(DetectorFileError, match="has shape"):
        pack(bare(tmp_path, network), card(), tmp_path / "out.onnx")


def logit(*nodes: onnx.NodeProto, **options) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])
    return model(nodes, [output], options.pop("weights", []), ["n", 3, SIZE, SIZE], **options)


def hostile() -> dict[str, tuple[onnx.ModelProto, str]]:
    external = brightness()
    external.graph.initializer[1].data_location = TensorProto.EXTERNAL
    external.graph.initializer[1].external_data.add(key="location", value="/etc/passwd")
    hidden = logit(helper.make_node("Constant", [], ["logit"], value=external.graph.initializer[1]))
    foreign = logit(
        helper.make_node("Anything", ["crops"], ["logit"], domain="com.example"),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)],
    )
    body = helper.make_graph(
        [], "body", [], [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])]
    )
    branch = logit(helper.make_node("If", ["crops"], ["logit"], then_branch=body, else_branch=body))
    function = brightness()
    function.functions.append(helper.make_function("", "F", ["x"], ["x"], [], [helper.make_opsetid("", 18)]))
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [100_000] * 3)
    bomb = logit(
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=[shape],
    )
    doubled = logit(
        *(helper.make_node("Concat", [f"x{i}"] * 2 if i else ["crops"] * 2, [f"x{i + 1}"], axis=2) for i in range(24)),
        helper.make_node("ReduceMean", ["x24"], ["logit"], keepdims=0),
    )
    for dim in doubled.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"  # the card says how large crops are
    grown = [array("ten", 1e8), array("axis", [0], np.int64)]
    computed = logit(
        helper.make_node("ReduceMean", ["crops"], ["mean"], keepdims=0),
        helper.make_node("Max", ["mean", "ten"], ["most"]),
        helper.make_node("Cast", ["most"], ["number"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["number", "axis"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=grown,
    )
    window = logit(
        helper.make_node("ReduceMax", ["crops"], ["mean"], keepdims=0),
        helper.make_node("Max", ["mean", "ten"], ["most"]),
        helper.make_node("Cast", ["most"], ["number"], to=TensorProto.INT64),
        helper.make_node("HannWindow", ["number"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=grown,
    )
    counted = logit(
        helper.make_node("ReduceMean", ["crops"], ["mean"], keepdims=0),
        helper.make_node("Max", ["mean", "ten"], ["most"]),
        helper.make_node("Range", ["zero", "most", "one"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=[*grown, array("zero", 0.0), array("one", 1.0)],
    )
    given = brightness()  # an output's own shape is a promise only
    given.graph.node.append(helper.make_node("Expand", ["scaled", "side"], ["map"]))
    given.graph.initializer.append(array("side", [30_000, 30_000, 1], np.int64))
    given.graph.output.append(helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", 2, 2]))
    shown = logit(
        helper.make_node("NonZero", ["crops"], ["places"]),
        helper.make_node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["logit"], keepdims=0),
    )
    dropping = logit(
        helper.make_node("Dropout", ["crops", "half", "yes"], ["some"]),
        helper.make_node("ReduceMean", ["some"], ["logit"], keepdims=0),
        weights=[array("half", 0.5), array("yes", True, np.bool_)],
    )
    doublings = [
        *(helper.make_node("Concat", [f"x{i}"] * 2, [f"x{i + 1}"], axis=0) for i in range(20)),
        helper.make_node("ReduceMean", ["x20"], ["logit"], keepdims=0),
    ]
    number = [  # a one that only a run tells
        helper.make_node("ReduceMean", ["crops"], ["mean"], keepdims=0),
        helper.make_node("Clip", ["mean", "one", "one"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["whole", "axis"], ["number"]),
    ]
    weights = [array("one", 1.0), array("axis", [0], np.int64), array("last", [-1], np.int64)]
    reshaped = logit(
        *number,
        helper.make_node("Mul", ["number", "last"], ["shape"]),
        helper.make_node("Reshape", ["crops", "shape"], ["x0"], name="flat"),
        *doublings,
        weights=weights,
    )
    sliced = logit(
        *number,
        helper.make_node("Slice", ["crops", "axis", "number"], ["x0"], name="part"),
        *doublings,
        weights=weights,
    )
    wrapping = logit(  # as 32 bits, 2**32 is 0
        helper.make_node("Cast", ["many"], ["short"], to=TensorProto.INT32),
        helper.make_node("Cast", ["short"], ["long"], to=TensorProto.INT64),
        helper.make_node("Sub", ["more", "long"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=[array("many", [2**32], np.int64), array("more", [2**32 + 1], np.int64)],
    )
    paired = logit(  # nothing, of one crop
        helper.make_node("Shape", ["crops"], ["n"], start=0, end=1),
        helper.make_node("Sub", ["n", "one"], ["rest"]),
        helper.make_node("Mul", ["rest", "many"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=[array("one", [1], np.int64), array("many", [10**10], np.int64)],
    )
    silent = logit(
        helper.make_node("ReduceMean", ["crops", "sides"], ["means"], keepdims=0),
        helper.make_node("Normalizer", ["means"], ["x0"], domain="ai.onnx.ml"),
        *doublings,
        weights=[array("sides", [2, 3], np.int64)],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)],
    )
    held = logit(  # each within the limit, none let go of before the last is there
        *(helper.make_node("Tile", ["crops", "times"], [f"x{i}"]) for i in range(8)),
        helper.make_node("Sum", [f"x{i}" for i in range(8)], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["logit"], keepdims=0),
        weights=[array("times", [1, 1, 2**8, 2**7], np.int64)],
    )
    ready = logit(  # as many, one after the other, but all before the first run
        *(helper.make_node("ConstantOfShape", ["side"], [f"x{i}"]) for i in range(8)),
        *(helper.make_node("ReduceMean", [f"x{i}"], [f"mean{i}"], keepdims=0) for i in range(8)),
        helper.make_node("ReduceMean", ["crops"], ["mean8"], keepdims=0),
        helper.make_node("Sum", [f"mean{i}" for i in range(9)], ["logit"]),
        weights=[array("side", [2**13, 2**14], np.int64)],
    )
    whole = helper.make_node("Cast", ["crops"], ["whole"], to=TensorProto.INT8)
    average = [
        helper.make_node("Cast", ["rest"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["logit"], keepdims=0),
    ]
    axes = array("axes", [1, 2, 3], np.int64)
    divided = logit(  # -128 by -1 stops the processor
        whole,
        helper.make_node("Div", ["whole", "less"], ["rest"]),
        *average,
        weights=[axes, array("less", -1, np.int8)],
    )
    unfit = logit(  # of whole numbers of eight bits it knows no product
        whole,
        helper.make_node("Mul", ["whole", "whole"], ["rest"]),
        helper.make_node("Cast", ["rest"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["logit"], axes=[1, 2, 3], keepdims=0),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    shared = logit(whole, helper.make_node("Mod", ["whole", "whole"], ["rest"]), *average, weights=[axes])
    sparse = brightness()
    sparse.graph.sparse_initializer.append(
        helper.make_sparse_tensor(array("much", [1.0]), array("places", [0], np.int64), [10**6, 10**6])
    )
    dice = logit(helper.make_node("RandomNormalLike", ["crops"], ["logit"]))
    unknown = logit(helper.make_node("NoSuchOperator", ["crops"], ["logit"]))
    return {
        "external weights": (external, "keeps its weights in another file"),
        "external weights of a node": (hidden, "keeps its weights in another file"),
        "foreign operator": (foreign, "uses operators of 'com.example'"),
        "control flow": (branch, "has control flow"),
        "own function": (function, "defines functions"),
        "memory bomb": (bomb, "makes a tensor of 1000000000000000 numbers"),
        "memory bomb with free sides": (doubled, "makes a tensor of [0-9]{9,} numbers"),
        "window of a computed size": (window, r"cannot be known before it runs \(HannWindow, node 'huge'\)"),
        "computed size": (computed, r"cannot be known before it runs \(ConstantOfShape, node 'huge'\)"),
        "range to a computed number": (counted, r"cannot be known before it runs \(Range, node 'huge'\)"),
        "reshaped to a computed size": (reshaped, r"cannot be known before it runs \(Reshape, node 'flat'\)"),
        "slice of a computed size": (sliced, r"cannot be known before it runs \(Slice, node 'part'\)"),
        "size that wraps around": (wrapping, r"cannot be known before it runs \(ConstantOfShape, node 'huge'\)"),
        "memory bomb from two crops on": (paired, "makes a tensor of 10000000000 numbers"),
        "operator without a known shape": (silent, r"cannot be known before it runs \(Normalizer, node 'x0'\)"),
        "many large tensors at one time": (held, "holds [0-9]{9,} numbers at one time"),
        "many large constants": (ready, "holds [0-9]{9,} numbers at one time"),
        "division that stops the processor": (divided, r"may be 0 or -1 \(Div\)"),
        "remainder by what a picture shows": (shared, r"may be 0 or -1 \(Mod\)"),
        "operator for other numbers": (unfit, "is not a valid network"),
        "sparse weights": (sparse, "keeps weights as sparse tensors"),
        "memory bomb as an output": (given, "makes a tensor of 900000000 numbers"),
        "size by the picture": (shown, "depends on the picture"),
        "random": (dice, "draws random numbers"),
        "dropout that drops": (dropping, "draws random numbers"),
        "unknown operator": (unknown, "is not a valid network"),
    }


@pytest.mark.parametrize("kind", list(hostile()))
def test_hostile_networks_are_refused_before_they_run(tmp_path: Path, kind: str) -> None:
    network, complaint = hostile()[kind]
    network.metadata_props.add(key="facetell", value=card().to_json())
    with pytest.raises(DetectorFileError, match=complaint):
        load_detector(bare(tmp_path, network))


def test_sizes_may_be_computed_from_sizes(tmp_path: Path) -> None:
    network = logit(
        helper.make_node("Shape", ["crops"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["n"]),
        helper.make_node("Range", ["zero", "n", "one"], ["counted"]),
        helper.make_node("Gather", ["crops", "counted"], ["same"], axis=0),
        helper.make_node("Slice", ["shape", "axis", "two"], ["front"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Div", ["rest", "n"], ["some"]),
        helper.make_node("Mod", ["some", "two"], ["none"]),
        helper.make_node("Concat", ["front", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["same", "wanted"], ["flat"]),
        helper.make_node("MeanVarianceNormalization", ["flat"], ["normal"], axes=[2]),
        helper.make_node("ReduceMean", ["normal", "axes"], ["logit"], keepdims=0),
        weights=[
            *(array(name, value, np.int64) for name, value in (("first", 0), ("zero", 0), ("one", 1))),
            *(array(name, value, np.int64) for name, value in (("axis", [0]), ("two", [2]), ("axes", [1, 2]))),
        ],
    )
    crops = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    assert load_detector(write(tmp_path, network)).score(crops).logits == pytest.approx(0, abs=1e-5)


def test_large_tensors_one_after_the_other_are_not_counted_together(tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(9)]
    network = logit(
        helper.make_node("Tile", ["crops", "times"], ["x0"]),
        *(helper.make_node("Relu", [one], [two]) for one, two in pairwise(names)),
        helper.make_node("ReduceMean", [names[-1], "axes"], ["logit"], keepdims=0),
        weights=[array("times", [1, 1, 2**8, 2**7], np.int64), array("axes", [1, 2, 3], np.int64)],
    )
    network.metadata_props.add(key="facetell", value=card().to_json())
    assert read_detector_file(bare(tmp_path, network)).card.name == "tiny"


def test_sizes_are_checked_for_every_number_of_crops_that_a_network_is_given() -> None:
    assert tuple(range(1, BATCH + 1)) == CROPS_AT_ONCE


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x08", b"\x00" * 1000])
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(DetectorFileError, match="is not an ONNX file"):
        load_detector(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DetectorFileError):
            load_detector(path)


def test_onnx_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorFileError, match="without a facetell card") as caught:
        load_detector(bare(tmp_path, brightness()))
    assert "facetell models pack" in caught.value.advice


def test_too_large_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.detectors.file.MAX_BYTES", 100)
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\x08" * 101)
    with pytest.raises(DetectorFileError, match="larger than"):
        load_detector(path)


@pytest.mark.parametrize("name", ["nosuch", "nosuch.onnx", "a/b", ""])
def test_unknown_detectors(name: str) -> None:
    with pytest.raises(UnknownDetectorError):
        load_detector(name)


def test_a_folder_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(UnknownDetectorError):
        load_detector(tmp_path)


def test_an_unknown_device_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no device 'abacus'") as caught:
        load_detector(write(tmp_path), device="abacus")
    assert caught.value.advice.startswith("It has cpu")


@pytest.fixture
def tiny_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write(tmp_path)
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    monkeypatch.setattr(zoo, "SHIPPED", {"tiny": sha256_of(path)})
    monkeypatch.setattr(zoo, "DEFAULT", "tiny")
    return path


def test_a_shipped_detector_loads_by_name_and_is_the_default(tiny_zoo: Path) -> None:
    assert shipped() == ["tiny"]
    assert load_detector().info == load_detector("tiny").info
    assert load_detector().info.shipped
    assert load_detector(tiny_zoo).info.shipped  # by its hash, wherever it lies


def test_altered_weights_are_refused(tiny_zoo: Path) -> None:
    content = bytearray(tiny_zoo.read_bytes())
    content[-1] ^= 1
    tiny_zoo.write_bytes(content)
    with pytest.raises(AlteredDetectorError, match="not the published ones"):
        load_detector("tiny")


def test_missing_weights_are_refused(tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_zoo.unlink()
    with pytest.raises(AlteredDetectorError, match=r"missing.*Install"):
        load_detector()
    monkeypatch.setattr(zoo, "__file__", str(tiny_zoo / "facetell.zip" / "facetell" / "detectors" / "zoo.py"))
    with pytest.raises(AlteredDetectorError, match=r"missing.*inside a zip"):
        load_detector()


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_detector_is_whole(name: str) -> None:
    assert read_detector_file(zoo.WEIGHTS / f"{name}.onnx").card.name == name  # checked as any stranger's
    detector = load_detector(name)
    crops = np.random.default_rng(0).integers(0, 256, (2, *detector.crop_shape), dtype=np.uint8)
    assert np.isfinite(detector.score(crops).logits).all()
