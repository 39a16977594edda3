"""The detectors that ship with facetell, each with the SHA-256 its file must have."""

from __future__ import annotations

from pathlib import Path

from facetell.detectors.file import DetectorFile, read_detector_file
from facetell.errors import AlteredDetectorError, UnknownDetectorError
from facetell.files import sha256_of

WEIGHTS = Path(__file__).with_name("weights")
SHIPPED = {  # name -> SHA-256 of `weights/<name>.onnx`
    "frame": "b95bbb22567aca68fd863a1cdae0f1db9ed1aa599573010c35a9f5b9494ff0f0",
    "meso": "1b3e9b4f5a5222bd284ca991c1302923be509d6308dbf20bba70003a7ebcb3f0",
}
DEFAULT = "frame"


def shipped() -> list[str]:
    """The names of the shipped detectors, the default one first."""
    return sorted(SHIPPED, key=lambda name: (name != DEFAULT, name))


def read_shipped(name: str) -> DetectorFile:
    """The file of a shipped detector, checked against its published SHA-256 before anything in it is looked at.

    Raises:
        UnknownDetectorError: no shipped detector of this name.
        AlteredDetectorError: the file is missing or not the one that was published.
    """
    if name not in SHIPPED:
        raise UnknownDetectorError(
            f"There is no shipped detector {name!r}.",
            f"There are {', '.join(shipped())}; or give the path of an .onnx file.",
        )
    path = WEIGHTS / f"{name}.onnx"
    if not path.is_file():
        zipped = not Path(__file__).is_file()
        advice = "facetell cannot run from inside a zip: unpack it." if zipped else "Install facetell again."
        raise AlteredDetectorError(f"The weights of detector {name!r} are missing.", advice)
    if sha256_of(path) != SHIPPED[name]:
        raise AlteredDetectorError(
            f"The weights of detector {name!r} are not the published ones.",
            "Install facetell again; it may have been tampered with.",
        )
    return read_detector_file(path, published=True)
