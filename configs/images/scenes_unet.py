"""A small U-Net on generated scenes: background, ellipse, rectangle or triangle, for every pixel.

python -m train --config configs/images/scenes_unet.py --workdir runs/scenes_unet

`iou` is of all pixels of the three shapes together.  Of each class: background 0.994, ellipse 0.903, rectangle 0.899,
triangle 0.872; mean 0.917 (36069ca).  Colours tell the ground from shapes, and no shape from another.

System      U-Net, 2015
Parameters  121,204
Data        generated scenes, 64 × 64
Baseline    0.2492 by logistic regression on a pixel's colour and that of the ground
Measured    iou 0.8942, 52 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 8
    config.data.update(name="scenes:segment", side=64, train=2000, valid=500)
    config.model.update(name="unet:UNet", classes=4, width=8, halvings=3, norm="batch")
    config.task.update(name="segment:segment")
    config.optim.update(name="adamw", learning_rate=4e-3, weight_decay=0.01)
    config.schedule.update(name="cosine", warmup=0.083)
    config.eval.batch_size = 100
    return config
