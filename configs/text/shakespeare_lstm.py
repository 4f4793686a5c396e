"""Character-level LSTM on a text file, such as tiny Shakespeare (65 characters).

python -m train --config configs/text/shakespeare_lstm.py --config.data.path=input.txt --workdir runs/shakespeare_lstm

Every window begins with an empty state.  `python -m train sample --workdir runs/shakespeare_lstm` writes from it.

System      LSTM, 1997
Parameters  558,657
Data        tiny Shakespeare
Get         curl -LO https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
Baseline    1.689 by the 4 characters before
Measured    loss 1.596, 73 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.log_every = 100
    config.data.update(name="text:file", path="input.txt", context=64, tokenizer="chars", offsets="random", valid=0.1)
    config.model.update(name="rnn:SequenceModel", cell="lstm", width=256, vocab=65, outputs=65)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=4e-3, b2=0.99, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.067, floor=0.1)
    return config
