"""ResNet-92 of 25 M parameters (three stages, as for CIFAR) on random 64 × 64 images in 1,000 classes.

python -m train --config configs/images/resnet_25m.py --workdir runs/resnet_25m

`plan --topology v5e:2x4`: 5.5 of 16 GiB a chip, 50 ms a step by the roofline,
MFU 99 % (ffe9a44): a bound that no real run comes near.

System      ResNet-92, 2015
Parameters  23,183,144
Data        random images
Baseline    1/1000, chance: no network is expected to do better on random images
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 112_000
    config.batch_size = 1024
    config.precision = "bfloat16"
    config.data.update(name="random:images", side=64, classes=1000, train=1_281_167, valid=50_000)
    config.model.update(name="resnet:ResNet", classes=1000, blocks=15, width=64)
    config.task.update(name="supervised:classify", label_smoothing=0.1)
    config.optim.update(name="sgd", learning_rate=0.4, momentum=0.9, nesterov=True)
    config.schedule.update(name="cosine", warmup=0.04464)
    return config
