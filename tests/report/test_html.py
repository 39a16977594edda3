from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from facetell.detectors.card import DetectorCard, Threshold
from facetell.faces.align import Geometry
from facetell.report.heat import worth
from facetell.report.html import Page, page
from facetell.report.text import percent
from facetell.types import Label, Verdict
from tests.report import made

VOID = {"meta", "img", "input", "br", "link"}


class Document(HTMLParser):
    """Elements, visible text, and whether every element that opens is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inline: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.inline[self.open[-1]] = self.inline.get(self.open[-1], "") + data
        else:
            self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def flat(text: str) -> str:
    return " ".join(text.split())


def card(text: str = "meso") -> DetectorCard:
    return DetectorCard(
        name="meso",
        version="1.0",
        kind="frame",
        input_size=150,
        geometry=Geometry("landmarks", 1.0, 0.0),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        outputs={"logit": "logit"},
        training_data=text,
        licence=text,
        description=text,
        limits=(text, "Blind to voices."),
        metrics={text: {"auc": 0.83125, "interval": [0.8, 0.86]}},
        thresholds=(Threshold(0.01, 1.45, 400, text), Threshold(0.001, None, 400, text)),
    )


@pytest.fixture(scope="module", params=["one", "many", "hostile"])
def document(request: pytest.FixtureRequest) -> Document:
    verdicts = {"one": [made.fake()], "many": made.everything(), "hostile": [made.hostile()]}[request.param]
    return Document(page(verdicts, card(made.HOSTILE)))


def test_nothing_is_loaded_from_anywhere(document: Document) -> None:
    for tag, attributes in document.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "audio", "video"}
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name)
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    for text in document.inline.values():
        assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest|innerHTML|eval", text)


def test_policy_allows_exactly_what_is_there(document: Document) -> None:
    (policy,) = [
        meta["content"] for meta in document.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(document.all("script")) == len(document.all("style")) == 1
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(document.inline[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_ids_are_unique_and_references_meet(document: Document) -> None:
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {link["href"] for link in document.all("a")} | {
        f"#{dot['data-face']}" for dot in document.all("circle") if "data-face" in dot
    }
    assert wanted <= {f"#{name}" for name in ids}


def test_pictures_have_words_and_controls_have_names(document: Document) -> None:
    assert all("alt" in image for image in document.all("img"))
    assert all(control.get("aria-label") for control in document.all("input"))
    assert all(chart.get("aria-label") for chart in document.all("div") if "data-chart" in chart)
    assert len(document.all("h1")) == 1


def test_hostile_text_stays_text() -> None:
    text = page([made.hostile()], card(made.HOSTILE))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
    assert "alert(1)</script>" not in text
    assert "[red]" in text
    assert "{{7*7}}" in text
    text.encode("utf-8")


@pytest.mark.parametrize(("metrics", "words"), [({}, "has not been measured"), ({"heatmap": {}}, "has been measured")])
def test_page_says_whether_the_heat_map_was_measured(metrics: dict, words: str) -> None:
    hot = replace(card(), outputs={"logit": "logit", "heatmap": "heatmap"}, metrics=metrics)
    assert words in flat(Document(page([made.fake()], hot)).text)
    assert "heat map is right" not in flat(Document(page([made.fake()], card())).text)


def test_page_says_how_often_the_heat_map_is_right() -> None:
    shares = {"region_named": 0.106, "region_right": 0.965, "auc": 0.882, "fixed_map": 0.869}
    figures = {"pairs": {"n": 9, **{name: {"value": value, "ci95": None} for name, value in shares.items()}}}
    hot = replace(card(), outputs={"logit": "logit", "heatmap": "heatmap"}, metrics={"heatmap": figures})
    said = flat(Document(page([made.fake()], hot)).text)
    assert "named a part of the face in 10.6% of cases; 96.5% of those parts were altered." in said
    assert "same face in 88.2% of cases; with one fixed map for every face, in 86.9%." in said


@pytest.mark.parametrize("figures", [{}, 3, [], {"pairs": None}, {"pairs": {"auc": 0.9, "fixed_map": {"value": "x"}}}])
def test_figures_of_a_heat_map_may_be_anything(figures: object) -> None:
    hot = replace(card(), outputs={"logit": "logit", "heatmap": "heatmap"}, metrics={"heatmap": figures})
    assert worth(hot) == 'How often its heat map is right has been measured: see "heatmap" among its figures.'


def test_what_is_folded_away_is_printed() -> None:
    document = Document(page([made.fake()], card()))
    assert document.all("details")
    assert not re.search(r"details\s*\{[^}]*display: none", document.inline["style"])
    assert "beforeprint" in document.inline["script"]


def test_page_says_what_matters() -> None:
    said = flat(Document(page([made.fake()], card())).text)
    for part in (
        "clip.mp4",
        "The verdict rests on person 1, seen from 0:00.0 to 0:01.9.",
        "Of all videos with this score, about 94% would be fake, if 50% of all videos were.",
        "Were only 1% of them fake, it would be about 14%.",
        "1% of real videos are called FAKE by mistake",
        "It is provisional",
        "It is no proof.",
        "strongest at the mouth",
        "too few usable faces to count",
        "Most suspicious",
        "Least suspicious",
        "Looked at only 0–2.5 s, every:3 Frames sampled 20",
        "– blurred 1",
        "Missing or not decodable 3 more frames",
        "29.97 per second",
        "Forged by facetell.",
        "All tags in the file (1) title A day",
        "ab" * 32,
        "cd" * 32,
        "Blind to voices.",
        "0.8313",
    ):
        assert part in said, part


def test_a_still_has_no_times() -> None:
    still = made.beyond()
    still.label = still.tracks[0].label = Label.FAKE
    still.doubt = still.tracks[0].doubt = None
    still.tracks[0].scores = [made.face(0.0, 0.951, pictures=True)]
    text = page([still])
    said = flat(Document(text).text)
    assert "The verdict rests on person 1." in said
    assert "P(fake) Quality Quality gates 0.95 0.90 passed" in said
    assert "0:00" not in said
    assert 'alt="Face of person 1"' in text


def test_a_person_seen_for_less_than_a_tenth_of_a_second_was_seen_at_a_moment() -> None:
    verdict = made.fake()
    verdict.tracks[0].end_s = 0.04
    assert "The verdict rests on person 1, seen at 0:00.0." in flat(Document(page([verdict])).text)


def test_a_faces_quality_is_not_said_to_be_its_weight() -> None:
    said = flat(Document(page([made.fake()])).text)
    assert "Time P(fake) Quality Quality gates 0:00.0 0.90 0.90 passed" in said
    assert "Weight" not in said
    assert "All 20 scores of person 1" in said
    assert "The score of person 1" in flat(Document(page([made.beyond()])).text)


def test_the_verdict_rests_on_a_person_who_is_called_fake() -> None:
    verdict = made.fake()
    unsure = replace(verdict.tracks[0], id=3, label=Label.INCONCLUSIVE, p_fake=0.99)  # such as one beyond the scope
    said = flat(Document(page([replace(verdict, tracks=[unsure, *verdict.tracks])], card())).text)
    assert "The verdict rests on person 1," in said


def test_of_faces_that_do_not_count_no_share_is_claimed() -> None:
    verdict = made.fake()
    unseen = [replace(track, counts=False, label=Label.INCONCLUSIVE) for track in verdict.tracks]
    said = flat(Document(page([replace(verdict, label=Label.INCONCLUSIVE, tracks=unseen)], card())).text)
    assert "Nobody in this file was seen well enough to say anything." in said
    assert "Of all videos with this score" not in said
    assert "is called FAKE" not in said
    assert "threshold 0.81" not in said


def test_a_score_beyond_the_scope_is_held_against_no_threshold() -> None:
    text = page([made.beyond()])
    said = flat(Document(text).text)
    assert "Inconclusive The score lies beyond what the detector was calibrated on and means nothing known." in said
    assert "The face is 58 pixels high; the detector was calibrated on faces from 66 up." in said
    for claim in ("0.94", "Threshold", "is called FAKE", "would be fake", "Of all videos"):
        assert claim not in said, claim
    assert "the threshold is" not in text


@pytest.mark.parametrize(
    ("p_fake", "share", "if_rare"), [(0.9997, "over 99%", "about 97%"), (0.0004, "under 1%", "under 1%")]
)
def test_no_share_is_certain(p_fake: float, share: str, if_rare: str) -> None:
    said = flat(Document(page([replace(made.fake(), p_fake=p_fake)])).text)
    assert f"Of all videos with this score, {share} would be fake" in said
    assert f"Were only 1% of them fake, it would be {if_rare}." in said


@pytest.mark.parametrize(
    ("prior", "said"), [(0.99999, "99.999%"), (1e-7, "0.00001%"), (1e-12, "<0.000001%"), (1 - 1e-12, ">99.999999%")]
)
def test_a_prior_is_never_said_as_none_or_all(prior: float, said: str) -> None:
    verdict = replace(made.fake(), prior=prior)
    assert f"if {said} of all videos were" in flat(Document(page([verdict])).text)
    assert percent(0.0) == "0%"
    assert percent(1.0) == "100%"


def test_a_page_that_grows_is_the_same_and_needs_no_pictures_later() -> None:
    growing = Page(card())
    for verdict in made.everything():
        growing.add(verdict)
        for track in verdict.tracks:
            for score in track.scores:
                score.crop = score.heatmap = None
    assert growing.text() == page(made.everything(), card())


def test_index_has_every_file() -> None:
    document = Document(page(made.everything()))
    assert [link["href"] for link in document.all("a")] == [f"#file-{number}" for number in range(1, 6)]
    assert "5 files" in document.text


def test_a_strangers_detector_and_an_error_are_named() -> None:
    said = flat(Document(page([made.inconclusive(), made.error()])).text)
    assert "not shipped with facetell" in said
    assert "notes.mp4 holds neither a video nor a picture. (NotVideoError)" in said
    assert "Every face failed a quality gate: 3 too dark." in said


def test_chart_shows_every_face_and_breaks_at_gaps() -> None:
    verdict = made.fake()
    del verdict.tracks[0].scores[8:12]
    document = Document(page([verdict]))
    dots = [dot for dot in document.all("circle") if "data-time" in dot]
    assert len(dots) == 16 + 4
    assert len([dot for dot in dots if "unusable" in (dot["class"] or "")]) == 1
    assert len([path for path in document.all("path") if path["class"] == "curve"]) == 2 + 1
    assert dots[0]["cx"] == "0.0%"
    assert float(dots[-5]["cx"].rstrip("%")) == pytest.approx(95)  # type: ignore[union-attr]


def picture(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_faces_carry_their_heat_map() -> None:
    document = Document(page([made.fake()]))
    faces = [image for image in document.all("img") if (image.get("alt") or "").startswith("Face")]
    overlays = [image for image in document.all("img") if image.get("class") == "overlay"]
    assert len(faces) == 3 + 3 + 3
    assert len(overlays) == len(faces)
    assert picture(faces[0]["src"]).format == "JPEG"
    heat = np.asarray(picture(overlays[0]["src"]))
    assert heat.shape == (112, 112, 4)
    assert heat[80, 56, 3] > 200
    assert heat[20, 56, 3] == 0


def test_a_still_and_a_video_of_unknown_length_need_no_axis() -> None:
    verdict = Verdict("a.jpg", Label.REAL, p_fake=0.1, tracks=[made.track(1, Label.REAL, [made.face(0.0, 0.1)])])
    document = Document(page([verdict]))
    assert not document.all("path")
    assert "No threshold" in document.text
