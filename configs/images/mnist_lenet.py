"""LeNet-5 on 4,000 MNIST digits, 1,000 held out.

python -m train --config configs/images/mnist_lenet.py --workdir runs/mnist_lenet

98.8 % of MNIST's 10,000 test images (scripts/score/idx.py), on another machine 98.9 %.  Of 3,000, 5,000 and 8,000
steps the 1,000 held out chose 5,000 (98.3, 98.5, 98.3 % there).

System      LeNet-5, 1998
Parameters  61,706
Data        MNIST-5k
Published   99.05 % of MNIST's test images, trained on 60,000 (LeCun et al. 1998)
Measured    accuracy 0.985, 43 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 5000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.augment.crop = {"padding": 2}
    config.model.update(name="lenet:LeNet5", classes=10, activation="relu")
    config.task.update(name="supervised:classify", label_smoothing=0.1)
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.1)
    config.schedule.update(name="cosine", warmup=0.02)
    config.ema = 0.998
    config.eval.every = 1000
    return config
