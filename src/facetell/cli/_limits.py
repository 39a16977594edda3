"""The options that bound what reading one file may cost, for every verb that reads strangers' files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from facetell.video.limits import DEFAULT_LIMITS, Limits

_OPTIONS = {  # field of `Limits`: option, kind, unit, help
    "seconds": ("max_seconds", float, "SECONDS", "Longest wait for one file; half of its length is added."),
    "cpu_seconds": ("max_cpu", float, "SECONDS", "Most processor time for one file; half of its length is added."),
    "memory_mb": ("max_memory", int, "MIB", "Most memory for the process that reads files."),
    "pixels": ("max_pixels", int, "N", "Most pixels of one picture."),
    "frames": ("max_frames", int, "N", "Most frames in one file, looked at or not."),
    "streams": ("max_streams", int, "N", "Most streams in one file."),
}


def limited(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb with these options in place of its parameter `limits`."""

    @wraps(verb)
    def command(**given: Any) -> None:
        limits = Limits(**{field: given.pop(option) for field, (option, *_) in _OPTIONS.items()})
        verb(**given, limits=limits)

    own = inspect.signature(verb, eval_str=True)
    parameters = [parameter for parameter in own.parameters.values() if parameter.name != "limits"]
    for field, (option, kind, unit, text) in _OPTIONS.items():
        how = typer.Option(metavar=unit, help=text, min=0)
        default = getattr(DEFAULT_LIMITS, field)
        parameters.append(
            inspect.Parameter(
                option, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[kind, how]
            )
        )
    command.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
