"""Elman's network on the adding problem: of 100 numbers, the sum of the two that are marked.

python -m train --config configs/series/adding_rnn.py --workdir runs/adding_rnn

The best constant has a loss of 1/6; adding_lstm, adding_gru and adding_rnn differ in the cell alone. From
`--config.model.recurrent=orthogonal` its gradient does not vanish at first, and it is at 0.04 by then.

System      Elman's recurrent network, 1990
Parameters  4,353
Data        adding problem, 100 steps
Published   stays at the loss of a constant (Arjovsky et al. 2016)
Measured    loss 0.1664, 6 s (2c9c4f7)
"""

from configs.series.adding_lstm import get_config as lstm


def get_config():
    config = lstm()
    config.model.cell = "rnn"
    return config
