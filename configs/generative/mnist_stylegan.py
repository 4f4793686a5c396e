"""StyleGAN on MNIST digits of 16 × 16 pixels: mapping network, modulated convolutions, noise, style mixing.

python -m train --config configs/generative/mnist_stylegan.py --workdir runs/mnist_stylegan
python -m train sample --workdir runs/mnist_stylegan      digits, walk, mixing: coarse by row, fine by column
python -m train score --workdir runs/mnist_stylegan --judge runs/judge16

The judge is `python -m train --config mnist_resnet --config.data.size=16 --workdir runs/judge16` (97.1 %).  The Fréchet
distance of 1,000 samples by it falls from 34.1 at step 500 to 12.0 and 9.8 at step 1,500; training digits have 0.37.
All ten digits come: 9.5 classes in effect (bf43f01).  Before its noise was drawn in one piece it was 33.2, 16.4 and 8.2
(483b3d1; one seed each).  158 CPU s, its seconds below on a machine that others used too.  Draws from one Gaussian of
the pixels have 94.7, of each pixel alone 141.5:
`python -m scripts.score.baselines --config mnist_stylegan --judge runs/judge16`.

System      StyleGAN 2, 2020
Parameters  213,126
Data        MNIST-5k, 16 × 16
Baseline    Fréchet distance 94.7 by a Gaussian of the pixels; this network 9.8, training digits 0.37
Measured    critic_loss 1.368, 4,687 s (bf43f01)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.log_every = 100
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k", size=16)
    config.model.generator = {
        "name": "stylegan:Generator",
        "shape": (16, 16, 1),
        "width": 16,
        "style": 64,
        "mapping": 4,
    }
    config.model.critic = {"name": "stylegan:Critic", "width": 16}
    config.task.update(name="gan:gan", latent=64, r1=1.0)
    config.optim.generator = {"name": "adam", "learning_rate": 1e-3, "b1": 0.0, "b2": 0.99}
    config.optim.critic = {"name": "adam", "learning_rate": 1e-3, "b1": 0.0, "b2": 0.99}
    config.ema = 0.99
    config.eval.every = 500
    config.checkpoint.update(every=500, keep=4)
    return config
