"""Our own formats, fed with anything: what comes out is what was asked for, or a named error."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from facetell.cli import app
from facetell.data.layouts.base import FAKE, REAL
from facetell.data.manifest import Item, manifest_of, read_manifest, write_manifest
from facetell.detectors import DetectorCard
from facetell.detectors.file import read_detector_file
from facetell.errors import DataError, DetectorError, RecipeError, UsageError
from facetell.networks.mesonet import Meso4
from facetell.training.keras import read_mesonet
from facetell.training.recipe import Recipe, load_recipe, parse_overrides, to_toml
from facetell.video import Plan, parse_plan
from tests.detectors.networks import card, saying
from tests.training.test_keras import keras_file

here = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # files are overwritten each time
quick = settings(here, max_examples=40, derandomize=True)  # HDF5 is C: what it survives, it survives every time
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
anything = st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))
damage = st.lists(st.tuples(st.floats(0, 0.9999), st.binary(min_size=1, max_size=8)), min_size=1, max_size=8)


def damaged(whole: bytes, places: list[tuple[float, bytes]]) -> bytes:
    """The bytes with others written over them, at shares of their length."""
    data = bytearray(whole)
    for share, written in places:
        place = int(share * len(data))
        data[place : place + len(written)] = written
    return bytes(data)


class TestManifest:
    whole = manifest_of([Item("a.mp4", REAL, video="a"), Item("b.mp4", FAKE, video="b", original="a", split="train")])

    def read(self, path: Path) -> None:
        with suppress(DataError):
            manifest = read_manifest(path)
            assert set(manifest.label) <= {REAL, FAKE}
            assert (manifest.group != "").all()

    @here
    @given(content=anything)
    def test_anything(self, tmp_path: Path, content: bytes) -> None:
        for suffix in (".csv", ".parquet"):
            (tmp_path / f"m{suffix}").write_bytes(content)
            self.read(tmp_path / f"m{suffix}")

    @here
    @given(
        rows=st.lists(
            st.fixed_dictionaries(
                {"path": st.text(max_size=9), "label": st.text("01.xe- \0", max_size=4)},
                optional={
                    "frame": st.text("0123456789-e.n", max_size=12),
                    "crop": st.text(max_size=5),
                    "group": st.text(max_size=3),
                },
            ),
            max_size=4,
        )
    )
    def test_tables(self, tmp_path: Path, rows: list[dict]) -> None:
        with suppress(UnicodeEncodeError):  # no CSV has lone surrogates
            pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
            self.read(tmp_path / "m.csv")

    @here
    @given(places=damage)
    def test_damage(self, tmp_path: Path, places: list[tuple[float, bytes]]) -> None:
        for suffix in (".csv", ".parquet"):
            path = tmp_path / f"m{suffix}"
            write_manifest(self.whole, path)
            path.write_bytes(damaged(path.read_bytes(), places))
            self.read(path)


class TestRecipe:
    @here
    @given(content=anything)
    def test_anything(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "r.toml").write_bytes(content)
        with suppress(RecipeError):
            load_recipe(tmp_path / "r.toml", Recipe)

    @here
    @given(places=damage)
    def test_damage(self, tmp_path: Path, places: list[tuple[float, bytes]]) -> None:
        (tmp_path / "r.toml").write_bytes(damaged(to_toml(Recipe()).encode(), places))
        with suppress(RecipeError):
            recipe = load_recipe(tmp_path / "r.toml", Recipe)
            assert recipe.batch >= 1
            assert 0 <= recipe.ema < 1

    @given(key=st.sampled_from([*Recipe.__dataclass_fields__, "other"]), value=st.text(max_size=20))
    def test_overrides(self, key: str, value: str) -> None:
        with suppress(RecipeError):
            assert key in parse_overrides([f"{key}={value}"])
        with suppress(RecipeError):
            load_recipe("meso", Recipe, [f"{key}={value}"])


class TestDetector:
    @given(data=json_values)
    def test_any_json_as_a_card(self, data: object) -> None:
        with pytest.raises(DetectorError):
            DetectorCard.from_json(json.dumps(data))

    @given(text=st.text(max_size=200))
    def test_any_text_as_a_card(self, text: str) -> None:
        with pytest.raises(DetectorError):
            DetectorCard.from_json(text)

    @given(key=st.sampled_from(sorted(card().to_dict())), value=json_values)
    def test_any_value_of_a_key(self, key: str, value: object) -> None:
        with suppress(DetectorError):
            read = DetectorCard.from_dict(card().to_dict() | {key: value})
            assert DetectorCard.from_json(read.to_json()) == read

    @here
    @given(places=damage)
    def test_damage(self, tmp_path: Path, places: list[tuple[float, bytes]]) -> None:
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged(saying(tmp_path, 1.0).read_bytes(), places))
        with suppress(DetectorError):
            assert read_detector_file(path).card.input_size > 0


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file of imported weights."""
    return keras_file(tmp_path_factory.mktemp("keras") / "weights.h5", Meso4())


class TestImportedWeights:
    @quick
    @given(content=st.binary(max_size=200))
    def test_anything(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "w.h5").write_bytes(content)
        with pytest.raises(DetectorError):
            read_mesonet(tmp_path / "w.h5")

    @quick
    @given(places=damage, share=st.sampled_from([0.02, 0.1, 1.0]), length=st.sampled_from([0.3, 0.99, 1.0]))
    def test_damage(
        self, tmp_path: Path, weights: Path, places: list[tuple[float, bytes]], share: float, length: float
    ) -> None:
        data = damaged(weights.read_bytes(), [(place * share, written) for place, written in places])
        (tmp_path / "w.h5").write_bytes(data[: int(length * len(data))])
        with suppress(DetectorError):
            read_mesonet(tmp_path / "w.h5")


class TestScanOptions:
    @given(text=st.text(max_size=30) | st.from_regex(r"(uniform|at|seconds|clips):[0-9x@.]{0,12}", fullmatch=True))
    def test_plans(self, text: str) -> None:
        with suppress(UsageError):
            plan = parse_plan(text)
            assert isinstance(plan, Plan)
            assert parse_plan(str(plan)) == plan

    @settings(here, max_examples=25)
    @given(
        options=st.dictionaries(
            st.sampled_from(
                ["--sample", "--fpr", "--prior", "--start", "--end", "--device", "--max-seconds", "--max-memory"]
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
            | st.floats().map(str)
            | st.integers().map(str),
            max_size=3,
        )
    )
    def test_options_end_in_a_verdict_or_one_line(self, tmp_path: Path, options: dict[str, str]) -> None:
        detector = saying(tmp_path, -5.0)
        given_options = [part for option in options.items() for part in option]
        result = CliRunner().invoke(app, ["scan", "missing.mp4", "--detector", str(detector), *given_options])
        assert result.exit_code == 2
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        assert os.path.basename(__file__) not in result.output
