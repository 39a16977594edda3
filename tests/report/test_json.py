from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest

from facetell.report import csv
from facetell.report.json import dump, verdict_from_dict
from facetell.types import Verdict
from tests.report import made

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "facetell-1.schema.json").read_text())
ISSUE_KEYS = {
    "path",
    "sha256",
    "label",
    "p_fake",
    "threshold",
    "false_positive_rate",
    "reasons",
    "coverage",
    "tracks",
} | {
    "video",
    "provenance",
    "detector",
    "seconds",
    "error",
}


def strict(text: str) -> dict:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def closed(schema: dict) -> dict:
    """The schema with every described object closed to further keys."""
    described = {name: closed(part) if isinstance(part, dict) else part for name, part in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        described["additionalProperties"] = False
    for name in ("anyOf", "allOf"):
        if name in schema:
            described[name] = [closed(part) for part in schema[name]]
    return described


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("verdict", [*made.everything(), made.beyond()], ids=lambda verdict: str(verdict.label))
def test_every_verdict_fits_the_schema_and_every_key_is_described(verdict: Verdict) -> None:
    document = strict(dump([verdict]))
    jsonschema.Draft202012Validator(closed(SCHEMA)).validate(document)
    assert document["verdicts"][0] == verdict.to_dict()
    assert document["verdicts"][0].keys() >= ISSUE_KEYS


@pytest.mark.parametrize(
    ("key", "value"),
    [("p_fake", None), ("p_fake", 1.5), ("label", "fake"), ("sha256", "xyz"), ("error", {"type": "E"})],
)
def test_schema_refuses_what_breaks_it(key: str, value: object) -> None:
    document = strict(dump([made.fake()]))
    document["verdicts"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_paths_survive_exactly_and_in_order() -> None:
    paths = [made.HOSTILE, "Grüße/写真 😀.mp4", "not\udce9utf8.mp4", ""]
    text = dump([made.error(path) for path in paths])
    assert [verdict["path"] for verdict in strict(text)["verdicts"]] == paths
    assert text.isascii()
    assert not any(ord(sign) < 32 for sign in text.replace("\n", ""))


def test_why_a_score_means_nothing_known_is_told_and_read_back() -> None:
    document = strict(dump([made.beyond(), made.fake()]))
    beyond, fake = document["verdicts"]
    assert beyond["doubt"] == beyond["tracks"][0]["doubt"] == made.beyond().doubt
    assert fake["doubt"] is fake["tracks"][0]["doubt"] is None
    assert [verdict_from_dict(one).doubt for one in (beyond, fake)] == [made.beyond().doubt, None]
    del fake["doubt"], fake["tracks"][0]["doubt"]  # as in documents from before
    assert verdict_from_dict(fake).tracks[0].doubt is None


def test_numbers_that_json_lacks_are_null() -> None:
    verdict = made.fake()
    verdict.tracks[0].logit = float("inf")
    verdict.tracks[0].scores[0].logit = float("nan")
    track = strict(dump([verdict]))["verdicts"][0]["tracks"][0]
    assert track["logit"] is None
    assert track["scores"][0]["logit"] is None


def test_numbers_keep_their_value() -> None:
    verdict = made.fake()
    written = strict(dump([verdict]))["verdicts"][0]
    assert written["p_fake"] == verdict.p_fake
    assert written["tracks"][0]["scores"][3]["p_fake"] == verdict.tracks[0].scores[3].p_fake
    assert written["tracks"][0]["scores"][3]["box"] == [66, 40, 90, 110]
    assert written["video"]["frame_rate"] == pytest.approx(29.97, abs=0.001)


def test_what_flicker_added_to_a_logit_can_be_taken_off_again() -> None:
    verdict = made.fake()
    verdict.tracks[0].scores[0].parts = {"blend": 2.5, "flicker": -0.75, "odd": float("inf")}
    document = strict(dump([verdict]))
    jsonschema.validate(document, SCHEMA)
    score = document["verdicts"][0]["tracks"][0]["scores"][0]
    assert score["parts"] == {"blend": 2.5, "flicker": -0.75, "odd": None}


def test_a_verdict_that_was_read_back_is_written_as_before() -> None:
    """As where a batch goes on: to the last digit of every document."""
    verdict = made.fake(pictures=False)
    assert verdict.video is not None
    verdict.video = replace(verdict.video, frame_rate=Fraction(2249000, 75059), pixel_aspect=Fraction(4000, 3999))
    for number, score in enumerate(verdict.tracks[0].scores):
        score.box = (659.2451 + 0.0001 * number, 40.6499, 90.0499, 110.95)
        score.time_s = number / 3 + 0.0004999
    again = verdict_from_dict(json.loads(dump([verdict]))["verdicts"][0])
    assert dump([again]) == dump([verdict])
    assert csv.dump([again]) == csv.dump([verdict])
