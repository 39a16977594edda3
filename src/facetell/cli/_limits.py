"""The options that bound what reading one file may cost, for every verb that reads strangers' files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from facetell.video.limits import DEFAULT_LIMITS, OPTIONS, Limits

_OPTIONS = {  # field of `Limits`: kind, unit, help
    "seconds": (float, "SECONDS", "Longest wait for one file; half of its length is added."),
    "cpu_seconds": (float, "SECONDS", "Most processor time for one file; half of its length is added."),
    "memory_mb": (int, "MIB", "Most memory for the process that reads files."),
    "pixels": (int, "N", "Most pixels of one picture."),
    "frames": (int, "N", "Most frames in one file, looked at or not."),
    "streams": (int, "N", "Most streams in one file."),
}


def limited(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb with these options in place of its parameter `limits`."""

    @wraps(verb)
    def command(**given: Any) -> None:
        limits = Limits(**{field: given.pop(_parameter(field)) for field in _OPTIONS})
        verb(**given, limits=limits)

    own = inspect.signature(verb, eval_str=True)
    parameters = [parameter for parameter in own.parameters.values() if parameter.name != "limits"]
    for field, (kind, unit, text) in _OPTIONS.items():
        how = typer.Option(metavar=unit, help=text)
        default = getattr(DEFAULT_LIMITS, field)
        parameters.append(
            inspect.Parameter(
                _parameter(field),
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default,
                annotation=Annotated[kind, how],
            )
        )
    command.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(field: str) -> str:
    return OPTIONS[field].removeprefix("--").replace("-", "_")
