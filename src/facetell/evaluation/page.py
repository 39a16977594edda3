"""The page of an evaluation: numbers, curves and the worst mistakes in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import pandas as pd

from facetell.evaluation import plots, terminal
from facetell.evaluation.protocol import undecided_against_wrong, verdicts
from facetell.evaluation.scoring import Scored, is_picture, largest_face, picture
from facetell.faces.align import Geometry, crop_face
from facetell.faces.detect import FaceDetector
from facetell.report.inline import data_uri, page_style
from facetell.report.text import percent, plain, probability
from facetell.scanning import Scanner
from facetell.types import Verdict

THUMBNAIL = 112  # pixels
MISTAKES = 8  # of either kind


def page(result: Mapping[str, Any], scored: Scored, scanner: Scanner, other: Scored | None = None) -> str:
    """The HTML page of a result.

    Args:
        result: of `summary`, with `against`, `robustness`, `aggregation` and `heatmap` where they were measured.
        scored: what the result was computed from.
        scanner: looks once more at the worst mistakes, for their thumbnails.
        other: the detector compared with, for the curves.
    """
    aggregation, heatmap = result.get("aggregation", {}), result.get("heatmap", {})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facetell.evaluation"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": plain, "percent": percent, "probability": probability}
    return environment.get_template("page.html").render(
        result=result,
        style=page_style(),
        card=scored.card,
        headline=terminal.headline(result),
        notes=terminal.notes(result),
        names=terminal.NAMES,
        columns=terminal.COLUMNS,
        written=terminal.written,
        against=terminal.against,
        verdicts=terminal.VERDICTS,
        robustness=terminal.robustness_rows(result.get("robustness", {})),
        robustness_columns=terminal.ROBUSTNESS,
        robustness_figure=robustness_figure(result.get("robustness", {})),
        aggregation=terminal.aggregation_rows(aggregation) if "rules" in aggregation else [],
        frames_figure=frames_figure(aggregation) if "rules" in aggregation else None,
        heatmap=terminal.heatmap_rows(heatmap) if "pairs" in heatmap else [],
        heatmap_columns=terminal.HEATMAP,
        heatmap_notes=terminal.heatmap_notes(heatmap) if "pairs" in heatmap else "",
        figures=figures(scored, other),
        mistakes=worst_mistakes(scored, scanner),
    )


def figures(scored: Scored, other: Scored | None = None) -> dict[str, str]:
    """Caption -> SVG. Curves that need both classes are left out where there is one."""
    videos, name = scored.videos, scored.card.name
    if videos.empty:
        return {}
    labels, scores = videos.label.to_numpy(), videos.p_fake.to_numpy()
    drawn = {
        "P(fake) of real and fake videos": plots.histogram(labels, scores),
        "Reliability: P(fake) against the share that was fake": plots.reliability(labels, scores),
    }
    undecided, wrong = undecided_against_wrong(videos)
    said = verdicts(videos)
    default = None if said["wrong"]["value"] is None else (said["undecided"]["value"], said["wrong"]["value"])
    caption = "What deciding less often gains, as the band around 0.5 widens"
    drawn[caption if default is None else f"{caption}; the cross is the default setting"] = plots.lines(
        "Share left undecided",
        "Share wrong among the decided",
        {name: (undecided.tolist(), wrong.tolist())},
        marked=default,
    )
    if len(set(labels)) == 2:
        curves = {name: (labels, scored.calibrated(videos))}
        if other is not None and other.videos.label.nunique() == 2:
            curves[f"{other.card.name} {other.card.version}"] = (
                other.videos.label.to_numpy(),
                other.calibrated(other.videos),
            )
        drawn = {"ROC": plots.roc(curves), "Detection error trade-off": plots.det(curves), **drawn}
    return drawn


def robustness_figure(robustness: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The change of AUC under every degradation; None without any comparison."""
    compared = {name: numbers["comparison"] for name, numbers in robustness.items() if numbers["comparison"]}
    values = {name: (c["difference"], c["difference_ci95"]) for name, c in compared.items()}
    return plots.bars(values, "Change of AUC against the same videos undamaged") if values else None


def frames_figure(aggregation: Mapping[str, Any]) -> str:
    """AUC over the number of faces that a video gives, with 95 % intervals where there are any."""
    numbers = [float(number) for number in aggregation["frames"]]
    points = list(aggregation["frames"].values())
    bounds = [point["auc_ci95"] or [point["auc"]] * 2 for point in points]
    curve = {"AUC": (numbers, [point["auc"] for point in points])}
    bands = {"AUC": ([low for low, _ in bounds], [high for _, high in bounds])}
    return plots.lines("Faces of each video", "AUC", curve, bands, numbers)


def worst_mistakes(scored: Scored, scanner: Scanner) -> dict[str, list[dict[str, Any]]]:
    """The real videos with the highest P(fake), from 0.5 up, and the fake ones with the lowest below."""
    videos = scored.videos
    alarms = videos[(videos.label == 0) & (videos.p_fake >= 0.5)].nlargest(MISTAKES, "p_fake")
    missed = videos[(videos.label == 1) & (videos.p_fake < 0.5)].nsmallest(MISTAKES, "p_fake")
    return {
        "Real, with the highest P(fake)": _shown(alarms, scanner, 1),
        "Fake, with the lowest P(fake)": _shown(missed, scanner, -1),
    }


def _shown(videos: pd.DataFrame, scanner: Scanner, sign: int) -> list[dict[str, Any]]:
    finder = FaceDetector()
    shown = []
    for row in videos.itertuples():
        path, member = str(row.path), str(row.member)
        if is_picture(member or path):
            image = picture(path, member)
            face = largest_face(image, finder)[0]
            crop = crop_face(image, face.points, face.box, Geometry("box", margin=0.1), THUMBNAIL)
        else:
            crop = _face_of(scanner.scan(path), sign)
        name = f"{Path(path).parent.name}/{Path(member or path).name}"
        shown.append(
            {"name": name, "p_fake": row.p_fake, "method": row.method, "uri": None if crop is None else _uri(crop)}
        )
    return shown


def _face_of(verdict: Verdict, sign: int) -> np.ndarray | None:
    """The verdict's most (1) or least (-1) suspicious face that kept its picture."""
    kept = [face for track in verdict.tracks for face in track.scores if face.crop is not None]
    return max(kept, key=lambda face: sign * face.logit).crop if kept else None


def _uri(crop: np.ndarray) -> str:
    small = cv2.resize(crop, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data_uri(jpeg.tobytes(), "image/jpeg")
