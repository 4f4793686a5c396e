"""Super-resolution of photographs by two: a small U-Net adds what bicubic interpolation has lost.

python -m train --config configs/images/photos_unet.py --workdir runs/photos_unet

On pieces of the two photographs' right quarters, of which it has seen nothing; `psnr_identity` is the bicubic picture.

System      Super-resolution by a CNN, 2014
Parameters  10,243
Data        two photographs in a package
Published   nothing comparable
Measured    psnr not measured yet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 16
    config.data.update(name="photos:enlarged", factor=2, side=32, train=4000, valid=200)
    config.model.update(name="unet:UNet", classes=3, width=32, halvings=0)
    config.task.update(name="reconstruct:restore")
    config.optim.update(name="adam", learning_rate=1e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    return config
