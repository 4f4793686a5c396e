"""What PyTorch and torchvision say of convolutional networks, for tests/test_convolution.py.

    PYTHONPATH=. PYTHON_WITH_TORCH scripts/golden/torch_convolution.py      # writes tests/golden/convolution.npz

ResNets and the convolutions of VGG are torchvision's; AlexNet and GoogLeNet, which it has in other forms, are put
together from torch's layers here.  Parameters are `tests.support.golden.parameter` of our names; all is in float64.
"""

import itertools
import pathlib
import re

import numpy as np
import torch
import torchvision
from torch import nn

from tests.support.golden import numbers, parameter

OUT = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "convolution.npz"


def fill(model, rename):
    """Our parameters, by our names, into torch's modules."""
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        own |= {name: value for name, value in module.named_buffers(recurse=False) if value.ndim}
        for name, value in own.items():
            norm = isinstance(module, nn.BatchNorm2d)
            ours = {"weight": "scale" if norm else "kernel", "running_mean": "mean", "running_var": "var"}.get(
                name, name
            )
            if value.ndim == 4:  # ours is [height, width, inputs, outputs]
                o, i, h, w = value.shape
                new = parameter(f"{rename(path)}/{ours}", h, w, i, o).transpose(3, 2, 0, 1)
            else:
                new = parameter(f"{rename(path)}/{ours}", *value.shape[::-1]).T
            value.data.copy_(torch.from_numpy(np.ascontiguousarray(new)))
    return model.double()


def resnet_name(path):
    path = path.replace("downsample.0", "project").replace("downsample.1", "norm_project")
    path = re.sub(r"layer(\d)\.(\d+)\.", lambda m: f"stage{int(m[1]) - 1}_block{m[2]}/", path)
    return {"conv1": "stem", "bn1": "norm_stem", "fc": "logits"}.get(path, path.replace("bn", "norm"))


class Tail(nn.Module):
    """Flattens as we do, [height, width, maps], and ends in dense layers."""

    def __init__(self, *widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))

    def forward(self, x):
        x = x.permute(0, 2, 3, 1).flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


def vgg():
    names = [f"conv{stage}_{i}" for stage, count in enumerate((1, 1, 2, 2, 2)) for i in range(count)]
    features = torchvision.models.vgg11().features
    places = [str(i) for i, layer in enumerate(features) if isinstance(layer, nn.Conv2d)]
    rename = {f"0.{place}": name for place, name in zip(places, names, strict=True)}
    rename |= {f"1.layers.{i}": f"fc{i + 6}" for i in range(3)}
    return fill(nn.Sequential(features, Tail(512, 32, 32, 10)), lambda path: rename.get(path, path))


def alexnet():
    w, norm = 24, lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)  # torch divides alpha by the size
    layers = {
        "conv1": nn.Conv2d(3, w, 11, 4, 2), "r1": nn.ReLU(), "n1": norm(), "p1": nn.MaxPool2d(3, 2),
        "conv2": nn.Conv2d(w, 64, 5, 1, 2, groups=2), "r2": nn.ReLU(), "n2": norm(), "p2": nn.MaxPool2d(3, 2),
        "conv3": nn.Conv2d(64, 4 * w, 3, 1, 1), "r3": nn.ReLU(),
        "conv4": nn.Conv2d(4 * w, 4 * w, 3, 1, 1, groups=2), "r4": nn.ReLU(),
        "conv5": nn.Conv2d(4 * w, 64, 3, 1, 1, groups=2), "r5": nn.ReLU(), "p5": nn.MaxPool2d(3, 2),
        "tail": Tail(64 * 2 * 2, 32, 32, 10),
    }  # fmt: skip
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return fill(model, lambda path: {f"tail.layers.{i}": f"fc{i + 6}" for i in range(3)}.get(path, path))


class Branches(nn.Module):
    def __init__(self, inputs, one, before_three, three, before_five, five, pooled):
        super().__init__()
        self.one = nn.Conv2d(inputs, one, 1)
        self.before_three, self.three = nn.Conv2d(inputs, before_three, 1), nn.Conv2d(before_three, three, 3, padding=1)
        self.before_five, self.five = nn.Conv2d(inputs, before_five, 1), nn.Conv2d(before_five, five, 5, padding=2)
        self.pool, self.pooled = nn.MaxPool2d(3, 1, 1), nn.Conv2d(inputs, pooled, 1)

    def forward(self, x):
        three = self.three(self.before_three(x).relu())
        five = self.five(self.before_five(x).relu())
        return torch.cat([self.one(x), three, five, self.pooled(self.pool(x))], 1).relu()


def googlenet():
    """Of a quarter of its width."""
    norm = lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    model = nn.Sequential()
    for name, layer in {
        "conv1": nn.Conv2d(3, 16, 7, 2, 3), "r1": nn.ReLU(), "p1": pool(), "n1": norm(),
        "before_conv2": nn.Conv2d(16, 16, 1), "rb": nn.ReLU(),
        "conv2": nn.Conv2d(16, 48, 3, padding=1), "r2": nn.ReLU(), "n2": norm(), "p2": pool(),
    }.items():  # fmt: skip
        model.add_module(name, layer)
    inputs = 48
    for name, maps in {
        "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "p3": None,
        "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128), "p4": None,
        "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
    }.items():  # fmt: skip
        if maps is None:
            model.add_module(name, pool())
            continue
        one, before_three, three, before_five, five, pooled = (n // 4 for n in maps)
        model.add_module(f"inception{name}", Branches(inputs, one, before_three, three, before_five, five, pooled))
        inputs = one + three + five + pooled
    model.add_module("mean", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("logits", nn.Linear(inputs, 10))
    return fill(model, lambda path: path.replace(".", "/"))


def images(batch, side):
    return torch.from_numpy(numbers("images", batch, side, side, 3)).permute(0, 3, 1, 2).double()


@torch.no_grad()
def main():
    out = {}
    for depth in (18, 50):
        model = fill(getattr(torchvision.models, f"resnet{depth}")(num_classes=10), resnet_name)
        name = f"resnet{depth}"
        out[f"{name}.eval"] = model.eval()(images(4, 64))
        out[f"{name}.train"] = model.train()(images(4, 64))
        last = model.layer4[-1]
        for norm, module in (("first", model.bn1), ("last", last.bn2 if depth == 18 else last.bn3)):
            out[f"{name}.{norm}.mean"], out[f"{name}.{norm}.var"] = module.running_mean, module.running_var
    out["vgg11.eval"] = vgg().eval()(images(4, 32))
    out["alexnet.eval"] = alexnet().eval()(images(4, 96))
    out["googlenet.eval"] = googlenet().eval()(images(4, 64))
    for name, value in out.items():
        print(name, tuple(value.shape), float(value.abs().max()))
    np.savez_compressed(OUT, **{name: value.numpy().astype(np.float32) for name, value in out.items()})


if __name__ == "__main__":
    main()
