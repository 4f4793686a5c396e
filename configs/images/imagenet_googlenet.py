"""GoogLeNet on ImageNet, without its auxiliary classifiers.

python -m train --config configs/images/imagenet_googlenet.py --workdir runs/imagenet_googlenet

Images are cropped to a square, scaled to 224 × 224, shifted by up to 16 pixels and mirrored; the
learning rate falls by 4 % every 8 epochs in the paper, linearly here.

System      GoogLeNet, 2014
Parameters  6,998,552
Data        ImageNet
Get         uv run --extra prepare python -m data prepare imagenet2012; its two archives from image-net.org go into
            ~/.cache/isoflop/tfds/downloads/manual first
Published   89.9 % top-5 of the validation set, one crop (Szegedy et al. 2014)
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 300_000  # 60 epochs
    config.batch_size = 256
    config.precision = "bfloat16"
    config.data.update(name="arrays:columns", dataset="imagenet2012", size=224)
    config.augment.crop = {"padding": 16}
    config.augment.flip = {}
    config.model.update(name="googlenet:GoogLeNet", classes=1000, width=64)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.01, momentum=0.9)
    config.schedule.update(name="linear")
    config.eval.every = 20_000
    config.checkpoint.every = 20_000
    return config
