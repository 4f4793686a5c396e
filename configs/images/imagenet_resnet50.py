"""ResNet-50 on ImageNet.

python -m train --config configs/images/imagenet_resnet50.py --workdir runs/imagenet_resnet50

Images are cropped to a square, scaled to 224 × 224, shifted by up to 16 pixels and mirrored; the
recipe is Goyal et al. 2017 at batch 1,024.

System      ResNet-50, 2015
Parameters  25,557,032
Data        ImageNet
Get         uv run --extra prepare python -m data prepare imagenet2012; its two archives from image-net.org go into
            ~/.cache/isoflop/tfds/downloads/manual first
Published   76.1 % top-1 of the validation set, one crop (torchvision, the same stride)
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 113_000  # 90 epochs
    config.batch_size = 1024
    config.precision = "bfloat16"
    config.data.update(name="arrays:columns", dataset="imagenet2012", size=224)
    config.augment.crop = {"padding": 16}
    config.augment.flip = {}
    config.model.update(name="resnet:imagenet", classes=1000, depth=50, width=64)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.4, momentum=0.9, nesterov=True)
    config.schedule.update(name="step", at=(0.33, 0.66, 0.88), warmup=0.05531)
    config.eval.every = 20_000
    config.checkpoint.every = 20_000
    return config
