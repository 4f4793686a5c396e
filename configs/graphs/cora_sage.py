"""GraphSAGE on Cora, with 20 labels a class: trained on neighbourhoods drawn anew each step, held out on all edges.

python -m train --config configs/graphs/cora_sage.py --config.data.path=cora.npz --workdir runs/cora_sage

Of 20 seeds: 0.8075 ± 0.0062 (`python -m scripts.score.seeds --config configs/graphs/cora_sage.py --seeds 20`).  A
record is a labelled node with 5 neighbours and 5 of each one's; held out are the 1,000 test nodes, in one graph.

System      GraphSAGE, 2017
Parameters  92,199
Data        Cora
Get         an .npz made from the files ind.cora.* of github.com/kimiyoung/planetoid; `planetoid` in data/graphs.py
            says of which arrays
Published   accuracy 0.815 by a GCN, 0.551 by a perceptron without the graph (Veličković et al. 2018, table 2)
Measured    accuracy 0.8, 5 s (2c9c4f7)
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
