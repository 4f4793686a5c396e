"""An LSTM that reads in both directions on a task that needs the future: the xor of two bits, one before, one behind.

python -m train --config configs/series/neighbours_bilstm.py --workdir runs/neighbours_bilstm

With `--config.model.direction=forward` no network is better than chance, ln 2 = 0.693 nats; nor is one layer with a
linear head, whose logits are a sum of what each direction says.

System      Bidirectional LSTM, 2005
Parameters  41,666
Data        xor of neighbours, generated
Baseline    0.5, chance, reading forwards alone
Measured    accuracy 1, 14 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 500
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="sequences:neighbours", length=50, distance=3)
    config.model.update(name="rnn:SequenceModel", cell="lstm", width=32, vocab=2, outputs=2, layers=2)
    config.model.update(direction="both", dropout=0.0)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adam", learning_rate=5e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.2)
    config.eval.every = 100
    return config
