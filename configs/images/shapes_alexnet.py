"""A small AlexNet on drawn shapes in ten classes.

python -m train --config configs/images/shapes_alexnet.py --workdir runs/shapes_alexnet

It learns nothing for 300 steps or more, and when it leaves that plateau is up to chance: without clipped gradients it
ended at 0.9455 on one processor and at 0.78 on another, from the same seed; with them at 0.915 and 0.952 (two seeds).

System      AlexNet, small, 2012
Parameters  237,418
Data        drawn shapes, 8,000 images of 32 × 32
Baseline    0.119 by logistic regression
Measured    accuracy 0.915, 124 s (3f88a13)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.data.update(name="shapes:classify", train=8000, valid=2000)
    config.model.update(name="alexnet:AlexNet", classes=10, width=24, hidden=128, dropout=0.2, stem="small")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.05, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 500
    return config
