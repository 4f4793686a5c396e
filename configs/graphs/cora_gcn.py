"""The two-layer graph convolutional network on Cora, with 20 labels a class; held out are the 1,000 test nodes.

python -m train --config configs/graphs/cora_gcn.py --config.data.path=cora.npz --workdir runs/cora_gcn

Of 20 seeds: 0.814 ± 0.008 (`python -m scripts.score.seeds --config configs/graphs/cora_gcn.py --seeds 20`).  The 500
validation nodes are not used.  The batch is the one graph, so that a mesh of more than one device is refused.

System      GCN, 2017
Parameters  23,063
Data        Cora
Get         an .npz made from the files ind.cora.* of github.com/kimiyoung/planetoid; `planetoid` in data/graphs.py
            says of which arrays
Published   accuracy 0.815 (Kipf & Welling 2017, table 2)
Measured    accuracy 0.816, 5 s (2c9c4f7)
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
