"""Counts of 50 sensors on simulated roads, half an hour ahead, from what they and those upstream counted in an hour.

python -m train --config configs/graphs/roads_sage.py --workdir runs/roads_sage

The last count, again and again (`naive`), is at 0.6406; a perceptron of each sensor alone at 0.5065
(`--config.model.name=gin:GIN --config.model.layers=0 --config.model.pool=none`); 0.278 is the lowest expected error, of
who knows the equation (`floor` in data/roads.py).

System      GraphSAGE on traffic, 2017
Parameters  19,142
Data        simulated roads
Baseline    0.6406 by the last count; 0.278 is the lowest expected
Measured    loss 0.2842, 10 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.data.update(name="roads:traffic", sensors=50, roads=2, lookback=12, horizon=6)
    config.model.update(name="sage:SAGE", classes=6, width=64, layers=4)
    config.task.update(name="graphs:forecast")
    config.optim.update(name="adam", learning_rate=3e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 500
    return config
