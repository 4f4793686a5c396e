"""GoogLeNet of a quarter of its width, with batch norm, on drawn shapes in ten classes.

python -m train --config configs/images/shapes_googlenet.py --workdir runs/shapes_googlenet

System      GoogLeNet, small, 2014
Parameters  380,766
Data        drawn shapes, 8,000 images of 32 × 32
Baseline    0.119 by logistic regression
Measured    accuracy 0.996, 307 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 64
    config.data.update(name="shapes:classify", train=8000, valid=2000)
    config.model.update(name="googlenet:GoogLeNet", classes=10, width=16, dropout=0.2, stem="small", norm="batch")
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.05, momentum=0.9, nesterov=True)
    config.schedule.update(name="cosine", warmup=0.167)
    config.eval.every = 300
    return config
