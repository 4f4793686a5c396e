"""Residual networks (He, Zhang, Ren & Sun 2015, "Deep residual learning"; 2016, "Identity mappings", pre-activation).

A shortcut is the identity, or a 1 × 1 projection where the shape changes (option B of the first paper).
"""

from typing import Literal

from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.activations import ACTIVATIONS, ActivationName
from models.parts.convolution import conv, max_pool
from models.parts.norms import batch_norm

Images = Float[Array, "batch h w c"]

Kind = Literal["basic", "bottleneck"]
Order = Literal["post", "pre"]
Stem = Literal["small", "large"]

# Blocks a stage, and the kind of block, by the number of layers (table 1 of the first paper).
DEPTHS: dict[int, tuple[tuple[int, ...], Kind]] = {
    18: ((2, 2, 2, 2), "basic"),
    34: ((3, 4, 6, 3), "basic"),
    50: ((3, 4, 6, 3), "bottleneck"),
    101: ((3, 4, 23, 3), "bottleneck"),
    152: ((3, 8, 36, 3), "bottleneck"),
}
# (outputs over `features`, kernel) of a block's convolutions, and which of them takes the block's stride.  The
# bottleneck's is in its 3 × 3, as in torchvision; the paper's is in the 1 × 1 before, which skips three of four inputs.
CONVOLUTIONS = {"basic": ((1, 3), (1, 3)), "bottleneck": ((1, 1), (1, 3), (4, 1))}
STRIDED = {"basic": 0, "bottleneck": 1}
SMALLEST = {"blocks": 1, "depth": 18, "width": 16}  # at which pages are tested


class Block(nn.Module):
    """Two or three convolutions and a shortcut around them.

    `order` says where norm and ReLU stand: "post", after each convolution (the last ReLU after the sum), or "pre",
    before it, so that nothing but sums lies between a block's input and the end.
    """

    features: int
    stride: int = 1
    kind: Kind = "basic"
    order: Order = "post"
    outputs: int | None = None  # of the last convolution, where the kind of block does not say it
    strided: int | None = None  # which convolution takes the stride, where the kind of block does not say it
    activation: ActivationName = "relu"  # of the sum

    @nn.compact
    def __call__(self, x: Images, *, train: bool) -> Float[Array, "batch h2 w2 features"]:
        layers, strided = CONVOLUTIONS[self.kind], STRIDED[self.kind] if self.strided is None else self.strided
        norm = lambda y, name: batch_norm(train, name)(y)
        pre = self.order == "pre"
        y = first = nn.relu(norm(x, "norm1")) if pre else x
        for i, (times, kernel) in enumerate(layers, 1):
            stride = self.stride if i == strided + 1 else 1
            maps = self.outputs if self.outputs is not None and i == len(layers) else times * self.features
            y = conv(maps, kernel, stride, use_bias=False, name=f"conv{i}")(y)
            if pre and i < len(layers):
                y = nn.relu(norm(y, f"norm{i + 1}"))
            elif not pre:
                y = norm(y, f"norm{i}")
                y = nn.relu(y) if i < len(layers) else y
        if x.shape != y.shape or self.stride != 1:
            x = conv(y.shape[-1], 1, self.stride, use_bias=False, name="project")(first)
            x = x if pre else norm(x, "norm_project")
        return x + y if pre else ACTIVATIONS[self.activation](x + y)


class ResNet(nn.Module):
    """`blocks` blocks in each stage, at widths `width`, 2 `width`, …; as an int, in each of three stages.

    The default is the first paper's ResNet-20 for CIFAR: 6 `blocks` + 2 layers.  `stem` is what comes first: "small",
    a 3 × 3 convolution, or "large", a 7 × 7 of stride 2 and a max-pool of stride 2.  `widths` says the maps that each
    stage gives where they do not double; `strided` and `halving` are of public checkpoints, as are `channels` that
    stand first.
    """

    classes: int
    blocks: int | tuple[int, ...] = 3
    width: int = 16
    block: Kind = "basic"
    order: Order = "post"
    stem: Stem = "small"
    widths: tuple[int, ...] | None = None
    strided: int | None = None  # which convolution of a block takes its stride
    halving: Literal["later stages", "every stage"] = "later stages"
    activation: ActivationName = "relu"  # of the stem and of sums
    channels: Literal["last", "first"] = "last"
    colours: int | None = None

    @nn.compact
    def __call__(self, x: Images, *, train: bool = False) -> Float[Array, "batch classes"]:
        x = x if self.channels == "last" else x.transpose(0, 2, 3, 1)
        if self.colours is not None and x.shape[-1] != self.colours:
            raise ValueError(f"images of {x.shape[-1]} colours, where colours={self.colours}")
        kernel, stride = {"small": (3, 1), "large": (7, 2)}[self.stem]
        x = conv(self.width, kernel, stride, use_bias=False, name="stem")(x)
        if self.order == "post":
            x = ACTIVATIONS[self.activation](batch_norm(train, "norm_stem")(x))
        if self.stem == "large":
            x = max_pool(x, 3, 2, padding=1)
        stages = (self.blocks,) * 3 if isinstance(self.blocks, int) else self.blocks
        for stage, blocks in enumerate(stages):
            for i in range(blocks):
                stride = 2 if i == 0 and (stage > 0 or self.halving == "every stage") else 1
                features, outputs = self.width * 2**stage, None
                if self.widths is not None:
                    outputs = self.widths[stage]
                    features = outputs // 4 if self.block == "bottleneck" else outputs
                options = {"outputs": outputs, "strided": self.strided, "activation": self.activation}
                name = f"stage{stage}_block{i}"
                x = Block(features, stride, self.block, self.order, **options, name=name)(x, train=train)
        if self.order == "pre":
            x = nn.relu(batch_norm(train, "norm_last")(x))
        return nn.Dense(self.classes, name="logits")(x.mean(axis=(1, 2)))


def imagenet(
    classes: int = 1000,
    *,
    depth: Literal[18, 34, 50, 101, 152] = 50,
    width: int = 64,
    order: Order = "post",
    stem: Stem = "large",
) -> ResNet:
    """ResNet-18, 34, 50, 101 or 152, for images of 224 × 224; stem="small" is for those of 32 × 32."""
    blocks, block = DEPTHS[depth]
    return ResNet(classes, blocks, width, block, order, stem)
