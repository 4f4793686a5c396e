"""AlexNet on ImageNet, as in the paper but for the crops.

python -m train --config configs/images/imagenet_alexnet.py --workdir runs/imagenet_alexnet

Images are cropped to a square, scaled to 224 × 224, shifted by up to 16 pixels and mirrored; the paper
also changes their colours.  Its initial weights of deviation 0.01 and biases of 1 are He's here.

System      AlexNet, 2012
Parameters  60,965,224
Data        ImageNet
Get         uv run --extra prepare python -m data prepare imagenet2012; its two archives from image-net.org go into
            ~/.cache/isoflop/tfds/downloads/manual first
Published   59.3 % top-1 of the validation set, ten crops (Krizhevsky et al. 2012)
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 901_000  # 90 epochs
    config.batch_size = 128
    config.precision = "bfloat16"
    config.data.update(name="arrays:columns", dataset="imagenet2012", size=224)
    config.augment.crop = {"padding": 16}
    config.augment.flip = {}
    config.model.update(name="alexnet:AlexNet", classes=1000, width=96, hidden=4096)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.01, momentum=0.9)
    config.schedule.update(name="step", at=(0.33, 0.66, 0.9))
    config.eval.every = 20_000
    config.checkpoint.every = 20_000
    return config
