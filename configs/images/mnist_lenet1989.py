"""LeNet of 1989 on 4,000 MNIST digits of 16 × 16 pixels, 1,000 held out.

python -m train --config configs/images/mnist_lenet1989.py --workdir runs/mnist_lenet1989

The paper's digits are of zip codes (7,291 to train on, 5.0 % of 2,007 others wrong), and its loss is the squared error
of ten tanh units; here it is the cross-entropy of ten linear ones.

System      LeNet, 1989
Parameters  9,760
Data        MNIST-5k
Published   95.0 % of zip code digits (LeCun et al. 1989)
Measured    accuracy 0.961, 9 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k", size=16)
    config.model.update(name="lenet:LeNet1989", classes=10)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=3e-3, weight_decay=0.1)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 1000
    return config
