"""DCGAN in full, 1,024 maps to 128, on ImageNet at 64 × 64 pixels.

python -m train --config configs/generative/dcgan_15m.py --workdir runs/dcgan_15m

The generator's maps are the paper's (figure 1).  `python -m train plan --config dcgan_15m` says what a step costs.

System      DCGAN, 2015
Parameters  15,424,068
Data        ImageNet, 64 × 64
Get         uv run --extra prepare python -m data prepare imagenet2012; its two archives from image-net.org go into
            ~/.cache/isoflop/tfds/downloads/manual first
Published   82.8 % of CIFAR-10 by a linear SVM on its critic's features (Radford et al. 2015, at 32 × 32 pixels)
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 20_000
    config.batch_size = 128
    config.precision = "bfloat16"
    config.data.update(name="arrays:columns", dataset="imagenet2012", size=64)
    config.model.generator = {"name": "dcgan:Generator", "shape": (64, 64, 3), "width": 128}
    config.model.critic = {"name": "dcgan:Critic", "width": 64}
    config.task.update(name="gan:gan", latent=100)
    config.optim.generator = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5}
    config.optim.critic = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5}
    config.eval.every = 2000
    return config
