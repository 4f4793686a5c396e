"""Super-resolution of digits by two: a small U-Net adds what bicubic interpolation has lost.

python -m train --config configs/images/mnist_enlarged.py --workdir runs/mnist_enlarged

`psnr_identity`, 19.56 dB, is the bicubic picture's.

System      Super-resolution by a CNN, 2014
Parameters  25,393
Data        MNIST-5k
Baseline    19.56 by bicubic interpolation
Measured    psnr 27.61, 23 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 32
    config.data.update(name="enlarged:columns", dataset="isoflop_mnist5k", factor=2)
    config.model.update(name="unet:UNet", classes=1, width=16, halvings=1)
    config.task.update(name="reconstruct:restore")
    config.optim.update(name="adam", learning_rate=2e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 300
    return config
