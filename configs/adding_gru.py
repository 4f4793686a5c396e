"""A GRU on the adding problem: of 100 numbers, the sum of the two that are marked.

python -m train --config configs/adding_gru.py --workdir runs/adding_gru

The best constant has a loss of 1/6; adding_lstm, adding_gru and adding_rnn differ in the cell alone.

System      GRU, 2014
Parameters  13,121
Data        adding problem, 100 steps
Published   nothing comparable
Measured    loss 0.0008301, 96 s (16ec388)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="sequences:adding", length=100)
    config.model.update(name="rnn:SequenceModel", cell="gru", width=64, outputs=1, head="last", recurrent="uniform")
    config.task.update(name="supervised:regress", loss="mse")
    config.optim.update(name="adam", learning_rate=5e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=100)
    config.eval.every = 250
    return config
