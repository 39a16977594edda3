"""What every page holds within, as it loads nothing from anywhere: its style, and its pictures."""

from __future__ import annotations

import base64
from pathlib import Path


def page_style() -> str:
    """The style sheet of all pages."""
    return Path(__file__).with_name("templates").joinpath("page.css").read_text(encoding="utf-8")


def data_uri(content: bytes, media_type: str) -> str:
    """A picture's address that holds all of its bytes.

    >>> data_uri(b"GIF89a", "image/gif")
    'data:image/gif;base64,R0lGODlh'
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
