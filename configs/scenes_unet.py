"""A small U-Net on generated scenes: background, ellipse, rectangle or triangle, for every pixel.

python -m train --config configs/scenes_unet.py --workdir runs/scenes_unet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 300
    config.batch_size = 16
    config.data.update(name="scenes:segment", side=64, train=2000, valid=500)
    config.model.update(name="unet:UNet", classes=4, width=8, depth=3)
    config.task.update(name="segment:segment")
    config.optim.update(name="adamw", learning_rate=3e-3, weight_decay=0.01)
    config.schedule.update(name="cosine", warmup=50)
    config.eval.batch_size = 100
    return config
