"""LeNet-5 on 4,000 MNIST digits, 1,000 held out.

python -m train --config configs/mnist_lenet.py --workdir runs/mnist_lenet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.update(name="lenet:LeNet5", classes=10, activation="relu")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.05)
    config.schedule.update(name="cosine", warmup=100)
    config.eval.every = 500
    return config
