"""Your own table: a perceptron of two layers predicts one column of a CSV file from the others.

python -m train --config configs/tables/table.py --config.data.path=FILE.csv --workdir runs/table

The target is the last column (`--config.data.target=NAME`). Words, and few whole numbers, are classes; others are
numbers, with `naive`, the loss of least squares on the same rows (`--config.data.kind=numbers` or `classes`). A fifth
of the rows is held out. Numbers are standardised, words become features of 0 and 1.
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 32
    config.data.update(name="tables:table", path=None, target="last", kind="auto", valid=0.2)
    config.model.update(name="mlp:MLP", width=64, layers=2, dropout=0.1)
    config.task.name = None  # classes or numbers, as the target is
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.1)
    config.schedule.update(name="cosine", warmup=0.05)
    config.checkpoint.best = True
    return config
