"""What reading one file may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from facetell.errors import LimitError, UsageError

_BYTES_PER_S = 20_000_000  # the slowest disk that is waited for
_MOST = 10**9  # of anything: clocks and the system's own limits hold no infinity
OPTIONS = {  # field of `Limits`: what the command line calls it
    "seconds": "--max-seconds",
    "cpu_seconds": "--max-cpu",
    "memory_mb": "--max-memory",
    "pixels": "--max-pixels",
    "frames": "--max-frames",
    "streams": "--max-streams",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on reading one file; beyond them it costs a LimitError.

    Pixels, frames and streams hold wherever a file is read; memory and time only in a reading process of its own.

    Args:
        seconds: wall clock that may be spent waiting for the file to be read …
        share: … and seconds more for each second that the video lasts; processor time likewise.
        cpu_seconds: processor time of all threads that read.
        memory_mb: the reading process's own memory, in MiB.
        pixels: of one picture.
        frames: in the file, sampled or not.
        streams: in the file, of any kind.

    Raises:
        UsageError: a limit that is not above 0, or above a thousand million, or no number.
    """

    seconds: float = 30.0
    share: float = 0.5
    cpu_seconds: float = 60.0
    memory_mb: int = 2048
    pixels: int = 8192 * 8192
    frames: int = 5_000_000
    streams: int = 100

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 < value <= _MOST:
                raise UsageError(
                    f"{OPTIONS.get(name, name)} cannot be {value:g}.", f"Give a number above 0, up to {_MOST:,}."
                )

    def check_size(self, name: str, width: int, height: int) -> None:
        """Refuse pictures that are too large.

        >>> Limits().check_size("clip.mp4", 1920, 1080)

        Raises:
            LimitError: more pixels than allowed.
        """
        if width * height > self.pixels:
            raise LimitError(
                f"{name} is {width}×{height} pixels large; {self.pixels:,} pixels in all are allowed.",
                "Scale it down first, or raise --max-pixels.",
            )

    def extra_seconds(self, size_bytes: int, duration_s: float | None, frame_count: int | None) -> float:
        """What is added to `seconds` and `cpu_seconds` for a file of this size and length.

        A video that claims to last long counts one second for each of its frames at most.

        >>> Limits().extra_seconds(20_000_000, 10.0, 300), Limits().extra_seconds(20_000_000, 1e9, 300)
        (6.0, 151.0)
        """
        return size_bytes / _BYTES_PER_S + self.share * min(duration_s or 0.0, frame_count or 0)


DEFAULT_LIMITS = Limits()
