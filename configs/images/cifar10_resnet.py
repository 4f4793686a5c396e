"""ResNet-20 on CIFAR-10, as in the paper.

python -m train --config configs/images/cifar10_resnet.py --workdir runs/cifar10_resnet

System      ResNet-20, 2015
Parameters  272,474
Data        CIFAR-10
Get         uv run --extra prepare python -m data prepare cifar10
Published   91.25 % of the test images (He et al. 2015)
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 64_000
    config.batch_size = 128
    config.data.update(name="arrays:columns", dataset="cifar10")
    config.augment.crop = {"padding": 4}
    config.augment.flip = {}
    config.model.update(name="resnet:ResNet", classes=10, blocks=3, width=16)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.1, momentum=0.9)
    config.schedule.update(name="step", at=(0.5, 0.75), warmup=0.00625)
    config.eval.every = 4000
    config.checkpoint.every = 4000
    return config
