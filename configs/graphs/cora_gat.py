"""The graph attention network on Cora, with 20 labels a class: 8 heads of 8, then one for each class.

python -m train --config configs/graphs/cora_gat.py --config.data.path=FILE.npz --workdir runs/cora_gat
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.ema = 0.98
    config.batch_size = 1  # the whole graph
    config.data.update(name="graphs:planetoid", path="cora.npz", held_out="test")
    config.model.update(name="gat:GAT", classes=7, vocab=1433, width=8, heads=8, last_heads=1, dropout=0.6)
    config.task.update(name="graphs:classify")
    config.optim.update(name="adam", learning_rate=0.005, l2=5e-4)
    config.eval.update(every=0, batch_size=1)
    return config
