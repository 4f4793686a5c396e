"""Threshold units composed to every Boolean function of three inputs, all 256 at once.

python -m train --config configs/classics/mcculloch_pitts.py --workdir runs/mcculloch_pitts

Nothing is learnt: the network is written down, and the gradient of a threshold is 0.  `loss` is the share of
wrong entries of the 256 truth tables.

System      McCulloch–Pitts units, 1943
Parameters  2,336
Data        the 256 truth tables of three inputs
Published   nets of such units realise every Boolean function (McCulloch & Pitts 1943)
Measured    loss 0, 1 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 10
    config.batch_size = 8
    config.data.update(name="neurons:truth_tables", inputs=3)
    config.model.update(name="mcculloch_pitts:ThresholdNetwork", inputs=3)
    config.task.update(name="supervised:regress", loss="mae")
    config.optim.update(name="sgd", learning_rate=1.0)
    return config
