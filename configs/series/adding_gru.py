"""A GRU on the adding problem: of 100 numbers, the sum of the two that are marked.

python -m train --config configs/series/adding_gru.py --workdir runs/adding_gru

The best constant has a loss of 1/6; adding_lstm, adding_gru and adding_rnn differ in the cell alone.

System      GRU, 2014
Parameters  13,121
Data        adding problem, 100 steps
Baseline    1/6 by the best constant
Measured    loss 0.0008301, 13 s (2c9c4f7)
"""

from configs.series.adding_lstm import get_config as lstm


def get_config():
    config = lstm()
    config.model.cell = "gru"
    return config
