"""A GRU forecasts the oil temperature of a transformer, 24 hours ahead, from the 96 hours before.

python -m train --config configs/series/ett_gru.py --config.data.path=ETTh1.csv --workdir runs/ett_gru

Held out, on the same windows: `naive`, the loss of repeating the 24 hours before, is 0.0458.

System      GRU, 2014
Parameters  4,152
Data        ETTh1
Get         curl -LO https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv (CC BY-ND 4.0)
Published   loss 0.098 (Informer, Zhou et al. 2021, table 1)
Measured    loss 0.03046, 6 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 32
    config.log_every = 50
    config.data.update(name="series:table", path="ETTh1.csv", target="OT", inputs="target", level="last")
    config.data.update(lookback=96, horizon=24, season=24)
    config.data.update(rows=14_400, train=0.6, valid=0.2)  # twelve months; held out are the four from month 16 on
    config.model.update(name="rnn:SequenceModel", cell="gru", width=32, layers=1, outputs=24, head="last", dropout=0.1)
    config.task.update(name="forecast:forecast", loss="mse")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.083)
    config.eval.every = 100
    return config
