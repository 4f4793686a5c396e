"""An LSTM on the adding problem: of 100 numbers, the sum of the two that are marked.

python -m train --config configs/series/adding_lstm.py --workdir runs/adding_lstm

The best constant has a loss of 1/6; adding_lstm, adding_gru and adding_rnn differ in the cell alone.

System      LSTM, 1997
Parameters  17,217
Data        adding problem, 100 steps
Published   solved after 74,000 sequences, of numbers in [-1, 1] (Hochreiter & Schmidhuber 1997)
Measured    loss 0.003388, 14 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="sequences:adding", length=100)
    config.model.update(name="rnn:SequenceModel", cell="lstm", width=64, outputs=1, head="last", recurrent="uniform")
    config.task.update(name="supervised:regress", loss="mse")
    config.optim.update(name="adam", learning_rate=5e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 250
    return config
