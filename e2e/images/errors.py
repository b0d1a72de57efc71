"""What can go wrong while images are built: each says what was found and what to do next."""

from __future__ import annotations


class ImageError(Exception):
    """An image could not be built, read or run."""
