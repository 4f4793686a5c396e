"""GraphSAGE on Cora, with 20 labels a class: trained on neighbourhoods drawn anew each step, held out on all edges.

python -m train --config configs/graphs/cora_sage.py --config.data.path=FILE.npz --workdir runs/cora_sage
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 200
    config.batch_size = 70  # labelled nodes, of 140
    config.data.update(name="graphs:planetoid", path="cora.npz", held_out="test", fan_out=(5, 5))
    config.model.update(name="sage:SAGE", classes=7, vocab=1433, width=32, dropout=0.5)
    config.task.update(name="graphs:classify")
    config.optim.update(name="adam", learning_rate=0.01, l2=5e-4)
    config.eval.update(every=0, batch_size=1)
    return config
