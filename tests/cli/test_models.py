import json
from pathlib import Path

import pytest

from facetell.detectors import shipped
from facetell.detectors.file import read_detector_file
from tests.cli.test_scan import run
from tests.detectors.networks import brightness, saying, write

CARD = """
name = "mine"
version = "0.1"
kind = "frame"
input_size = 32
geometry = { kind = "box", margin = 0.2 }
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
outputs = { logit = "logit" }
training_data = "my own pictures"
licence = "MIT"
thresholds = [{ false_positive_rate = 0.01, logit = 2.0, n_real = 300, source = "my own reals" }]
"""


def test_the_list_names_what_ships() -> None:
    result = run("models")
    assert result.exit_code == 0
    listed = json.loads(run("models", "--json", "-").stdout)
    assert listed["schema"] == "facetell-models/1"
    assert [entry["card"]["name"] for entry in listed["detectors"]] == shipped()
    for entry in listed["detectors"]:
        assert entry["sha256"] in result.stdout
        assert entry["card"]["licence"] in " ".join(result.stdout.split())  # wrapped to the terminal's width


def test_the_card_of_a_file(tmp_path: Path) -> None:
    path = saying(tmp_path, 1.0, limits=("Sees nothing.",), metrics={"dev": {"auc": 0.51234, "ci95": [0.5, 0.6]}})
    result = run("models", "--detector", path)
    assert read_detector_file(path).sha256 in result.stdout
    assert "Sees nothing." in result.stdout
    assert "dev: auc 0.512, ci95 0.500–0.600" in result.stdout
    assert "provisional" in result.stdout
    without = run("models", "--detector", saying(tmp_path, 1.0, thresholds=())).stdout
    assert "provisional" not in without
    assert "states no thresholds" in without


def test_text_in_a_card_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = saying(tmp_path, 1.0, licence="\x1b[31mred[/] [bold]")
    output = run("models", "--detector", path).stdout
    assert "\x1b" not in output
    assert "red[/] [bold]" in output


def test_pack_makes_a_file_that_scans(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(brightness().SerializeToString())
    (tmp_path / "card.toml").write_text(CARD)
    result = run("models", "pack", tmp_path / "net.onnx", "--card", tmp_path / "card.toml", "-o", tmp_path / "out.onnx")
    assert result.exit_code == 0
    card = read_detector_file(tmp_path / "out.onnx").card
    assert (card.name, card.geometry.kind, card.thresholds[0].logit) == ("mine", "box", 2.0)


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        (CARD + 'colour = "red"', "unknown key 'colour'"),
        (CARD.replace('licence = "MIT"', ""), "key 'licence' is missing"),
        (CARD.replace("input_size = 32", "input_size = 64"), "has shape"),
        ("name =", "is not TOML"),
        (None, "cannot be read"),
    ],
)
def test_pack_refuses_a_wrong_card(tmp_path: Path, card: str | None, complaint: str) -> None:
    (tmp_path / "net.onnx").write_bytes(brightness().SerializeToString())
    if card is not None:
        (tmp_path / "card.toml").write_text(card)
    result = run("models", "pack", tmp_path / "net.onnx", "--card", tmp_path / "card.toml", "-o", tmp_path / "out.onnx")
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_an_unknown_detector(tmp_path: Path) -> None:
    assert run("models", "--detector", "nosuch").exit_code == 2
    assert run("models", "--detector", write(tmp_path).with_name("gone.onnx")).exit_code == 2


def test_no_command_writes_over_what_it_reads(tmp_path: Path) -> None:
    detector, net, card = write(tmp_path), tmp_path / "net.onnx", tmp_path / "card.toml"
    net.write_bytes(brightness().SerializeToString())
    card.write_text(CARD)
    before = {path: path.read_bytes() for path in (detector, net, card)}
    for words in (
        ["--detector", detector, "--json", detector],
        ["pack", net, "--card", card, "-o", net],
        ["pack", net, "--card", card, "-o", card],
        ["import-mesonet", net, "-o", net],
    ):
        result = run("models", *words)
        assert result.exit_code == 2
        assert "is itself to be read" in result.stderr
    assert {path: path.read_bytes() for path in before} == before
