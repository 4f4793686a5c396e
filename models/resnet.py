"""Residual network for small images (He, Zhang, Ren & Sun 2015, section 4.2): 6n + 2 layers in three stages."""

from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import batch_norm


class Block(nn.Module):
    """Two 3 × 3 convolutions and a shortcut: identity, or a strided projection where the shape changes."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool) -> Float[Array, "batch h2 w2 features"]:
        strides = (self.stride, self.stride)
        y = nn.Conv(self.features, (3, 3), strides, use_bias=False, name="conv1")(x)
        y = nn.relu(batch_norm(train, "norm1")(y))
        y = nn.Conv(self.features, (3, 3), use_bias=False, name="conv2")(y)
        y = batch_norm(train, "norm2")(y)
        if x.shape != y.shape:
            x = nn.Conv(self.features, (1, 1), strides, use_bias=False, name="project")(x)
            x = batch_norm(train, "norm_project")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """`blocks` blocks a stage at widths `width`, 2 `width`, 4 `width`; blocks=3, width=16 is the paper's ResNet-20."""

    classes: int
    blocks: int = 3
    width: int = 16

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch classes"]:
        x = nn.Conv(self.width, (3, 3), use_bias=False, name="stem")(x)
        x = nn.relu(batch_norm(train, "norm_stem")(x))
        for stage in range(3):
            for i in range(self.blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                x = Block(self.width * 2**stage, stride, name=f"stage{stage}_block{i}")(x, train=train)
        return nn.Dense(self.classes, name="logits")(x.mean(axis=(1, 2)))
