"""VGG-16 on ImageNet, as in the paper but for the crops.

python -m train --config configs/images/imagenet_vgg16.py --workdir runs/imagenet_vgg16

Images are cropped to a square, scaled to 224 × 224, shifted by up to 16 pixels and mirrored; the
paper also changes colours and scales, and begins with the weights of a shallower network.

System      VGG-16, 2014
Parameters  138,357,544
Data        ImageNet
Get         uv run --extra prepare python -m data prepare imagenet2012; its two archives from image-net.org go into
            ~/.cache/isoflop/tfds/downloads/manual first
Published   73.0 % top-1 of the validation set, one scale (Simonyan & Zisserman 2014)
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 370_000  # 74 epochs
    config.batch_size = 256
    config.precision = "bfloat16"
    config.data.update(name="arrays:columns", dataset="imagenet2012", size=224)
    config.augment.crop = {"padding": 16}
    config.augment.flip = {}
    config.model.update(name="vgg:VGG", classes=1000, depth=16, width=64, hidden=4096)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.01, momentum=0.9)
    config.schedule.update(name="step", at=(0.5, 0.75, 0.9))
    config.eval.every = 20_000
    config.checkpoint.every = 20_000
    return config
