"""Every error facetell raises on purpose, in one tree; each says what happened and what to do about it."""

from __future__ import annotations


class FacetellError(Exception):
    """Base of all named errors.

    Args:
        message: what happened, one line, naming the thing it happened to.
        advice: what the person can do about it, one sentence; may be empty.

    >>> str(FacetellError("clip.mp4 is empty.", "Download it again."))
    'clip.mp4 is empty. Download it again.'
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".rstrip()


class UsageError(FacetellError):
    """An option or argument that cannot be used as given."""


class MissingExtraError(FacetellError):
    """A part of facetell whose optional dependencies are not installed."""


# What is read -------------------------------------------------------------------------------------------------------


class InputError(FacetellError):
    """A file given to facetell that cannot be judged."""


class FileMissingError(InputError):
    """No file at this path, or not a regular file, or not readable."""


class NotVideoError(InputError):
    """The file holds neither a video nor a picture that can be decoded."""


class DamagedVideoError(InputError):
    """The file is a video, but none of the wanted frames can be decoded."""


class LimitError(InputError):
    """The file asks for more pixels, frames, streams, memory or time than is allowed."""


class ReaderCrashError(InputError):
    """The process that reads files broke down on this one, or could not be started."""


# What is written ----------------------------------------------------------------------------------------------------


class OutputError(FacetellError):
    """A result cannot be written where it was asked for."""


# Detectors ----------------------------------------------------------------------------------------------------------


class DetectorError(FacetellError):
    """A detector that is unknown, incomplete, altered or unfit for this input."""


class UnknownDetectorError(DetectorError):
    """No shipped detector of this name, and no such file."""


class DetectorFileError(DetectorError):
    """An ONNX file that is not a facetell detector file, or breaks its rules."""


class AlteredDetectorError(DetectorError):
    """A shipped weight file whose SHA-256 is not the published one."""


# Data sets, forge, training -----------------------------------------------------------------------------------------


class DataError(FacetellError):
    """A data set, table, manifest or cache that cannot be used."""


class LayoutError(DataError):
    """A folder that is none, or more than one, of the known data-set layouts."""


class ManifestError(DataError):
    """A manifest or table with a row that cannot be understood."""


class LeakError(DataError):
    """A group or an original that would stand in two splits."""


class CacheError(DataError):
    """A face cache that is incomplete, damaged or of another version."""


class ForgeError(FacetellError):
    """A face that cannot be forged as asked."""


class TrainingError(FacetellError):
    """A training that cannot start or go on."""


class RecipeError(TrainingError):
    """A recipe that lacks a key, has an unknown one, or a value out of range."""
