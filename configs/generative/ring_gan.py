"""GAN on eight Gaussians around a ring: two players, two optimizers, one scalar.

python -m train --config configs/generative/ring_gan.py --workdir runs/ring_gan
python -m scripts.score.ring --workdir runs/ring_gan

Of three seeds 93.9, 92.3 and 93.4 % of samples lie within 3σ of a Gaussian (of the data 98.9 %), and all eight have
samples, each at least 0.82 of an equal share; losses at the end: generator 0.774, critic 1.374 (58166ce).

Length brings the samples to the Gaussians, and a critic that judges two records at a time (`task.pack`) brings all
eight.  Means of three seeds of an experiment with the same networks: share near, how many Gaussians, the smallest
share of any seed.

4,000 steps, one record at a time    0.71  7.3  0.01      16,000 steps, one record at a time   0.94  7.3  0.01
two records                          0.70  8.0  0.12      two records                          0.95  8.0  0.62
four records                         0.37  8.0  0.10      two, rates falling in the last half  0.94  8.0  0.48
relativistic pairs                   0.77  4.7  0.00      one, rates falling in the last half  0.94  7.3  0.01
pairs, R1 and R2 of 0.01             0.40  8.0  0.14      relativistic pairs                   0.95  5.3  0.00
pairs, R1 and R2 of 0.1              0.33  8.0  0.16
b1=0                                 0.47  5.7  0.00      b1=0                                0.93  7.0  0.01
                                                          pairs, R1 and R2 of 0.01            0.82  8.0  0.56
                                                          rates of 2e-4 and 2e-3              0.95  1.3  0.00

Earlier, of 4,000 steps and one seed each: a cosine schedule 0.52, ema=0.999 0.51, both and r1=0.01 0.40 (cab8afa).

System      GAN, 2014
Parameters  36,227
Data        eight Gaussians on a ring
Published   generator ln 2 = 0.693, critic 2 ln 2 = 1.386 at the equilibrium
Measured    critic_loss 1.374, 33 s (2c9c4f7)
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
