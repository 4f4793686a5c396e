"""Small pictures made large again, beside the pictures that they were made of.  N pictures, H × W pixels, C colours."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data import arrays
from data.decode import MODES
from data.source import Columns, Dataset, examples


def columns(dataset: str, *, factor: int = 2, train: str = "train", valid: str = "auto") -> Dataset:
    """y float32 [H, W, C] in [0, 1] is a picture of any TFDS set of pictures of one size; x is the same picture made
    smaller by `factor` and large again, both by bicubic interpolation.
    """
    of = arrays.columns(dataset, train=train, valid=valid)
    return examples(
        *(Columns(x=enlarged(half.columns["x"], factor), y=half.columns["x"]) for half in (of.train, of.valid))
    )


def enlarged(pictures: UInt8[np.ndarray, "N H W C"], factor: int) -> UInt8[np.ndarray, "N H W C"]:
    """Each picture made smaller by `factor` and large again."""
    _, height, width, colours = pictures.shape
    if factor < 2 or height % factor or width % factor or colours not in MODES:
        raise ValueError(
            f"data.factor={factor} of pictures of {height} × {width} pixels and {colours} colours; it takes 2 or more "
            "that divides both sides, of pictures of 1 or 3 colours"
        )
    made = np.empty_like(pictures)
    for i, picture in enumerate(pictures):
        whole = Image.fromarray(picture.squeeze(-1) if colours == 1 else picture)
        small = whole.resize((width // factor, height // factor), Image.Resampling.BICUBIC)
        made[i] = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).reshape(picture.shape)
    return made
