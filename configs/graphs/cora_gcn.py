"""The two-layer graph convolutional network on Cora, with 20 labels a class.

python -m train --config configs/graphs/cora_gcn.py --config.data.path=FILE.npz --workdir runs/cora_gcn
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 200
    config.batch_size = 1  # the whole graph
    config.data.update(name="graphs:planetoid", path="cora.npz", held_out="test")
    config.model.update(name="gcn:GCN", classes=7, vocab=1433, width=16, dropout=0.5)
    config.task.update(name="graphs:classify")
    config.optim.update(name="adam", learning_rate=0.01, l2=5e-4)
    config.eval.update(every=0, batch_size=1)
    return config
