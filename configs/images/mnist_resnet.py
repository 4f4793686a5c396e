"""ResNet-8 with batch norm on 4,000 MNIST digits, 1,000 held out.

python -m train --config configs/images/mnist_resnet.py --workdir runs/mnist_resnet

System      ResNet-8, 2015
Parameters  19,810
Data        MNIST-5k
Baseline    0.918 by logistic regression
Measured    accuracy 0.977, 12 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 400
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.update(name="resnet:ResNet", classes=10, blocks=1, width=8)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=True)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 200
    return config
