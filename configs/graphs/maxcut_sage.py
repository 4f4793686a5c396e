"""Graphs of 16 nodes are cut in two by a network that learns from the graphs alone; all cuts are tried beside it.

python -m train --config configs/graphs/maxcut_sage.py --workdir runs/maxcut_sage

`ratio` is the size of the cut over that of the largest, on 200 new graphs, the best of 8 draws; `random`, 0.977, is
what the same rule of rounding makes of 8 draws without the network.

System      Maximum cut by a GNN, 2020
Parameters  4,833
Data        Erdős–Rényi graphs, drawn
Baseline    0.977 by the same rounding without the network
Measured    ratio 0.9986, 6 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 64
    config.data.update(name="cuts:maxcut", nodes=16, degree=4.0, train=4000, valid=200)
    config.model.update(name="sage:SAGE", classes=1, width=32, layers=4)
    config.task.update(name="cut:maxcut", noise=8, samples=8)
    config.optim.update(name="adam", learning_rate=2e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 200
    return config
