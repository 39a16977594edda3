from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from facetell.report.json import dump
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


@pytest.mark.parametrize("verdict", made.everything(), ids=lambda verdict: str(verdict.label))
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
