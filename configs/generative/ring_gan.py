"""GAN on eight Gaussians around a ring: two players, two optimizers, one scalar.

python -m train --config configs/generative/ring_gan.py --workdir runs/ring_gan
python -m scripts.score.ring --workdir runs/ring_gan

Losses at the end: generator 1.203, critic 1.255 (at the players' equilibrium ln 2 = 0.693 and 2 ln 2 = 1.386);
19 s on two shared cores (84005ce).  On another machine 80.1 % of samples lay within 3σ of a Gaussian, and six of the
eight had a tenth of their share or more (a24c9c8): this game does not settle, ring_diffusion does.  Later 80.2 %, all
eight; with a cosine schedule 52.1 %, and ema=0.999 51.3 %; with both and task.r1=0.01 40.3 %, 0.1 22.6 %, 1.0 9.1 %
(cab8afa, one seed each): penalties make the shares even and the Gaussians wide.

System      GAN, 2014
Parameters  35,971
Data        eight Gaussians on a ring
Published   generator ln 2 = 0.693, critic 2 ln 2 = 1.386 at the equilibrium
Measured    critic_loss 1.254, 8 s (36069ca)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 16_000
    config.batch_size = 256
    config.log_every = 800
    config.data.update(name="synthetic:ring")
    config.model.generator = {"name": "gan:Generator", "shape": (2,), "width": 128, "layers": 2}
    config.model.critic = {"name": "gan:Critic", "width": 128, "layers": 2}
    config.task.update(name="gan:gan", latent=16, pack=2)
    config.optim.generator = {"name": "adam", "learning_rate": 5e-4, "b1": 0.5}
    config.optim.critic = {"name": "adam", "learning_rate": 1e-3, "b1": 0.5}
    return config
