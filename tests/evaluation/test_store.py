"""What the store knows is not looked at again, and is never taken for something else."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facetell.data.manifest import Item, manifest_of
from facetell.detectors import Calibration, Detector, Term, load_detector
from facetell.errors import AlteredDetectorError, DataError, OutputError
from facetell.evaluation.robustness import SUITE
from facetell.evaluation.scoring import score
from facetell.evaluation.store import Seen, Store, fingerprint
from facetell.faces import Geometry
from facetell.scanning import Scanner
from facetell.types import FaceScore
from tests import media
from tests.detectors import networks
from tests.evaluation import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> pd.DataFrame:
    return made.stills(folder, people=2)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of crops that networks were given, call by call."""
    given: list[int] = []
    score_of = Detector.score

    def counted(self: Detector, crops: np.ndarray):
        given.append(len(crops))
        return score_of(self, crops)

    monkeypatch.setattr(Detector, "score", counted)
    return given


def test_a_second_look_costs_nothing_and_says_the_same(
    manifest: pd.DataFrame, portrait_clip: Path, folder: Path, tmp_path: Path, looked_at: list[int]
) -> None:
    clip = manifest_of([Item(str(portrait_clip), 0, dataset="clips", video="clip")])
    everything = pd.concat([manifest, clip], ignore_index=True)
    scanner = Scanner(made.detector(folder))
    plain, first = score(everything, scanner), score(everything, scanner, store=Store(tmp_path))
    asked = len(looked_at)
    second = score(everything, scanner, store=Store(tmp_path))
    assert len(looked_at) == asked
    for other in (first, second):
        pd.testing.assert_frame_equal(other.videos, plain.videos)
        pd.testing.assert_frame_equal(other.faces, plain.faces)
        assert other.items.reason.tolist() == plain.items.reason.tolist()


def test_a_detector_calibrated_anew_needs_no_new_scores(
    manifest: pd.DataFrame, folder: Path, tmp_path: Path, looked_at: list[int]
) -> None:
    score(manifest, Scanner(made.detector(folder)), store=Store(tmp_path))
    asked = len(looked_at)
    halved = Scanner(made.detector(folder, name="b.onnx", calibration=Calibration("temperature", temperature=2.0)))
    again = score(manifest, halved, store=Store(tmp_path))
    assert len(looked_at) == asked
    assert again.videos.p_fake.tolist() == pytest.approx((1 / (1 + np.exp(-again.videos.logit / 2))).tolist())


def test_another_network_or_another_cut_is_another_key(folder: Path) -> None:
    first = fingerprint(load_detector(made.detector(folder)))
    assert first == fingerprint(load_detector(made.detector(folder, name="c.onnx", version="2", licence="MIT")))
    other_cut = made.detector(folder, name="d.onnx", geometry=Geometry("landmarks", 1.2, 0.0))
    other_network = networks.write(folder, networks.brightness(gain=3.0), name="e.onnx")
    flickering = made.detector(folder, name="f.onnx", flicker=Term(weight=3.0, centre=0.0))
    magnifying = made.detector(folder, name="g.onnx", magnification=3.0)
    unstable = made.detector(folder, name="h.onnx", magnification=3.0, instability=Term(weight=3.0, centre=0.0))
    others = (other_cut, other_network, flickering, magnifying, unstable)
    assert len({first, *(fingerprint(load_detector(path)) for path in others)}) == 6


def test_what_was_changed_since_a_file_was_read_counts(folder: Path) -> None:
    flicker = Term(weight=3.0, centre=0.0)
    changed = load_detector(made.detector(folder))
    changed.card = replace(changed.card, flicker=flicker)
    assert fingerprint(changed) == fingerprint(load_detector(made.detector(folder, name="f.onnx", flicker=flicker)))


def test_a_file_replaced_meanwhile_is_refused(tmp_path: Path) -> None:
    detector = load_detector(made.detector(tmp_path))
    made.detector(tmp_path, version="2")
    with pytest.raises(AlteredDetectorError, match="replaced"):
        fingerprint(detector)


def test_damage_is_kept_apart_and_a_copy_made_once(portrait_clip: Path, folder: Path, tmp_path: Path) -> None:
    scanner, store = Scanner(made.detector(folder)), Store(tmp_path / "store")
    moved = tmp_path / "moved.mp4"
    shutil.copy(portrait_clip, moved)
    clean = score(manifest_of([Item(str(portrait_clip), 0)]), scanner, store=store)
    small = score(manifest_of([Item(str(portrait_clip), 0)]), scanner, damage=SUITE["half size"], store=store)
    assert small.videos.height.tolist()[0] < 0.6 * clean.videos.height.tolist()[0]
    (copy,) = (store.folder / "damaged").iterdir()
    made_at = copy.stat().st_mtime_ns
    again = score(manifest_of([Item(str(moved), 0)]), scanner, damage=SUITE["half size"], store=store)
    assert again.videos.logit.tolist() == small.videos.logit.tolist()
    assert copy.stat().st_mtime_ns == made_at


def test_the_same_still_suffers_the_same_wherever_it_stands(manifest: pd.DataFrame, folder: Path) -> None:
    scanner = Scanner(made.detector(folder))
    whole = score(manifest, scanner, damage=SUITE["noise"]).faces
    part = score(manifest.iloc[6:], scanner, damage=SUITE["noise"]).faces
    assert whole.logit.tolist()[-len(part) :] == part.logit.tolist()


def test_a_clip_detector_keeps_whole_videos(
    manifest: pd.DataFrame, folder: Path, tmp_path: Path, looked_at: list[int]
) -> None:
    network = networks.brightness(gain=20.0, bias=-8.0, frames=2)
    scanner = Scanner(networks.write(folder, network, name="clip.onnx", kind="clip", frames=2))
    first = score(manifest, scanner, store=Store(tmp_path))
    asked = len(looked_at)
    assert score(manifest, scanner, store=Store(tmp_path)).videos.logit.tolist() == first.videos.logit.tolist()
    assert len(looked_at) == asked
    score(manifest[manifest.frame > 0], scanner, store=Store(tmp_path))  # other runs of faces
    assert len(looked_at) > asked


def test_a_clip_detector_keeps_equal_stills_of_a_video_apart(folder: Path, tmp_path: Path) -> None:
    """A frozen picture is scored with what stands beside it, each time other."""
    network = networks.brightness(gain=20.0, bias=-8.0, frames=2)
    scanner, store = Scanner(networks.write(folder, network, name="clip.onnx", kind="clip", frames=2)), Store(tmp_path)
    paths = [media.write_picture(tmp_path / f"{k}.png", made.portrait(0, 0.4 * (k == 2))) for k in range(3)]
    rows = manifest_of([Item(str(path), 0, video="v", frame=k) for k, path in enumerate(paths)])
    first, second = (score(rows, scanner, store=store).faces.logit.tolist() for _ in range(2))
    assert second == first
    assert first[0] != first[1]


def test_errors_are_met_anew(folder: Path, tmp_path: Path) -> None:
    scanner, store = Scanner(made.detector(folder)), Store(tmp_path / "store")
    late = tmp_path / "late.png"
    manifest = manifest_of([Item(str(folder / "real-0_2.png"), 0), Item(str(late), 0)])
    assert score(manifest, scanner, store=store).items.reason.tolist() == ["", "FileMissingError"]
    late.write_bytes(b"no picture")
    assert score(manifest, scanner, store=store).items.reason.tolist() == ["", "NotVideoError"]
    shutil.copy(folder / "real-0_1.png", late)
    assert score(manifest, scanner, store=store).items.reason.tolist() == ["", ""]


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    face = FaceScore(0.5, (1.0, 2.0, 3.0, 4.0), float("nan"), -1.25, 0.5, False, ("blurred",), parts={"blend": 2.0})
    Store(tmp_path).write({"k": Seen([[face]], frames=20, bits_per_pixel=0.1)})
    (back,) = Store(tmp_path).read(["k"]).values()
    assert (back.frames, back.bits_per_pixel, back.reason) == (20, 0.1, "")
    for name in ("time_s", "box", "logit", "quality", "usable", "problems", "parts"):
        assert getattr(back.people[0][0], name) == getattr(face, name)


def test_a_folder_that_cannot_be_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot keep scores"):
        Store(tmp_path / "file")
    (tmp_path / "scores.sqlite").write_text("this is no database, however long it is made to be" * 20)
    with pytest.raises(DataError, match="holds no scores"):
        Store(tmp_path)


def test_a_damaged_copy_that_cannot_be_written_is_named(
    portrait_clip: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, scanner = manifest_of([Item(str(portrait_clip), 0)]), Scanner(made.detector(folder))
    store = Store(tmp_path)
    (tmp_path / "damaged").rmdir()
    with pytest.raises(OutputError, match=r"cannot keep scores.*Is the disk full"):
        score(manifest, scanner, damage=SUITE["half size"], store=store)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"no room for temporary files.*TMPDIR"):
        score(manifest, scanner, damage=SUITE["half size"])


def test_a_damaged_store_is_named_when_it_is_used(tmp_path: Path) -> None:
    Store(tmp_path).write({"k": Seen(reason="NO_FACE")})
    store = Store(tmp_path)
    file = tmp_path / "scores.sqlite"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))  # the first page, the schema, stays whole
    for use in (lambda: store.read(["k"]), lambda: store.write({"l": Seen(reason="NO_FACE")})):
        with pytest.raises(DataError, match=r"scores\.sqlite holds no scores: .* Delete it\."):
            use()
