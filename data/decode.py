"""One image file's bytes as pixels, and many of them on all cores: Pillow releases Python's lock while it decodes."""

import collections
import concurrent.futures
import contextlib
import io
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath

import numpy as np

from data.arrays import eight_bits

MODES = {1: "L", 3: "RGB"}
SIXTEEN_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}  # Pillow's names for grey from 0 to 65,535
NO_RANGE = {"I", "F"}  # and for integers of 32 bits and floats, of which no file says what is white
ORIENTATION = 274  # EXIF's tag
UPRIGHT = {None, 1}
AT_ONCE = 4  # images of one task of the pool
TIMED, SOON = 16, 5e-4  # images, and seconds for each: 28 × 28 pixels of PNG take 80 µs, 448 × 448 of JPEG 2.2 ms


def decoded(name: PurePath | str, contents: bytes, channels: int) -> np.ndarray:
    """uint8 [H, W, C], upright as EXIF says; 16 bits become 8."""
    from PIL import Image, ImageOps

    with readable(name), Image.open(io.BytesIO(contents)) as opened:
        opened.load()
        turned = opened.getexif().get(ORIENTATION) not in UPRIGHT
        image = ImageOps.exif_transpose(opened) if turned else opened
        if image.mode in SIXTEEN_BITS or (image.mode == "I" and opened.format == "PPM"):
            image = Image.fromarray(eight_bits(np.asarray(image).astype(np.uint16)))
        mode = image.mode
        pixels = np.asarray(image if mode in {MODES[channels], *NO_RANGE} else image.convert(MODES[channels]))
    if mode in NO_RANGE:
        kind = {"F": "floats", "I": "integers of 32 bits"}[mode]
        raise ValueError(f"{name} holds {kind}, and no file says which of them is white: save it with 8 or 16 bits")
    return pixels.reshape(*pixels.shape[:2], channels)


@contextlib.contextmanager
def readable(name: PurePath | str) -> Iterator[None]:
    """Turns what Pillow raises on a damaged or huge image into a sentence."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"{name} has more than {most:,} pixels: scale it down or remove it") from None
    except Exception as error:  # decoders raise whatever they trip over: SyntaxError, struct.error, zlib.error, ...
        reason = "no kind that Pillow knows" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{name} cannot be read as an image ({reason}): repair or remove it") from error


def on_all_cores[A, B](make: Callable[[A], B], items: Iterable[A], threads: int = 0) -> Iterator[B]:
    """`make` of each item, in their order; `threads` (0: one a core) are a few items ahead of what is asked for.

    `items` are taken one after the other, by the thread that asks.  An error comes where its item is.  The first few
    are timed: what is soon made is mostly Python, which runs on one core at a time, and threads would only cost.
    """
    threads, items, spent = threads or cores(), iter(items), 0.0
    for item in itertools.islice(items, TIMED):
        began = time.perf_counter()
        made = make(item)
        spent += time.perf_counter() - began
        yield made
    if spent < TIMED * SOON:
        yield from map(make, items)
        return

    def several(some: tuple[A, ...]) -> list[B]:
        return [make(item) for item in some]

    waiting: collections.deque[concurrent.futures.Future[list[B]]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        for some in itertools.batched(items, AT_ONCE):
            waiting.append(pool.submit(several, some))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
