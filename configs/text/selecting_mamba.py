"""Mamba on selective copying: six symbols at random places among 26 blanks, to be repeated in order.

python -m train --config configs/text/selecting_mamba.py --workdir runs/selecting_mamba
python -m train --config configs/text/selecting_s4.py --workdir runs/selecting_s4

selecting_s4 is the same network, but for layers whose rates the tokens do not choose; its accuracy is 0.7675.

System      Mamba, 2023
Parameters  17,184
Data        selective copying, generated
Published   accuracy 0.998 at 4,096 tokens (Gu & Dao 2023, table 1)
Measured    accuracy 0.9999, 42 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2500
    config.batch_size = 32
    config.log_every = 100
    config.data.update(name="sequences:selecting", shown=6, noise=26)
    config.model.update(name="mamba:Mamba", vocab=10, layers=2, width=32, state=8, scan="recurrent")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=3e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 500
    return config
