"""Calibration on scores drawn from known distributions, and the whole verb on made pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from facetell.cli import app
from facetell.cli.calibrate import _with_term
from facetell.data.layouts import read
from facetell.data.manifest import manifest_of, write_manifest
from facetell.detectors import Calibration, DetectorCard, Scope, Term, Threshold, load_detector
from facetell.errors import DataError
from facetell.evaluation import scoring
from facetell.evaluation.calibration import (
    ViewsRule,
    apply,
    balanced,
    calibrate,
    choose,
    decisions,
    fake_from,
    fit_isotonic,
    fit_temperature,
    halves,
    place,
    real_below,
    table_of,
    threshold_at,
)
from facetell.evaluation.scoring import Scored
from facetell.report.card import card_page
from tests import media
from tests.detectors.networks import card
from tests.evaluation import made


def drawn(n: int, distance: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and raw logits that are three times too sure and shifted by one."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    true_logit = distance * (rng.normal(0, 1, n) + distance * (y - 0.5))
    return y, 3 * true_logit + 1


def scored(y: np.ndarray, logits: np.ndarray, name: str = "made") -> Scored:
    columns = {"label": y, "logit": logits, "dataset": name, "original": "", "problem": "", "height": 100.0}
    videos = pd.DataFrame(columns | {"bits_per_pixel": None, "parts": [{}] * len(y)}).assign(
        group=[f"{name} {k // 2}" for k in range(len(y))]
    )
    videos = videos.assign(video=[f"v{k}" for k in range(len(y))], compression="")
    return Scored(pd.DataFrame({"reason": [""] * len(y)}), pd.DataFrame(), videos, card())


SMALL_AND_HARD = (("easy", 800, -8.0), ("hard", 120, 5.5))


def test_temperature_undoes_scale_and_shift() -> None:
    fitted = fit_temperature(*drawn(4000, distance=1.5))
    assert fitted.temperature == pytest.approx(3, rel=0.1)
    assert fitted.bias == pytest.approx(-1 / 3, abs=0.1)


def test_temperature_does_not_depend_on_the_share_of_fakes() -> None:
    y, logits = drawn(8000, distance=1.5)
    few_fakes = (y == 0) | (np.arange(len(y)) % 10 == 1)
    fitted = fit_temperature(y[few_fakes], logits[few_fakes])
    assert fitted.temperature == pytest.approx(3, rel=0.15)
    assert fitted.bias == pytest.approx(-1 / 3, abs=0.2)


def test_isotonic_follows_a_bent_curve_that_no_temperature_can() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(-3, 3, 6000)
    truth = np.where(raw > 0, 0.9, 0.1)
    y = (rng.random(6000) < truth).astype(int)
    chosen, losses = choose(y, raw, np.arange(6000) // 2)
    assert chosen.method == "isotonic"
    assert losses["isotonic"] < losses["temperature"] - 0.01
    p = 1 / (1 + np.exp(-apply(fit_isotonic(y, raw), np.array([-2.0, 2.0]))))
    assert p == pytest.approx([0.1, 0.9], abs=0.04)


def test_temperature_is_chosen_where_it_is_the_truth() -> None:
    y, logits = drawn(600, distance=1.5)
    assert choose(y, logits, np.arange(600) // 2)[0].method == "temperature"


@pytest.mark.parametrize("fit", [fit_temperature, fit_isotonic])
def test_a_detector_that_ranks_backwards_is_refused(fit) -> None:
    y, logits = drawn(400)
    with pytest.raises(DataError, match="no better than chance"):
        fit(y, -logits)


def test_thresholds_keep_their_rate_on_the_worst_source() -> None:
    rng = np.random.default_rng(0)
    reals = {"easy": rng.normal(-3, 1, 1000), "hard": rng.normal(-1, 1, 400), "few": np.full(40, 50.0)}
    groups = {name: len(values) for name, values in reals.items()}
    found = threshold_at(0.01, reals, groups, {}, bound=-1.0)
    assert found.logit is not None
    assert (reals["hard"] >= found.logit).mean() == pytest.approx(0.01)
    assert (reals["easy"] >= found.logit).mean() <= 0.01
    assert found.source.startswith("hard, the worst of easy, hard")
    assert found.n_real == 400


def test_ties_count_as_reached() -> None:
    values = np.array([0.0] * 95 + [1.0] * 205)
    found = threshold_at(0.01, {"a": values}, {"a": 300}, {}, bound=9.0)
    assert found.logit is not None
    assert found.logit > 1
    assert found.real_below == found.logit


def test_a_rate_that_no_source_can_show_has_no_threshold() -> None:
    found = threshold_at(0.001, {"a": np.zeros(400)}, {"a": 400}, {}, bound=0.0)
    assert found.logit is None
    assert found.source == "needs 3000 real groups of one source; the largest has 400"


def test_a_threshold_rises_until_few_of_those_it_calls_fake_are_real() -> None:
    reals = {"a": np.linspace(-5, 0, 300)}
    y, logits = drawn(400, distance=1.0)
    least = threshold_at(0.01, reals, {"a": 300}, {}, bound=-9.0).logit
    raised = threshold_at(0.01, reals, {"a": 300}, {"street": (y, logits)}, bound=-9.0)
    assert least is not None
    assert raised.logit is not None
    assert (y[logits >= least] == 0).mean() > 0.05 >= (y[logits >= raised.logit] == 0).mean()
    assert raised.source.endswith("raised, as too many called FAKE in street were real")
    assert "raised" not in threshold_at(0.05, reals, {"a": 300}, {"street": (y, logits)}, bound=-9.0).source


def test_a_small_source_that_is_hard_raises_the_thresholds_of_smaller_rates() -> None:
    """It decides at 5 % and has too few groups for 1 %, where the others alone would ask for less."""
    y, logits = drawn(1200, distance=1.5)
    rng = np.random.default_rng(0)
    reals = {name: scored(np.zeros(n, int), rng.normal(mean, 3, n), name) for name, n, mean in SMALL_AND_HARD}
    found = calibrate(card(), {"clean": scored(y, logits)}, reals, n_boot=0).thresholds
    five, one = (next(t for t in found if t.false_positive_rate == rate) for rate in (0.05, 0.01))
    assert five.source.startswith("hard, the worst of")
    assert five.logit is not None
    assert one.logit is not None
    assert one.logit >= five.logit
    assert "raised to that of a larger rate" in one.source


def test_where_a_set_names_few_groups_its_videos_count() -> None:
    y, logits = drawn(400)
    street = scored(np.zeros(400, int), np.full(400, -20.0), "street")
    for people, counted in ((9, 400), (10, 100)):  # 100: groups of the fitting half of the development data
        street.videos["group"] = [f"p{k % people}" for k in range(400)]
        found = calibrate(card(), {"clean": scored(y, logits)}, {"street": street}, n_boot=0, rates=(0.005,))
        assert found.thresholds[0].n_real == counted


def test_a_group_that_one_condition_loses_changes_no_unit() -> None:
    y, logits = drawn(160)
    whole, less = scored(y, logits), scored(y, logits)
    for one in (whole, less):
        one.videos["group"] = [f"p{k // 16}" for k in range(160)]
    less = replace(less, videos=less.videos[less.videos.group != "p9"])
    found = calibrate(card(), {"clean": whole, "CRF 32": less}, {}, n_boot=0, rates=(0.05,))
    assert found.thresholds[0].source == "needs 60 real groups of one source; the largest has 5"


def test_where_every_high_score_is_real_nothing_is_called_fake() -> None:
    y, logits = np.array([0, 1]), np.array([5.0, 1.0])
    assert fake_from(y, logits, least=0.0) > 5


def test_clearly_real_is_drawn_where_few_are_fake() -> None:
    y, logits = drawn(4000, distance=2.0)
    bound, sure = real_below(y, logits), real_below(y, logits, sure=0.9)
    assert 0.045 < (y[logits < bound] == 1).mean() <= 0.05
    assert sure < bound
    assert real_below(y, -logits) == (-logits).min()


def test_a_sure_bound_holds_on_other_videos() -> None:
    kept = []
    for seed in range(40):
        bound = real_below(*drawn(600, distance=1.5, seed=seed), sure=0.9)
        y, logits = drawn(20_000, distance=1.5, seed=1000 + seed)
        kept.append((y[logits < bound] == 1).sum() <= 0.05 * (logits < bound).sum())
    assert np.mean(kept) >= 0.8


def test_balanced_numbers_do_not_depend_on_the_share_of_fakes() -> None:
    y, logits = drawn(4000, distance=1.0)
    p = 1 / (1 + np.exp(-logits / 3))
    few = (y == 0) | (np.arange(len(y)) % 8 == 1)
    whole = balanced(y, p, np.arange(4000), n_boot=50)
    part = balanced(y[few], p[few], np.arange(few.sum()), n_boot=50)
    assert part["log_loss"]["value"] == pytest.approx(whole["log_loss"]["value"], rel=0.05)
    low, high = whole["log_loss"]["ci95"]
    assert low < whole["log_loss"]["value"] < high


def test_halves_keep_groups_whole() -> None:
    groups = np.repeat([f"g{k}" for k in range(21)], 3)
    fits = halves(groups)
    assert not set(groups[fits]) & set(groups[~fits])
    assert len(set(groups[fits])) == 10
    assert (halves(groups, seed=1) != fits).any()
    sources = np.repeat(["a", "b", "c"], 21)
    assert [fits.sum() for fits in np.split(halves(groups, sources), 3)] == [9, 9, 9]


def test_the_card_gets_everything() -> None:
    y, logits = drawn(800)
    noise = np.random.default_rng(3).normal(0, 2, 800)
    reals = np.random.default_rng(4).normal(-8, 8, 400)
    result = calibrate(
        card(metrics={"dev": {"auc": 0.9}}),
        {"clean": scored(y, logits), "CRF 32": scored(y, logits + noise)},
        {"street (clean)": scored(np.zeros(400, int), reals, "street")},
        n_boot=50,
    )
    report = result.metrics["calibration"]
    assert result.metrics["dev"] == {"auc": 0.9}
    assert result.calibration.method in ("temperature", "isotonic")
    assert report["after"]["log_loss"]["value"] < report["before"]["log_loss"]["value"]
    assert report["after"]["ece"]["value"] < report["before"]["ece"]["value"]
    # Two videos to a group: 200 groups show 5 % (60 needed), but not 1 % (300).
    assert [threshold.logit is None for threshold in result.thresholds] == [False, True, True]
    assert result.provisional
    assert report["false_positives"]["street (clean)"]["0.05"]["value"] == pytest.approx(0.05)
    assert report["decisions"]["0.05"]["made (clean)"]["wrong"]["value"] < 0.1
    assert result.scope == Scope(100.0)
    assert "does not give" in report["views"]["none"]
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_worst_source_bounds_what_is_real() -> None:
    y, logits = drawn(1600)
    sources = np.repeat(["easy", "hard"], 800)
    logits = np.where((sources == "hard") & (y == 1), logits - 12, logits)  # many of these fakes look real
    data = scored(y, logits)
    data.videos["dataset"] = sources
    street = {"street": scored(np.zeros(700, int), np.random.default_rng(4).normal(-20, 3, 700), "street")}
    result = calibrate(card(), {"clean": data}, street, n_boot=0)
    wrong = {name: d["wrong"] for name, d in result.metrics["calibration"]["decisions"]["0.01"].items()}
    assert wrong.keys() == {"easy (clean)", "hard (clean)"}
    assert all(one["n"] > 20 and one["value"] <= 0.1 for one in wrong.values())


def test_views_that_disagree_strongly_are_bounded() -> None:
    y, logits = drawn(800)
    noise = np.random.default_rng(1).normal(0, 2, 800)
    videos = scored(y, logits)
    videos.videos["parts"] = pd.Series([{"blend": x, "texture": x + e} for x, e in zip(logits, noise, strict=True)])
    viewed = card(outputs={"logit": "l", "blend": "b", "texture": "t"})
    street = {"street": scored(np.zeros(400, int), np.full(400, -20.0), "street")}
    street["street"].videos["parts"] = pd.Series([{"blend": -5.0, "texture": -5.0}] * 400)
    result = calibrate(viewed, {"clean": videos}, street, n_boot=0)
    scope, held_out = result.scope, result.metrics["calibration"]["views"]
    assert sum(held_out[name]["n"] for name in ("wrong_apart", "wrong_elsewhere")) == 400
    assert scope is not None
    assert scope.views_apart is not None
    apart = [scope.apart(parts) for parts in videos.videos.parts]
    assert (np.array(apart) > scope.views_apart).mean() == pytest.approx(0.02, abs=0.02)
    videos.videos["parts"] = pd.Series([{"blend": x, "texture": -x} for x in logits])
    result = calibrate(viewed, {"clean": videos}, street, n_boot=0)
    assert result.scope == Scope(100.0)
    assert "no better than chance" in result.metrics["calibration"]["views"]["none"]


def test_one_view_alone_has_to_be_surer_by_as_much_as_real_faces_ask() -> None:
    """Real photographs that only `blend` finds fake: ignored they raise the threshold of all."""
    y, logits = drawn(2400)
    videos = scored(y, logits)
    videos.videos["parts"] = pd.Series([{"blend": x, "texture": x} for x in logits])
    viewed = card(outputs={"logit": "l", "blend": "b", "texture": "t"})
    odd = np.arange(600) < 30
    street = scored(np.zeros(600, int), np.where(odd, 40.0 + np.arange(600) / 100, -20.0), "street")
    street.videos["parts"] = pd.Series([{"blend": 20.0, "texture": -20.0 if one else 20.0} for one in odd])

    def fitted(views: ViewsRule) -> DetectorCard:
        found = calibrate(viewed, {"clean": videos}, {"street": street}, n_boot=0, rates=(0.01,), views=views)
        assert found.metrics["calibration"]["false_positives"]["street"]["0.01"]["value"] <= 0.01
        return found

    ignored, never, margin = map(fitted, ("ignored", "never", "margin"))
    high, low, same = (found.thresholds[0].logit for found in (ignored, never, margin))
    assert high is not None and low is not None and same is not None  # noqa: PT018
    assert low == pytest.approx(same, abs=0.1)
    assert high > low + 5
    assert ignored.scope == Scope(100.0)
    assert margin.scope is not None and margin.scope.views_margin is not None  # noqa: PT018
    assert same + margin.scope.views_margin == pytest.approx(high, abs=0.1)
    seen = table_of(street, "street").assign(label=1, logit=[90.0] * 600)
    found = [decisions(place(seen, one), one.thresholds[0])["found"]["value"] for one in (ignored, never, margin)]
    assert found == [1.0, 0.95, 1.0]


def test_the_scope_is_that_of_the_most_difficult_source() -> None:
    y, logits = drawn(800)
    large, small = scored(y, logits), scored(y, logits)
    small.videos["height"], small.videos["bits_per_pixel"] = 40.0, np.linspace(0.01, 0.02, 800)
    scope = calibrate(card(), {"clean": large, "half size": small}, {}, n_boot=0, rates=()).scope
    assert scope is not None
    assert scope.face_height == 40
    assert scope.bits_per_pixel == pytest.approx(0.0102, abs=2e-4)


def placed(label: list[int], calibrated: list[float]) -> pd.DataFrame:
    """Videos within the scope, whose views agree."""
    rows = pd.DataFrame({"label": label, "calibrated": calibrated, "reach": calibrated})
    return rows.assign(within=True, apart=False)


@pytest.mark.parametrize(("real_below", "undecided"), [(0.0, 1 / 3), (None, 2 / 3)])
def test_decisions_call_real_only_what_lies_below_the_bound_of_real(real_below: float | None, undecided: float) -> None:
    rows = placed([0, 1, 1], [-1.0, 0.5, 2.0])
    found = decisions(rows, Threshold(0.05, 1.0, 60, "made", real_below))
    assert found["undecided"]["value"] == pytest.approx(undecided)
    assert found["wrong"]["value"] == 0


def test_nothing_is_decided_beyond_the_scope() -> None:
    rows = placed([1] * 4, [9.0] * 4).assign(within=[True, False, False, False])
    found = decisions(rows, Threshold(0.05, 1.0, 60, "made"))
    assert (found["found"]["value"], found["undecided"]["value"]) == (0.25, 0.75)


def test_reals_beyond_the_scope_raise_no_threshold() -> None:
    y, logits = drawn(800)
    reals = np.random.default_rng(4).normal(-20, 3, 400)
    street = scored(np.zeros(400, int), reals, "street")
    low = calibrate(card(), {"clean": scored(y, logits)}, {"street": street}, n_boot=0, rates=(0.05,))
    tiny = reals > np.quantile(reals, 0.98)
    street.videos["height"] = np.where(tiny, 9.0, 100.0)
    street.videos["logit"] = np.where(tiny, 90.0, reals)
    high = calibrate(card(), {"clean": scored(y, logits)}, {"street": street}, n_boot=0, rates=(0.05,))
    assert high.thresholds[0].logit == pytest.approx(low.thresholds[0].logit, abs=0.5)
    assert high.metrics["calibration"]["false_positives"]["street"]["0.05"]["value"] <= 0.05


def test_one_class_is_refused() -> None:
    y, logits = drawn(100)
    with pytest.raises(
        DataError, match=r"first half .* has 0 groups with real videos and 25 with fakes, 25 in all; it needs"
    ):
        calibrate(card(), {"clean": scored(np.ones_like(y), logits)}, {})


def few_reals() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, logits that rank well, and groups: twelve of five fakes each, and two of ten reals each."""
    labels = np.repeat([1, 0], [60, 20])
    logits = np.random.default_rng(0).normal(size=80) + 3 * labels
    return labels, logits, np.array([f"fake {k // 5}" for k in range(60)] + [f"real {k // 10}" for k in range(20)])


@pytest.mark.filterwarnings("error")
def test_a_class_in_two_groups_is_calibrated() -> None:
    _, losses = choose(*few_reals())
    assert max(losses["temperature"], losses["isotonic"]) < losses["none"]


def test_a_class_in_one_group_of_a_half_is_refused() -> None:
    labels, logits, groups = few_reals()
    data = scored(labels, logits)
    data.videos["group"] = groups
    with pytest.raises(DataError, match=r"1 group with real videos and 6 with fakes, 7 in all; it needs 2 of each"):
        calibrate(card(), {"clean": data}, {})


def test_fakes_among_the_real_faces_are_refused() -> None:
    y, logits = drawn(400)
    with pytest.raises(DataError, match="street holds fakes"):
        calibrate(card(), {"clean": scored(y, logits)}, {"street": scored(y, logits)}, n_boot=0)


def test_a_development_set_of_fakes_alone_has_no_false_positives_to_report() -> None:
    y, logits = drawn(400)
    fakes = scored(np.ones(40, int), np.full(40, 5.0), "swaps")
    both = Scored(fakes.items, fakes.faces, pd.concat([scored(y, logits).videos, fakes.videos]), fakes.card)
    found = calibrate(
        card(), {"clean": both}, {"street": scored(np.zeros(400, int), logits[y == 0].repeat(2))}, n_boot=0
    )
    assert list(found.metrics["calibration"]["false_positives"]) == ["street", "made (clean), held out"]
    assert "swaps (clean), held out" not in card_page(found, "0" * 64)


def test_data_of_which_nothing_could_be_scored_are_refused() -> None:
    y, logits = drawn(400)
    nothing = scored(y[:0], logits[:0])
    for development, reals in (({"clean": nothing}, {}), ({"clean": scored(y, logits)}, {"street": nothing})):
        with pytest.raises(DataError, match=r"No video of '(clean|street)' could be scored"):
            calibrate(card(), development, reals, n_boot=0)


def test_the_verb_writes_a_detector_that_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = made.detector(tmp_path, name="tiny.onnx")
    people = tmp_path / "people"
    people.mkdir()
    made.stills(people, people=12).to_csv(tmp_path / "dev.csv", index=False)
    real = tmp_path / "street"
    real.mkdir()
    for number in range(60):
        media.write_picture(real / f"person{number}.png", made.portrait(0, 0.003 * number))
    out = tmp_path / "calibrated.onnx"
    arguments = [str(detector), "--data", str(tmp_path / "dev.csv"), "--reals", str(real), "-o", str(out)]
    result = CliRunner().invoke(app, ["calibrate", *arguments, "--condition", "JPEG 50"])
    assert result.exit_code == 0, result.output
    written = load_detector(out).card
    assert written.aggregation == "confidence"
    assert written.calibration != Calibration()
    assert written.thresholds[0].logit is not None
    assert written.thresholds[0].n_real == 60
    assert written.thresholds[1].logit is None
    assert "no threshold" in " ".join(result.output.split())

    pd.read_csv(tmp_path / "dev.csv", nrows=18).to_csv(tmp_path / "few.csv", index=False)  # of three people
    few = ["calibrate", str(detector), "--data", str(tmp_path / "few.csv"), "-o", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "score", lambda *_: pytest.fail("it looks at them before it counts them"))
        result = CliRunner().invoke(app, few)
    assert "half of the development data has" in " ".join(result.stderr.split())

    (tmp_path / "sets.toml").write_text(
        "[[set]]\nname = 'dev'\ndata = ['dev.csv']\n[[set]]\nname = 'street'\ndata = ['street']\nlabel = 'REAL'\n"
    )
    listed = [str(detector), "--sets", str(tmp_path / "sets.toml"), "-o", str(tmp_path / "again.onnx")]
    listed += ["--condition", "JPEG 50"]
    assert CliRunner().invoke(app, ["calibrate", *listed]).exit_code == 0
    assert load_detector(tmp_path / "again.onnx").card.thresholds[0].logit == written.thresholds[0].logit
    write_manifest(manifest_of(read(tmp_path / "dev.csv").items), tmp_path / "dev.parquet")
    result = CliRunner().invoke(app, ["calibrate", *arguments, "--reals", str(tmp_path / "dev.parquet")])
    assert result.exit_code == 2
    assert "says itself what is fake" in " ".join(result.stderr.split())
    assert CliRunner().invoke(app, ["calibrate", *listed, "--aggregation", "quality"]).exit_code == 0
    assert load_detector(tmp_path / "again.onnx").card.aggregation == "quality"
    assert CliRunner().invoke(app, ["calibrate", *listed, "--aggregation", "median"]).exit_code == 2
    asked = [*listed, "--flicker", "3,-0.1", "--magnify", "1.5", "--instability", "2,0.5", "--version", "2"]
    assert CliRunner().invoke(app, ["calibrate", *asked]).exit_code == 0
    changed = load_detector(tmp_path / "again.onnx").card
    assert (changed.flicker, changed.magnification, changed.version) == (Term(3.0, -0.1), 1.5, "2")
    assert changed.instability == Term(2.0, 0.5)
    capped = _with_term(replace(changed, flicker=Term(3.0, -0.1, most=5.0)), "flicker", "4,0")
    assert capped.flicker == Term(4.0, 0.0, most=5.0), "the cap stays that of the file"
    for option, wrong, complaint in (
        ("--flicker", "3", "is not a weight"),
        ("--flicker", "much,0", "is not a weight"),
        ("--flicker", "nan,0", "must be above 0"),
        ("--flicker", "1,inf", "at most 1e+09"),
        ("--flicker", "1e10,0", "at most 1e+09"),
        ("--magnify", "0", "must lie above 0"),
        ("--magnify", "nan", "must lie above 0"),
        ("--instability", "2", "is not a weight"),
        ("--instability", "2,0", "instability needs magnification"),
    ):
        result = CliRunner().invoke(app, ["calibrate", *listed, option, wrong])
        assert result.exit_code == 2
        assert complaint in " ".join(result.stderr.split())


def test_sets_that_the_detector_was_trained_on_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def fit(card: DetectorCard, scored: dict[str, Scored], *_: object, **__: object) -> DetectorCard:
        given.extend(scored["clean"].items.dataset)
        return card

    monkeypatch.setattr("facetell.evaluation.calibration.halved", lambda *_: None)  # so few are enough here
    monkeypatch.setattr("facetell.evaluation.calibration.calibrate", fit)
    detector = made.detector(tmp_path, training_data="alpha and beta, the train split")
    sets = []
    for name, more in (("alpha", ""), ("beta", "unseen = true"), ("gamma", "")):
        media.write_picture(tmp_path / f"{name}.png", np.full((64, 64, 3), 90, np.uint8))
        table = pd.DataFrame({"path": [f"{name}.png"], "label": 1, "dataset": name})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        sets.append(f"[[set]]\nname = 'set {name}'\ndata = ['{name}.csv']\nsource = '{name}'\n{more}\n")
    (tmp_path / "sets.toml").write_text("".join(sets))
    asked = ["calibrate", str(detector), "--sets", str(tmp_path / "sets.toml"), "-o", str(tmp_path / "x.onnx"), "-q"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert given == ["beta", "gamma"]
    assert "Left out, as the detector was trained on them: set alpha." in result.stderr
    (tmp_path / "sets.toml").write_text(sets[0])
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "was trained on every set of" in result.stderr


@pytest.mark.parametrize(
    ("out", "complaint"), [("-", "A detector cannot be written to '-'"), ("x.onnx", "x.md is a folder")]
)
def test_where_a_detector_or_its_page_cannot_be_written_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.md").mkdir()
    result = CliRunner().invoke(app, ["calibrate", "none.onnx", "--data", "none", "-o", out])
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_what_is_written_beside_a_detector_does_not_take_the_place_of_the_given_one(tmp_path: Path) -> None:
    given = made.detector(tmp_path)
    before = given.read_bytes()
    asked = ["calibrate", str(given), "--data", str(tmp_path), "-o", str(tmp_path / "x.onnx"), "--json", str(given)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "is itself to be read" in result.stderr
    assert given.read_bytes() == before


class Fit:
    """Stands in for the fit, and keeps what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[tuple[DetectorCard, dict[str, Scored], dict[str, Scored]]] = []
        monkeypatch.setattr("facetell.evaluation.calibration.halved", lambda *_: None)  # as few as are given
        monkeypatch.setattr("facetell.evaluation.calibration.calibrate", self)

    def __call__(self, card: DetectorCard, scored: dict, reals: dict, **_: object) -> DetectorCard:
        self.given.append((card, scored, reals))
        return card


def test_calibrating_anew_is_calibrating_as_if_for_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people of whom the old calibration, flat where they lie, would let the first decide, not the brighter one."""
    picture = media.side_by_side([0, 1])
    picture[:, : picture.shape[1] // 2] //= 2
    picture = media.write_picture(tmp_path / "two.png", picture)
    pd.DataFrame({"path": [str(picture)], "label": 0}).to_csv(tmp_path / "dev.csv", index=False)
    old = {
        "calibration": Calibration("isotonic", x=(-9.0, -8.5), y=(-1.0, 2.0)),
        "thresholds": (Threshold(0.05, 1.0, 60, "made up"),),
        "scope": Scope(face_height=1.0),
    }
    fit = Fit(monkeypatch)
    for detector in (made.detector(tmp_path), made.detector(tmp_path, name="old.onnx", **old)):
        asked = ["calibrate", detector, "--data", tmp_path / "dev.csv", "--condition", "JPEG 50"]
        asked += ["--scores", tmp_path / "scores", "-o", tmp_path / "x.onnx", "-q"]
        result = CliRunner().invoke(app, [str(word) for word in asked])
        assert result.exit_code == 0, result.output
    (card, first, _), (again, second, _) = fit.given
    assert card == again
    for condition in ("clean", "JPEG 50"):
        assert first[condition].videos.logit.tolist() == second[condition].videos.logit.tolist()


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A folder with a detector, `dev.csv` of the data set "made", and `sets.toml` with the real faces "mine/faces"."""
    made.detector(tmp_path)
    picture = str(media.write_picture(tmp_path / "real.png", made.portrait(0)))
    pd.DataFrame({"path": [picture], "label": 0, "dataset": "made"}).to_csv(tmp_path / "dev.csv", index=False)
    for name in ("street.v1", "street.v2", "a/x/faces", "b/x/faces", "mine/faces"):
        (tmp_path / name).mkdir(parents=True)
        media.write_picture(tmp_path / name / "real.png", made.portrait(0))
    for name, table in (("sets", "mine/faces"), ("same", "made")):
        text = f"[[set]]\nname = '{table}'\ndata = ['mine/faces']\nlabel = 'REAL'\n"
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def asked(folder: Path, words: str):
    """`facetell calibrate` with these words, FOLDER/ before each that is a path there."""
    given = [str(folder / word) if (folder / word).exists() else word for word in words.split()]
    more = ["-o", str(folder / "out.onnx"), "-q", "--condition", "JPEG 50"]
    return CliRunner().invoke(app, ["calibrate", str(folder / "tiny.onnx"), *given, *more])


def test_sources_of_real_faces_are_known_by_their_whole_names(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Fit(monkeypatch)
    result = asked(listed, "--data dev.csv --reals street.v1 --reals street.v2")
    assert result.exit_code == 0, result.output
    names = [f"{listed.name}/street.v{number} ({kind})" for number in (1, 2) for kind in ("clean", "JPEG 50")]
    assert list(fit.given[0][2]) == names


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("--data dev.csv --reals a/x/faces --reals b/x/faces", "x/faces"),
        ("--data dev.csv --reals a/x/faces --reals nowhere/x/faces.tar", "x/faces"),
        ("--data dev.csv --reals mine/faces --sets sets.toml", "mine/faces"),
        ("--data dev.csv --sets same.toml", "made"),
    ],
)
def test_two_sources_of_real_faces_of_one_name_are_refused(listed: Path, words: str, name: str) -> None:
    result = asked(listed, words)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert f"Two sources of real faces are called {name}." in said
    assert "Rename one" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--sets sets.toml --split dev", "no --data for --split"),
        ("--data dev.csv --root a", "there is no --sets"),
        ("--data dev.csv --sets sets.toml --json sets.toml", "is itself to be read"),
    ],
)
def test_options_that_would_do_nothing_or_harm_are_refused(listed: Path, words: str, complaint: str) -> None:
    before = (listed / "sets.toml").read_text()
    result = asked(listed, words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert (listed / "sets.toml").read_text() == before


def test_a_version_has_to_be_said(tmp_path: Path) -> None:
    asked = [str(made.detector(tmp_path)), "--version", "", "--data", str(tmp_path), "-o", str(tmp_path / "x.onnx")]
    result = CliRunner().invoke(app, ["calibrate", *asked])
    assert result.exit_code == 2
    assert "--version is empty" in result.stderr


def test_nothing_to_calibrate_on_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["calibrate", str(made.detector(tmp_path)), "-o", str(tmp_path / "x.onnx")])
    assert result.exit_code == 2
    assert "nothing to calibrate on" in result.stderr
