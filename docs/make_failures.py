"""Where a detector fails, on media of our own: `python docs/make_failures.py [--detector NAME|FILE]`.

Scans forgeries of scikit-image's astronaut (public domain) and harmless damage to the same photograph, draws the missed
forgeries and the doubted reals with their P(fake) as docs/img/NAME-failures.jpg, and writes the section on them of
docs/cards/NAME.md, in place of an older one. One face is an illustration, not a measurement.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from make_forge_sheets import save
from skimage import data

from facetell.errors import ForgeError
from facetell.faces.align import Geometry, crop_face
from facetell.faces.detect import FaceDetector
from facetell.files import replacing
from facetell.forge import blend, degrade, masks, pixels, swap
from facetell.forge.presets import PRESETS
from facetell.report.text import probability
from facetell.scanning import Scanner
from facetell.types import Verdict

CARDS = Path(__file__).parent / "cards"
TITLE = "## Known failures, on one face"
SIDE, COLUMNS = 176, 5
SEEDS = 12  # forgeries of each family
SHOWN = 10
TURNS = (0.75, 0.55)  # width that is left of the far side of a face that turns away


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", help="by default the shipped one")
    scanner = Scanner(parser.parse_args().detector)
    name = scanner.detector.card.name
    photo = np.ascontiguousarray(data.astronaut()[..., :3])
    with tempfile.TemporaryDirectory() as folder:
        forged = [(family, image, scan(scanner, image, folder)) for family, image in forgeries(photo)]
        real = [(kind, image, scan(scanner, image, folder)) for kind, image in harmless(photo)]
    missed = sorted((one for one in forged if one[2].p_fake is not None), key=lambda one: one[2].p_fake)[:SHOWN]
    doubted = sorted((one for one in real if one[2].p_fake is not None), key=lambda one: -one[2].p_fake)[:SHOWN]
    tiles = {
        f"forged: {family}, {probability(v.p_fake)} ({k})": tile(image)
        for k, (family, image, v) in enumerate(missed, 1)
    }
    tiles |= {f"real: {kind}, {probability(v.p_fake)}": tile(image) for kind, image, v in doubted}
    save(f"{name}-failures", tiles, COLUMNS)
    write_section(CARDS / f"{name}.md", section(name, scanner, forged, real))


def forgeries(photo: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Self-blends of every family, and swaps with the astronaut's own mirror image in other colours."""
    points = FaceDetector().detect(photo)[0].points
    for index, family in enumerate(masks.FAMILIES):
        for seed in range(SEEDS):
            try:
                yield family, blend.self_blend(photo, points, np.random.default_rng([seed, index]), family=family).fake
            except ForgeError:
                continue  # this draw does not show; the table counts those that do
    donor = np.ascontiguousarray(photo[:, ::-1, [0, 2, 1]])
    donor_points = FaceDetector().detect(donor)[0].points
    for blending in ("soft", "seamless"):
        yield "swap", swap.swap(photo, points, donor, donor_points, blending).fake


def harmless(photo: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The photograph as it is, and after what happens to real pictures."""
    rng = np.random.default_rng(0)
    yield "as it is", photo
    yield "mirrored", np.ascontiguousarray(photo[:, ::-1])
    for sigma, tolerance in ((3, 22), (5, 40)):
        yield f"beauty filter {sigma}", degrade.beauty(photo, sigma, tolerance)
    for gamma in (1.8, 3.0):
        yield f"dark, gamma {gamma:g}", (255 * (photo / 255) ** gamma).round().astype(np.uint8)
    for share in (3, 5):
        yield f"tiny, 1/{share}", cv2.resize(photo, None, fx=1 / share, fy=1 / share, interpolation=cv2.INTER_AREA)
    yield "tiny, enlarged", pixels.lose_detail(photo, 1 / 4, cv2.INTER_AREA, cv2.INTER_CUBIC)
    for left in TURNS:
        yield f"half turned, {left:g}", turned(photo, left)
    for quality in (30, 10):
        yield f"JPEG {quality}", pixels.jpeg(photo, quality)
    for name in ("blur", "noise", "sharp", "messaging"):
        yield name, PRESETS[name].apply(photo, rng)
    for crf in (32, 40):
        yield f"H.264, CRF {crf}", degrade.h264([photo], rng, (crf, crf))[0]


def turned(photo: np.ndarray, left: float) -> np.ndarray:
    """The picture seen from the side: one side of it as high as before, the other shorter."""
    height, width = photo.shape[:2]
    cut = (1 - left) / 2
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    seen = corners * (left, 1) + np.array([(0, 0), (0, cut * height), (0, -cut * height), (0, 0)])
    matrix = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    return cv2.warpPerspective(photo, matrix, (round(left * width), height), borderMode=cv2.BORDER_REFLECT_101)


def scan(scanner: Scanner, image: np.ndarray, folder: str) -> Verdict:
    path = Path(folder) / "face.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return scanner.scan(path)


def tile(image: np.ndarray) -> np.ndarray:
    face = FaceDetector().detect(image)[0]
    return crop_face(image, face.points, face.box, Geometry("box", margin=0.25), SIDE)


def section(name: str, scanner: Scanner, forged: list, real: list) -> str:
    """The tables and the picture as Markdown."""
    lines = [
        TITLE,
        "",
        f"`python docs/make_failures.py`, {name} {scanner.detector.card.version}: the astronaut of scikit-image,",
        "forged and damaged by facetell. One face illustrates; it measures nothing.",
        "",
        f"![Forgeries with the lowest P(fake), then real pictures with the highest](../img/{name}-failures.jpg)",
        "",
        "| forged by | n | P(fake), lowest … mean … highest | FAKE | INCONCLUSIVE | REAL |",
        "|---|---|---|---|---|---|",
    ]
    for family in dict.fromkeys(family for family, _, _ in forged):
        found = [verdict for one, _, verdict in forged if one == family and verdict.p_fake is not None]
        p = [verdict.p_fake for verdict in found if verdict.p_fake is not None]
        labels = [str(verdict.label) for verdict in found]
        tally = " | ".join(str(labels.count(label)) for label in ("FAKE", "INCONCLUSIVE", "REAL"))
        spread = " … ".join(probability(value) for value in (min(p), float(np.mean(p)), max(p)))
        lines.append(f"| {family} | {len(found)} | {spread} | {tally} |")
    lines += ["", "| real, but | P(fake) | verdict | the gates say |", "|---|---|---|---|"]
    for kind, _, verdict in real:
        gates = ", ".join(verdict.coverage.problems) or "–"
        lines.append(f"| {kind} | {probability(verdict.p_fake)} | {verdict.label} | {gates} |")
    return "\n".join(lines) + "\n"


def write_section(card: Path, text: str) -> None:
    """Put the section at the end of a card, instead of an older one."""
    whole = card.read_text(encoding="utf-8")
    whole = re.sub(re.escape(TITLE) + r".*?(?=\n## |\Z)", "", whole, flags=re.DOTALL).rstrip()
    with replacing(card) as part:
        part.write_text(f"{whole}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
