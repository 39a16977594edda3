"""What a detector file says of itself: the card inside the ONNX file, read strictly and written back unchanged."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from facetell.errors import DetectorFileError
from facetell.faces.align import Geometry

SCHEMA = "facetell-detector/1"
METADATA_KEY = "facetell"
MAX_SIZE = 1024  # pixels
DEEPEST = 20  # levels of tables and lists within a card
MAX_FRAMES = 256
LARGEST = 1e9  # number, either way: what is calculated with it stays finite
LEAST_RATE = 1e-9  # of false positives
RATES_APART = 1.01  # a rate by the next smaller one, at least: thresholds between them lie on a line
MOST_MAGNIFIED = 100.0  # times a difference of at most 255 levels
LEAST_MAGNIFIED = 12  # pixels, side of a crop in which movement can be followed
FLICKER = "flicker"  # the parts of a face's score that these terms add
INSTABILITY = "instability"

Aggregation = Literal["quality", "confidence"]
"""How a person's faces weigh in their mean logit: by quality, or by how far each lies from undecided."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a raw logit becomes one whose sigmoid is P(fake) when half of all videos are fake.

    `none` leaves it; `temperature` gives logit / temperature + bias; `isotonic` interpolates linearly between the knots
    (x: raw logits, increasing; y: calibrated logits, never falling) and holds the end values beyond them.

    >>> Calibration("temperature", temperature=2.0, bias=0.5)(3.0)
    2.0
    """

    method: Literal["none", "temperature", "isotonic"] = "none"
    temperature: float = 1.0
    bias: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError("temperature must be above 0")
        if self.method == "isotonic":
            if len(self.x) != len(self.y) or len(self.x) < 2:
                raise ValueError("x and y must have one length, at least 2")
            if np.any(np.diff(self.x) <= 0) or np.any(np.diff(self.y) < 0):
                raise ValueError("x must increase and y must not fall")

    def __call__(self, logit: float) -> float:
        if self.method == "temperature":
            return logit / self.temperature + self.bias
        if self.method == "isotonic":
            return float(np.interp(logit, self.x, self.y))
        return logit


@dataclass(frozen=True, slots=True)
class Threshold:
    """A calibrated video logit at and above which this share of real videos is called FAKE.

    `n_real` counts what it was read off: groups of real videos, for several of one person tell no more than one; where
    the data set gives fewer than ten, its originals or videos, though one person may be in several of them
    (docs/evaluation.md).
    `logit` is None where there were too few to tell; `source` then says so. Below `real_below` a video
    is clearly real: few fakes lie there (docs/verdict.md); where it is None, no video is.
    """

    false_positive_rate: float
    logit: float | None
    n_real: int
    source: str
    real_below: float | None = None

    def __post_init__(self) -> None:
        if not LEAST_RATE <= self.false_positive_rate < 1:
            raise ValueError(f"false_positive_rate must lie between {LEAST_RATE:g} and 1")
        if self.n_real < 0:
            raise ValueError("n_real must not be negative")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a detector was calibrated on. Beyond it nobody measured what a score means, so nothing is decided there.

    Args:
        face_height: the least that the median face of a person may measure, pixels.
        bits_per_pixel: the least that a video's stream may spend; None if no video was calibrated on.
        views: two parts of the score, each with the calibration that makes its logits comparable with the other's.
        views_apart: the most that the two calibrated logits may differ; None without views.
        views_margin: how far above the threshold a person has to score to be FAKE where they differ more; None: never.

    >>> views = {"blend": Calibration(), "texture": Calibration("temperature", temperature=2.0)}
    >>> Scope(60.0, 0.002, views, 1.5).apart({"blend": 1.0, "texture": -2.0})
    2.0
    """

    face_height: float
    bits_per_pixel: float | None = None
    views: Mapping[str, Calibration] = field(default_factory=dict)
    views_apart: float | None = None
    views_margin: float | None = None

    def __post_init__(self) -> None:
        if self.face_height < 0 or (self.bits_per_pixel or 0) < 0:
            raise ValueError("face_height and bits_per_pixel must not be negative")
        if len(self.views) != (0 if self.views_apart is None else 2):
            raise ValueError("views must be two, with the most that they may be apart, or none")
        if self.views_margin is not None and (not self.views or self.views_margin < 0):
            raise ValueError("views_margin needs views, and must not be negative")

    @property
    def beyond(self) -> list[str]:
        """What lies beyond it, in words.

        >>> Scope(64.0, 0.002).beyond
        ['faces under 64 px', 'videos under 0.002 bits a pixel']
        """
        words = [f"faces under {self.face_height:.0f} px"]
        if self.bits_per_pixel is not None:
            words.append(f"videos under {self.bits_per_pixel:.2g} bits a pixel")
        if self.views_apart is not None:
            unless = "" if self.views_margin is None else f", unless {self.views_margin:.2f} above the threshold"
            words.append(f"views ({' and '.join(self.views)}) more than {self.views_apart:.2f} apart{unless}")
        return words

    def apart(self, parts: Mapping[str, float]) -> float:
        """How far the two views of a face, or of a person's faces, lie from each other; there must be views."""
        first, second = (calibration(parts[name]) for name, calibration in self.views.items())
        return abs(first - second)


@dataclass(frozen=True, slots=True)
class Term:
    """How a measured value counts beside what the network says of a face.

    Args:
        weight: logits for each unit of it.
        centre: where it says nothing.
        most: logits that it may add or take away.

    >>> Term(weight=4.0, centre=-0.1, most=2.0).logit(0.15)
    1.0
    """

    weight: float
    centre: float
    most: float = 2.0

    def __post_init__(self) -> None:
        if not (0 < self.weight <= LARGEST and 0 < self.most <= LARGEST and abs(self.centre) <= LARGEST):
            raise ValueError(f"weight and most must be above 0, and all three at most {LARGEST:g} either way")

    @property
    def words(self) -> str:
        """How it counts, in words.

        >>> Term(weight=4.0, centre=-0.1).words
        'a face gains 4 logits for each unit of it above -0.1, at most 2 either way'
        """
        gain = f"a face gains {self.weight:g} logits for each unit of it above {self.centre:g}"
        return f"{gain}, at most {self.most:g} either way"

    def logit(self, value: float | None) -> float:
        """What is added to a face's raw logit; 0 where the value was not measured, as in a still."""
        if value is None:
            return 0.0
        return min(max(self.weight * (value - self.centre), -self.most), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCard:
    """Everything needed to run a detector and to judge how far to trust it. Label 1 = FAKE.

    `outputs` maps what facetell calls an output to what the network calls it: "logit" always, "heatmap" if there is
    one, any other key is a part of the score, such as "blend" and "texture". Thresholds stand on a video's calibrated
    logit.

    >>> card = DetectorCard(
    ...     name="tiny", version="1", kind="frame", input_size=32, geometry=Geometry("landmarks", 1.0, 0.0),
    ...     mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), outputs={"logit": "logit"}, training_data="none", licence="CC0",
    ... )
    >>> DetectorCard.from_json(card.to_json()) == card
    True
    """

    name: str
    version: str
    kind: Literal["frame", "clip", "series"]
    input_size: int  # pixels, the side of a square crop
    geometry: Geometry
    mean: tuple[float, ...]  # of pixel values in 0…1, one per channel
    std: tuple[float, ...]
    outputs: Mapping[str, str | None]
    training_data: str
    licence: str
    channels: int = 3  # 3: RGB; 1: grey, the mean of the three
    frames: int = 1  # faces that one score needs, for clip and series
    metrics: Mapping[str, Any] = field(default_factory=dict)  # name of a data set -> what was measured on it
    flicker: Term | None = None  # of `facetell.faces.flicker`; None: it does not count
    magnification: float | None = None  # of a face's change to the next frame (faces.magnify); None: it is not shown
    instability: Term | None = None  # of how far that moves the logit (scanning.scoring); None: it does not count
    aggregation: Aggregation = "quality"  # calibration and thresholds hold for this one
    calibration: Calibration = Calibration()
    thresholds: tuple[Threshold, ...] = ()
    scope: Scope | None = None  # None: a card from before it was measured
    provisional: bool = True  # thresholds were read off few or unrepresentative real faces
    description: str = ""
    limits: tuple[str, ...] = ()  # known limits, plain sentences
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        rules = {
            f"schema must be {SCHEMA!r}": self.schema == SCHEMA,
            "name must be lower-case letters, digits, '.', '_' and '-'": bool(
                re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", self.name)
            ),
            "version must not be empty": bool(self.version),
            f"input_size must lie between 8 and {MAX_SIZE}": 8 <= self.input_size <= MAX_SIZE,
            "geometry.scale must lie between 0.2 and 5": 0.2 <= self.geometry.scale <= 5,
            "geometry.margin must lie between -0.4 and 3": -0.4 <= self.geometry.margin <= 3,
            "channels must be 3 or 1": self.channels in (1, 3),
            "mean and std must have one number per channel": len(self.mean) == len(self.std) == self.channels,
            "std must be above 0": all(value > 0 for value in self.std),
            "frames must be 1 for kind 'frame'": self.kind != "frame" or self.frames == 1,
            f"frames must lie between 1 and {MAX_FRAMES}": 1 <= self.frames <= MAX_FRAMES,
            "flicker needs kind 'frame'": self.flicker is None or self.kind == "frame",
            f"magnification must lie above 0 and at most at {MOST_MAGNIFIED:g}": self.magnification is None
            or 0 < self.magnification <= MOST_MAGNIFIED,
            f"magnification needs kind 'frame' and an input_size of at least {LEAST_MAGNIFIED}": self.magnification
            is None
            or (self.kind == "frame" and self.input_size >= LEAST_MAGNIFIED),
            "instability needs magnification": self.instability is None or self.magnification is not None,
            f"outputs must not be called {FLICKER!r} or {INSTABILITY!r}": not {FLICKER, INSTABILITY}
            & self.outputs.keys(),
            "outputs must name the logit": bool(self.outputs.get("logit")),
            "outputs other than heatmap must have a name": all(v for k, v in self.outputs.items() if k != "heatmap"),
        }
        views = set() if self.scope is None else self.scope.views.keys()
        rules["scope.views must be parts of the score, of kind 'frame'"] = views <= self.parts.keys() and (
            not views or self.kind == "frame"
        )
        measured = sorted((t.false_positive_rate, t.logit) for t in self.thresholds if t.logit is not None)
        rules["false-positive rates of thresholds must differ by 1 % or more"] = all(
            next_rate >= RATES_APART * rate for (rate, _), (next_rate, _) in pairwise(measured)
        )
        rules["thresholds must rise, not fall, from one false-positive rate to a smaller one"] = all(
            logit >= next_logit for (_, logit), (_, next_logit) in pairwise(measured)
        )
        for rule, kept in rules.items():
            if not kept:
                raise ValueError(rule)

    @property
    def in_a_video(self) -> dict[str, str]:
        """What it heeds of the frame after each, with how that counts, in words; empty if it looks at single frames."""
        heeded = {} if self.flicker is None else {"flicker": f"counts; {self.flicker.words}"}
        if self.magnification is not None:
            heeded["changes"] = f"magnified; added {self.magnification:g} times to each face before it is judged"
        if self.instability is not None:
            heeded["instability"] = f"counts; {self.instability.words}"
        return heeded

    @property
    def heatmap(self) -> str | None:
        """The network's name for its heat map, if it has one."""
        return self.outputs.get("heatmap")

    @property
    def parts(self) -> dict[str, str]:
        """The outputs besides logit and heat map: facetell's name -> the network's."""
        return {key: name for key, name in self.outputs.items() if key not in ("logit", "heatmap") and name}

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: object, source: str = "The card") -> DetectorCard:
        """A card from plain JSON types (or parsed TOML).

        Args:
            data: the keys of the card; `schema` may not be left out.
            source: what to call the card in an error.

        Raises:
            DetectorFileError: a key that is unknown, missing, of the wrong type or out of range, which is named.
        """
        if _deeper_than(DEEPEST, data):
            raise DetectorFileError(f"{source} is nested more than {DEEPEST} deep.", "Write it flatter.")
        try:
            json.dumps(data, ensure_ascii=False, default=str).encode()
        except ValueError as error:  # half a character, or a number of thousands of digits
            raise DetectorFileError(f"{source} cannot be written as JSON: {error}.") from error
        if isinstance(data, dict) and "schema" not in data:
            raise DetectorFileError(f"{source}: key 'schema' is missing.", f"Write schema = {SCHEMA!r}.")
        try:
            return _read_table(cls, data, "")
        except ValueError as error:
            raise DetectorFileError(
                f"{source}: {error}.", "See docs/detector-file.md for what a card holds."
            ) from error

    @classmethod
    def from_json(cls, text: str, source: str = "The card") -> DetectorCard:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DetectorFileError(f"{source} is not JSON: {error}.") from error
        return cls.from_dict(data, source)


def read_card(path: str | os.PathLike[str]) -> DetectorCard:
    """A card from a TOML file; `schema` may be left out there.

    Raises:
        DetectorFileError: no TOML, or no card.
    """
    try:
        with open(path, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise DetectorFileError(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise DetectorFileError(f"{os.fspath(path)} is not TOML: {error}.") from error
    return DetectorCard.from_dict({"schema": SCHEMA, **data}, source=os.fspath(path))


def _deeper_than(depth: int, value: object) -> bool:
    level = [value]
    for _ in range(depth + 1):
        tables = [one for one in level if isinstance(one, dict | list)]
        level = [inner for one in tables for inner in (one.values() if isinstance(one, dict) else one)]
    return bool(level)


def _read(kind: Any, value: object, where: str) -> Any:
    """`value`, made of plain JSON types, as an object of the annotated type `kind`; `where` is its dotted key.

    Raises:
        ValueError: it is none, and why.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"'{where}' cannot be written as JSON") from error
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _read(arguments[0], value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"'{where}' must be one of {', '.join(arguments)}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"'{where}' must be a list, not {value!r}")
        return tuple(_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ValueError(f"'{where}' must be a table, not {value!r}")
        return {str(key): _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _read_table(kind, value, where) if dataclasses.is_dataclass(kind) else _read_plain(kind, value, where)


def _read_table(kind: Any, value: object, where: str) -> Any:
    """A dataclass `kind` of a table with its fields as keys."""
    if not isinstance(value, dict):
        raise ValueError(f"'{where}' must be a table, not {value!r}" if where else "it must be a table")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    prefix = f"{where}." if where else ""
    if unknown := value.keys() - fields.keys():
        raise ValueError(f"unknown key '{prefix}{min(map(str, unknown))}'")
    for name, item in fields.items():
        if name not in value and item.default is item.default_factory is dataclasses.MISSING:
            raise ValueError(f"key '{prefix}{name}' is missing")
    hints = typing.get_type_hints(kind)
    read = {name: _read(hints[name], item, f"{prefix}{name}") for name, item in value.items()}
    try:
        return kind(**read)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from error


def _read_plain(kind: Any, value: object, where: str) -> Any:
    """A text, number or truth value; whole numbers are numbers, too."""
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**63 else math.inf
    if type(value) is not kind:
        raise ValueError(f"'{where}' must be a {_NAMES[kind]}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"'{where}' must be finite")
    if isinstance(value, float) and abs(value) > LARGEST:
        raise ValueError(f"'{where}' must lie between {-LARGEST:g} and {LARGEST:g}")
    return value


_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
