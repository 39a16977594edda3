"""Make the README's pictures: docs/img/terminal.svg and docs/img/page.png, from a scan of the clips in examples/.

    python docs/make_pictures.py

Needs Chromium for the picture of the page. The clips are our own, so the pictures may be shown anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

from facetell.cli.scan import THUMBNAILS
from facetell.detectors import DetectorCard
from facetell.report import terminal
from facetell.report.html import page
from facetell.scanning import Scanner
from facetell.types import Label, Verdict

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "img"
WIDTH, HEIGHT = 1100, 1560  # pixels of the page's picture
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def main() -> None:
    os.chdir(ROOT)  # the pictures show the paths as a reader would type them
    clips = [str(path) for path in sorted(Path("examples").glob("*.mp4"), key=lambda path: path.stem)]
    if not clips:
        sys.exit("examples/ holds no .mp4")
    scanner = Scanner(thumbnails=THUMBNAILS)
    verdicts = [scanner.scan(clip) for clip in clips]
    PICTURES.mkdir(exist_ok=True)
    draw_terminal(verdicts, PICTURES / "terminal.svg")
    verdict = next((verdict for verdict in verdicts if verdict.label is Label.FAKE), verdicts[0])
    draw_page(verdict, scanner.detector.card, PICTURES / "page.png")


def draw_terminal(verdicts: list[Verdict], target: Path) -> None:
    """What `facetell scan` prints on these files, as an SVG that loads no font from elsewhere."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=100, file=nowhere, force_terminal=True, highlight=False)
        console.print(Text(f"$ facetell scan {' '.join(verdict.path for verdict in verdicts)}", style="dim"))
        for verdict in verdicts:
            console.print(terminal.block(verdict))
            console.print()
        console.print(terminal.summary(verdicts))
        console.print()
    drawing = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="facetell"), flags=re.DOTALL)
    target.write_text(drawing, encoding="utf-8")


def draw_page(verdict: Verdict, card: DetectorCard, target: Path) -> None:
    """The top of the HTML report on one file, as a browser shows it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"The page's picture needs one of {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as folder:
        source, shot = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page([verdict], card), encoding="utf-8")
        size = (f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars", f"--user-data-dir={folder}/profile")
        subprocess.run(
            [browser, *FLAGS, *size, f"--screenshot={shot}", source.as_uri()], check=True, capture_output=True
        )
        with Image.open(shot) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(target, optimize=True)


if __name__ == "__main__":
    main()
