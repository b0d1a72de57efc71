"""`python -m e2e.images`: build the images of the end-to-end tests, and print their archives, sizes and times."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from e2e.cluster.errors import ClusterError
from e2e.images.build import Built, ensure_images
from e2e.images.errors import ImageError
from e2e.images.recipe import IMAGES, TARGETS

MEGABYTE = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 an image could not be built, 130 interrupted."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    try:
        chosen = [image for image in (*IMAGES, *TARGETS) if image.name in options.names]
        built = ensure_images(chosen or IMAGES)
    except (ImageError, ClusterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is left running", file=sys.stderr)
        return 130
    for image in built:
        print(_line(image))
    print(f"all in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


def _line(image: Built) -> str:
    base, layers, total = (round(size / MEGABYTE) for size in (image.sizes.base, image.sizes.layers, image.sizes.total))
    when = f"built in {image.seconds:.0f} s" if image.seconds else "from the cache"
    return f"{image.reference:<32} {total:>4} MB (base {base}, layers {layers})  {when}  {image.archive}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.images", description=__doc__)
    names = [image.name for image in (*IMAGES, *TARGETS)]
    parser.add_argument("names", nargs="*", choices=[*names, []], default=[], metavar="NAME", help=", ".join(names))
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
