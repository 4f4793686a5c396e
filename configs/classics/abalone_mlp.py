"""A perceptron of two hidden layers predicts the rings of abalones, their age, from eight measures of the shell.

python -m train --config configs/classics/abalone_mlp.py --config.data.path=abalone.csv --workdir runs/abalone_mlp

The file is that of the UCI repository (4,177 rows, CC BY 4.0). For your own table: configs/tables/table.py.
Errors are in units of the target's variance. Held out, on the same rows: `naive` is the loss of least squares.

System      MLP on a table, 1986
Parameters  4,929
Data        abalone (UCI)
Get         curl -L -o abalone.csv https://raw.githubusercontent.com/jbrownlee/Datasets/master/abalone.csv
Baseline    0.4401 by least squares
Measured    loss 0.4091, 3 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.data.update(name="tables:regression", path="abalone.csv", target="last")
    config.model.update(name="mlp:MLP", classes=1, width=64, layers=2, dropout=0.1)
    config.task.update(name="forecast:forecast", loss="mse")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.1)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 200
    return config
