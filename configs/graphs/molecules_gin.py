"""A graph isomorphism network finds the group N=O in drawn molecules, where a bag of atoms is at chance.

python -m train --config configs/graphs/molecules_gin.py --workdir runs/molecules_gin

A bag of atoms is right in 0.498 (`--config.model.layers=0`, 600 steps); the network without the kinds of bonds in 0.734
(`--config.model.bonds=0`), where 0.75 is the most: half of the molecules without N=O have N-O.

System      GIN with kinds of bonds on drawn molecules, 2020
Parameters  7,845
Data        molecules with a planted group, drawn
Baseline    0.498 by a bag of atoms
Measured    accuracy 1, 4 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 300
    config.batch_size = 64
    config.data.update(name="molecules:nitroso", atoms=16, train=2000, valid=500)
    config.model.update(name="gin:GIN", classes=2, vocab=5, width=32, layers=3, bonds=2, pool="sum")
    config.task.update(name="graphs:classify")
    config.optim.update(name="adam", learning_rate=3e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 100
    return config
