"""Is a compound mutagenic?  A graph isomorphism network on MUTAG's 188 molecules.

python -m train --config configs/graphs/mutag_gin.py --config.data.path=FOLDER/MUTAG --workdir runs/mutag_gin
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 300
    config.batch_size = 32
    config.data.update(name="molecules:tu", path="MUTAG", fold=0, folds=10)
    config.model.update(name="gin:GIN", classes=2, vocab=7, width=32, layers=3, bonds=4, dropout=0.5)
    config.task.update(name="graphs:classify")
    config.optim.update(name="adam", learning_rate=3e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 0
    return config
