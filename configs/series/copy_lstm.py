"""An LSTM on the copy task: ten symbols, to be repeated after a hundred blanks.

python -m train --config configs/series/copy_lstm.py --workdir runs/copy_lstm

Its gates begin by keeping the state for 2 to 120 steps ("chrono", Tallec & Ollivier 2018).  Who has forgotten the
symbols is at 10 ln 8 / 120 = 0.173 nats; after these steps 8 or 9 of the ten are repeated, after 2,000 about 7.

System      LSTM with chrono initialisation, 2018
Parameters  134,154
Data        copy task, 100 blanks
Published   loss near 0 (Tallec & Ollivier 2018, 500 blanks)
Measured    loss 0.03851, 246 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 4000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="sequences:copying", blanks=100)
    config.model.update(name="rnn:SequenceModel", cell="lstm", width=128, vocab=10, outputs=10, memory=120)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adam", learning_rate=1.2e-2, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.025)
    config.eval.every = 500
    return config
