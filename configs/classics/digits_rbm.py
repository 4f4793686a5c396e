"""Restricted Boltzmann machine on 8 × 8 digits by contrastive divergence, CD-1.

python -m train --config configs/classics/digits_rbm.py --workdir runs/digits_rbm

`reconstruction_error` is the share of pixels in which a record, drawn of its grey values, and a sample of it differ; a
second draw of the same grey values differs in 0.1424 (`python -m scripts.score.baselines --config digits_rbm`).

System      Restricted Boltzmann machine, 2002
Parameters  4,224
Data        8 × 8 digits
Baseline    0.2297 by the likelier value of each pixel, 0.2881 by draws with its mean
Measured    reconstruction_error 0.2158, 1 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_digits")
    config.model.update(name="rbm:RBM", hidden=64)
    config.task.update(name="rbm:contrastive_divergence", sweeps=1)
    config.optim.update(name="sgd", learning_rate=0.05, momentum=0.5)
    return config
