"""Your own series: a GRU forecasts a column of a CSV file from its past, the oldest row first.

python -m train --config configs/series/series.py --config.data.path=FILE.csv --workdir runs/series

The target is the last column of numbers (`--config.data.target=NAME`). The season is the period of the training rows,
the horizon one season, the lookback two (`--config.data.season=24 --config.data.horizon=24 --config.data.lookback=96`).
The last fifth is held out; `naive` is the loss of repeating the season before, on the same windows.
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 500
    config.batch_size = 32
    config.data.update(name="series:table", path=None, target="last", inputs="target", level="last")
    config.data.update(lookback=0, horizon=0, season=0, train=0.7, valid=0.2)
    config.model.update(name="rnn:SequenceModel", cell="gru", width=32, head="last", dropout=0.1)  # one output a step
    config.task.update(name="forecast:forecast", loss="mse")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.checkpoint.best = True
    return config
