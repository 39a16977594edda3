"""What each part of the default detector's recipe is worth: docs/ablation.md, by equal short trainings.

    python docs/make_ablation.py --steps 250 --out runs/ablation --data caches/dfdc_faces --data caches/… \\
        --painter runs/shuffle/autoencoder.onnx --painter …

Every training begins with ImageNet's weights and is judged at its last step, on the dev split of every cache that has
both classes. It goes on where it was stopped: a training that has ended is not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_convert

from facetell.data.cache import FaceCache
from facetell.evaluation.metrics import metrics
from facetell.files import replacing
from facetell.networks.frame import PARTS
from facetell.training.fit import fit
from facetell.training.frame import TASK, FrameModule, FrameRecipe
from facetell.training.module import Run
from facetell.training.pairs import Faces, ValidationFaces
from facetell.training.recipe import load_recipe

PAGE = Path(__file__).parent / "ablation.md"
BASE = ["size=160", "fold=true", "mask_loss=0.5", "kinds=[0.4,0.2,0.4]", "swaps=0.2", "strength=[0,0.3]", "h264=0.15"]
BASE += ["hold=0.3", "warmup=30", "ema=0.98", "validation_items=400", "wide=false"]
VARIANTS = {  # name -> what differs from BASE
    "all of it": [],
    "labelled fakes only": ["kinds=[0,0,1]", "join=[0,1,1,0]"],
    "blends only": ["kinds=[1,0,0]", "join=[1,0,1,-99]"],
    "one label for both": ["teach=alike"],
    "no inner-face masks": ["inner=0"],
    "no parts of fakes": ["kinds=[0.5,0,0.5]"],
    "no H.264": ["h264=0"],
    "no mask output": ["mask_loss=0", "join=[1,2,0,-1]"],
    "224 pixels": ["size=224"],
    "noise pattern instead of the picture": ["input=residual"],
    "mix-up of half the whole fakes": ["mixup=0.5"],
    "stronger damage": ["strength=[0.3,1]"],
    "EfficientNet-Lite2": ["backbone=tf_efficientnet_lite2"],
    "no swaps": ["swaps=0"],
    "batch norms kept": ["fold=false"],
    "192 pixels": ["size=192"],
    "256 pixels": ["size=256"],
    "blends from none to 0.8, whole fakes from 0.8 to none": ["kinds=[0,0.2,0.8]", "kinds_end=[0.8,0.2,0]"],
    "the other way about": ["kinds=[0.8,0.2,0]", "kinds_end=[0,0.2,0.8]"],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--painter", type=Path, action="append", default=[], help="of `facetell train autoencoder`")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    caches = [FaceCache.open(folder) for folder in arguments.data]
    rows: dict[str, dict[str, str]] = {}
    painted = ["redrawn=0.25", f"painters={json.dumps([str(path) for path in arguments.painter])}"]
    redrawn = {
        "a quarter of the blends redrawn": painted,
        "blends only, a quarter redrawn": [*painted, "kinds=[1,0,0]"],
    }
    variants = {"all of it": []} | (redrawn if arguments.painter else {}) | VARIANTS
    for name, changes in variants.items():
        overrides = [*BASE, f"steps={arguments.steps}", f"validate_every={arguments.steps}", *changes]
        recipe = load_recipe("default", FrameRecipe, overrides)
        run = fit(TASK, recipe, caches, arguments.out / name.replace(" ", "-"), resume=True, workers=1, device="cpu")
        rows[name] = _aucs(run, caches)
        write(rows, arguments.steps)


def _aucs(run: Run, caches: list[FaceCache]) -> dict[str, str]:
    """Cache name -> video AUC of the joined score and its interval, as text."""
    module = run.module
    assert isinstance(module, FrameModule)
    faces = ValidationFaces(run.recipe, Faces(caches, train=False))
    batches: list[Any] = [default_convert(faces[index]) for index in range(len(faces))]
    with torch.inference_mode():
        outputs = [module.validation_step(batch, index) for index, batch in enumerate(batches)]
    found = {name: np.concatenate([output[name].numpy() for output in outputs]) for name in outputs[0]}
    logit = module.network.joined(*(torch.from_numpy(found[name]) for name in PARTS)).numpy()
    result = {}
    for number, source in enumerate(faces.sources):
        rows = np.flatnonzero(found["source"] == number)
        if len(set(found["label"][rows])) < 2:
            continue
        _, first, video = np.unique(found["video"][rows], return_index=True, return_inverse=True)
        mean = np.bincount(video, logit[rows]) / np.bincount(video)
        numbers = metrics(found["label"][rows][first], 1 / (1 + np.exp(-mean)))
        low, high = numbers["auc_ci95"]
        result[source] = f"{numbers['auc']:.3f} ({low:.2f}–{high:.2f})"
    return result


def write(rows: dict[str, dict[str, str]], steps: int) -> None:
    """The page, anew after every training, so that nothing is lost when it is stopped."""
    sources = list(next(iter(rows.values())))
    lines = [
        "# What each part of the recipe is worth",
        "",
        f"Equal short trainings of {steps} steps of 12 pairs, from ImageNet's weights, all else as in the first row;",
        "made from face caches with dev splits and, for the rows with redrawn faces, the files of painters:",
        "",
        "```",
        f"python docs/make_ablation.py --steps {steps} --out DIR --data CACHE [--data CACHE …] [--painter FILE.onnx …]",
        "```",
        "",
        "Video AUC on development crops cut by landmarks, at the last step,",
        "with the 95 % interval that resamples videos. Differences well within the intervals mean nothing.",
        "",
        "| recipe | " + " | ".join(sources) + " |",
        "|---|" + "---|" * len(sources),
    ]
    lines += [f"| {name} | " + " | ".join(row[source] for source in sources) + " |" for name, row in rows.items()]
    lines += ["", "The first row: `" + "`, `".join(BASE) + "`.", ""]
    with replacing(PAGE) as part:
        part.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
