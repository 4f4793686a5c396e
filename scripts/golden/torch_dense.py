"""A U-Net in PyTorch's functions, whose outputs tests/test_dense.py compares ours with.

Run from the project's root under a Python with torch:

    PYTHONPATH=. PYTHON scripts/golden/torch_dense.py          # writes tests/golden/dense.npz
"""

import numpy as np
import torch
import torch.nn.functional as F

from tests.support.golden import numbers


def weight(name, *shape):
    """A kernel in the layout of Flax, [height, width, in, out], scaled to keep the size of what goes through it."""
    return torch.tensor(numbers(name, *shape)) / float(np.sqrt(np.prod(shape[:-1]) / 3))


def conv(x, name, size, features, padding):
    kernel = weight(f"unet/{name}/kernel", size, size, x.shape[1], features).permute(3, 2, 0, 1)
    return F.conv2d(x, kernel, torch.tensor(numbers(f"unet/{name}/bias", features)), padding=padding if size > 1 else 0)


def twice(x, name, features, padding):
    for i in (1, 2):
        x = conv(x, f"{name}_conv{i}", 3, features, padding).relu()
    return x


def unet(x, width, depth, classes, padding):
    """Ronneberger et al. 2015, figure 1; `padding` 0 as there, or 1."""
    kept = []
    for i in range(depth):
        x = twice(x, f"down{i}", width * 2**i, padding)
        kept.append(x)
        x = F.max_pool2d(x, 2)
    x = twice(x, "bottom", width * 2**depth, padding)
    for i in reversed(range(depth)):
        features = width * 2**i
        # Flax correlates with the kernel of a transposed convolution, torch convolves: theirs is ours, turned around.
        kernel = weight(f"unet/up{i}/kernel", 2, 2, x.shape[1], features).flip(0, 1).permute(2, 3, 0, 1)
        x = F.conv_transpose2d(x, kernel, torch.tensor(numbers(f"unet/up{i}/bias", features)), stride=2)
        edge = (kept[i].shape[2] - x.shape[2]) // 2
        x = twice(torch.cat([F.pad(kept[i], (-edge,) * 4), x], 1), f"join{i}", features, padding)
    return conv(x, "logits", 1, classes, padding)


def main():
    golden = {}
    for name, padding, side in (("SAME", 1, 16), ("VALID", 0, 44)):
        image = torch.tensor(numbers("unet/image", 1, side, side, 1)).permute(0, 3, 1, 2)
        golden[f"unet_{name}"] = unet(image, 2, 2, 3, padding).permute(0, 2, 3, 1).numpy()
    np.savez_compressed("tests/golden/dense.npz", **golden)


if __name__ == "__main__":
    main()
