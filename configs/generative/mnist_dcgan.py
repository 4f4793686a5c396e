"""DCGAN on MNIST digits.

python -m train --config configs/generative/mnist_dcgan.py --workdir runs/mnist_dcgan

python -m train sample --workdir runs/mnist_dcgan                                a sheet of digits, and a latent walk
python -m train score --workdir runs/mnist_dcgan --judge runs/mnist_lenet        Fréchet distance of 1,000 samples

By the LeNet of configs/images/mnist_lenet.py the distance falls from 3.96 at step 500 (`--step 500`) to 2.64, 2.31 and
2.16 at step 2,000; training digits have 0.05, the VAE of mnist_vae 5.5.  All ten digits come: 9.1 classes in effect.
112 CPU s.  Draws from one Gaussian of the pixels have 11.7, of each pixel alone 22.4:
`python -m scripts.score.baselines --config mnist_dcgan --judge runs/mnist_lenet`.

System      DCGAN, 2015
Parameters  155,114
Data        MNIST-5k
Baseline    Fréchet distance 11.7 by a Gaussian of the pixels; this network 2.16, training digits 0.05
Measured    critic_loss 2.069, 610 s (11d41a7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.generator = {"name": "dcgan:Generator", "shape": (28, 28, 1), "width": 32}
    config.model.critic = {"name": "dcgan:Critic", "width": 24}
    config.task.update(name="gan:gan", latent=32)
    config.optim.generator = {"name": "adam", "learning_rate": 5e-4, "b1": 0.5}
    config.optim.critic = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5}
    config.ema = 0.99
    config.eval.every = 500
    config.checkpoint.update(every=500, keep=4)
    return config
