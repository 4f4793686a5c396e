"""A small Vision Transformer on 4,000 MNIST digits, 1,000 held out.

python -m train --config configs/images/mnist_vit.py --workdir runs/mnist_vit

Sixteen patches of 7 × 7 and a class token; compare mnist_lenet, whose convolutions know that digits may move.

System      Vision Transformer, 2020
Parameters  105,546
Data        MNIST-5k
Baseline    0.918 by logistic regression
Measured    accuracy 0.968, 69 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 3000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.augment.crop = {"padding": 2}
    config.model.update(name="vit:ViT", classes=10, layers=3, heads=4, width=64, inner=128, patch=7)
    config.task.update(name="supervised:classify", label_smoothing=0.1)
    config.optim.update(name="adamw", learning_rate=1e-3, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.0667)
    config.ema = 0.998
    config.eval.every = 1000
    return config
