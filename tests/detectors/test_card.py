import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.detectors import Calibration, DetectorCard, Scope, Term, Threshold
from facetell.detectors.card import read_card
from facetell.errors import DetectorFileError
from tests.detectors.networks import card


def full_card() -> DetectorCard:
    return card(
        outputs={"logit": "y", "heatmap": "m", "blend": "b", "texture": "t"},
        metrics={"dev": {"auc": 0.9, "auc_ci95": [0.88, 0.92], "n_real": 100}},
        calibration=Calibration("isotonic", x=(-2.0, 0.0, 2.0), y=(-1.0, 0.0, 3.0)),
        thresholds=(Threshold(0.01, 1.5, 300, "photographs", real_below=-1.0), Threshold(0.001, None, 300, "too few")),
        flicker=Term(3.0, -0.1, 1.5),
        magnification=1.5,
        instability=Term(2.0, -0.3),
        scope=Scope(60.0, 0.002, {"blend": Calibration("temperature", 2.0), "texture": Calibration()}, 1.5),
        provisional=False,
        description="Sees the mean – or “nothing”.",
        limits=("Only a test.",),
    )


def test_a_card_survives_the_journey_through_json() -> None:
    assert DetectorCard.from_json(full_card().to_json()) == full_card()
    assert DetectorCard.from_dict(full_card().to_dict()) == full_card()


def test_parts_are_the_outputs_besides_logit_and_heatmap() -> None:
    assert full_card().parts == {"blend": "b", "texture": "t"}
    assert full_card().heatmap == "m"
    assert card().heatmap is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"geometry": {"kind": "landmarks", "size": 3}}, "unknown key 'geometry.size'"),
        ({"geometry": {"kind": "round"}}, "'geometry.kind' must be one of landmarks, box, whole, not 'round'"),
        ({"geometry": {"kind": "landmarks", "scale": 0}}, "geometry.scale must lie between"),
        ({"input_size": "224"}, "'input_size' must be a whole number, not '224'"),
        ({"input_size": True}, "'input_size' must be a whole number, not True"),
        ({"input_size": 2**31}, "input_size must lie between"),
        ({"channels": 4}, "channels must be 3 or 1"),
        ({"mean": [0.5]}, "mean and std must have one number per channel"),
        ({"mean": 0.5}, "'mean' must be a list, not 0.5"),
        ({"mean": [0.5, None, 0.5]}, "'mean[1]' must be a number, not None"),
        ({"std": [1, 1, 0]}, "std must be above 0"),
        ({"name": "../x"}, "name must be lower-case letters"),
        ({"name": None}, "'name' must be a text, not None"),
        ({"version": ""}, "version must not be empty"),
        ({"kind": "movie"}, "'kind' must be one of frame, clip, series"),
        ({"frames": 20}, "frames must be 1 for kind 'frame'"),
        ({"kind": "clip", "frames": 100_000}, "frames must lie between"),
        ({"outputs": {"heatmap": "h"}}, "outputs must name the logit"),
        ({"outputs": {"logit": "l", "blend": None}}, "outputs other than heatmap must have a name"),
        ({"outputs": ["logit"]}, "'outputs' must be a table"),
        ({"flicker": {"weight": 0.0, "centre": 0.0}}, "weight and most must be above 0"),
        ({"flicker": {"weight": 1.0, "centre": None}}, "'flicker.centre' must be a number, not None"),
        ({"flicker": {"weight": 1.0, "centre": 0.0}, "kind": "clip", "frames": 4}, "flicker needs kind 'frame'"),
        ({"outputs": {"logit": "l", "flicker": "f"}}, "outputs must not be called 'flicker'"),
        ({"outputs": {"logit": "l", "instability": "i"}}, "outputs must not be called 'flicker' or 'instability'"),
        ({"flicker": {"weight": 1e10, "centre": 0.0}}, "'flicker.weight' must lie between"),
        ({"magnification": 0.0}, "magnification must lie above 0"),
        ({"magnification": 101}, "magnification must lie above 0 and at most at 100"),
        ({"magnification": "1"}, "'magnification' must be a number"),
        ({"magnification": 1.0, "kind": "clip", "frames": 4}, "magnification needs kind 'frame'"),
        ({"magnification": 1.0, "input_size": 11}, "magnification needs kind 'frame' and an input_size of at least 12"),
        ({"instability": {"weight": 1.0, "centre": 0.0}}, "instability needs magnification"),
        ({"scope": {"face_height": 60, "views": {"blend": {}}}}, "views must be two"),
        ({"scope": {"face_height": 60, "views": {"x": {}, "y": {}}, "views_apart": 1}}, "must be parts of the score"),
        ({"thresholds": [{"false_positive_rate": 0.01}]}, "key 'thresholds[0].logit' is missing"),
        (
            {"thresholds": [{"false_positive_rate": 1, "logit": 0, "n_real": 9, "source": ""}]},
            "thresholds[0]: false_positive_rate must lie between 1e-09 and 1",
        ),
        (
            {"thresholds": [{"false_positive_rate": 5e-324, "logit": 0, "n_real": 9, "source": ""}]},
            "thresholds[0]: false_positive_rate must lie between 1e-09 and 1",
        ),
        (
            {
                "thresholds": [
                    {"false_positive_rate": rate, "logit": 0, "n_real": 9, "source": ""}
                    for rate in (0.01, math.nextafter(0.01, 1))
                ]
            },
            "rates of thresholds must differ by 1 % or more",
        ),
        (
            {"thresholds": [{"false_positive_rate": 0.1, "logit": -1.7e308, "n_real": 9, "source": ""}]},
            "'thresholds[0].logit' must lie between -1e+09 and 1e+09",
        ),
        ({"scope": {"face_height": -1e300}}, "'scope.face_height' must lie between"),
        ({"scope": {"face_height": -1}}, "scope: face_height and bits_per_pixel must not be negative"),
        ({"scope": {"face_height": 60, "bits_per_pixel": -5}}, "scope: face_height and bits_per_pixel must not be"),
        (
            {"thresholds": [{"false_positive_rate": 0.1, "logit": 0, "n_real": -1, "source": ""}]},
            "thresholds[0]: n_real must not be negative",
        ),
        ({"calibration": {"method": "temperature", "temperature": 0}}, "temperature must be above 0"),
        ({"calibration": {"method": "isotonic", "x": [0, 1], "y": [0]}}, "x and y must have one length"),
        ({"calibration": {"method": "isotonic", "x": [0, 0], "y": [0, 1]}}, "x must increase"),
        ({"schema": "facetell-detector/2"}, "schema must be 'facetell-detector/1'"),
        ({"provisional": 0}, "'provisional' must be a true or false, not 0"),
    ],
)
def test_a_wrong_card_is_refused_by_the_name_of_what_is_wrong(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DetectorFileError) as caught:
        DetectorCard.from_dict(card().to_dict() | change, source="x.onnx")
    assert complaint in caught.value.message
    assert caught.value.message.startswith("x.onnx: ")


@pytest.mark.parametrize(
    "change",
    [
        {"licence": "\ud800"},
        {"metrics": {"\udc80": 1}},
        {"outputs": {"logit": "logit", "\ud800": "a"}},
        {"name": [16**5000]},
    ],
    ids=["text", "key of a metric", "key of an output", "long number"],
)
def test_what_could_not_be_written_again_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DetectorFileError, match=r"x\.onnx cannot be written as JSON"):
        DetectorCard.from_dict(card().to_dict() | change, source="x.onnx")


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "f" * 5000], ids=["decimal", "hexadecimal"])
def test_a_toml_of_endless_numbers_is_named(number: str, tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(f"input_size = {number}")
    with pytest.raises(DetectorFileError, match=r"card\.toml (is not TOML|cannot be written)"):
        read_card(tmp_path / "card.toml")


@pytest.mark.parametrize("key", ["schema", "name", "version", "kind", "input_size", "geometry", "outputs", "licence"])
def test_a_missing_key_is_named(key: str) -> None:
    data = card().to_dict()
    del data[key]
    with pytest.raises(DetectorFileError, match=f"key '{key}' is missing"):
        DetectorCard.from_dict(data)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, '{"schema": NaN}'])
def test_what_is_not_a_json_table_is_refused(text: str) -> None:
    with pytest.raises(DetectorFileError):
        DetectorCard.from_json(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(data=st.data(), value=json_values)
def test_whatever_stands_in_a_card_it_is_read_or_refused_by_name(data: st.DataObject, value: object) -> None:
    """Any value at any place of a full card."""
    whole = place = json.loads(full_card().to_json())
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    try:
        card = DetectorCard.from_dict(whole)
    except DetectorFileError:
        return
    assert DetectorCard.from_json(card.to_json()) == card


def test_a_term_adds_no_more_than_it_may() -> None:
    term = Term(weight=4.0, centre=-0.1, most=2.0)
    assert [term.logit(value) for value in (None, -0.1, 0.15, 9.0, -9.0)] == [0.0, 0.0, 1.0, 2.0, -2.0]


def test_what_is_heeded_in_a_video_is_said_in_words() -> None:
    assert card().in_a_video == {}
    assert set(full_card().in_a_video) == {"flicker", "changes", "instability"}
    assert card(magnification=1.5).in_a_video == {
        "changes": "magnified; added 1.5 times to each face before it is judged"
    }


def test_infinite_numbers_are_refused() -> None:
    text = json.dumps(card().to_dict() | {"std": [float("inf")] * 3})
    with pytest.raises(DetectorFileError, match=r"'std\[0\]' must be finite"):
        DetectorCard.from_json(text)


def test_calibrations() -> None:
    assert Calibration()(1.25) == 1.25
    assert Calibration("temperature", temperature=2.0, bias=-1.0)(3.0) == 0.5
    isotonic = Calibration("isotonic", x=(-1.0, 1.0), y=(0.0, 4.0))
    assert [isotonic(logit) for logit in (-9.0, -1.0, 0.0, 1.0, 9.0)] == [0.0, 0.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize("key", ["metrics", "name"])
def test_a_deeply_nested_card_is_refused(key: str) -> None:
    def nested(depth: int) -> dict[str, Any]:
        return card().to_dict() | {key: json.loads('{"a": ' * depth + "1" + "}" * depth)}

    with pytest.raises(DetectorFileError, match="nested more than 20 deep"):
        DetectorCard.from_dict(nested(900))
    if key == "metrics":
        assert DetectorCard.from_dict(nested(10)).metrics


def test_a_deeply_nested_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("metrics = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(DetectorFileError, match="is not TOML"):
        read_card(tmp_path / "card.toml")
