"""Which nodes of a drawn graph are joined by the tenth of its edges that the network was not told?

python -m train --config configs/graphs/links_gcn.py --workdir runs/links_gcn

Half of the pairs to judge are edges.  Who knows the community of every node is right in 0.775; the same products of
vectors of the words alone, without edges, in 0.628 (`--config.model.name=gin:GIN --config.model.layers=0
--config.model.pool=none`).  A mesh of more than one device is refused: the batch is the one graph.

System      GCN that predicts links, 2016
Parameters  13,360
Data        a contextual stochastic block model, drawn
Baseline    0.628 by the words alone; 0.775 who knows every node's community
Measured    accuracy 0.7307, 5 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 200
    config.batch_size = 1  # the whole graph
    config.data.update(name="graphs:links", nodes=1000, classes=4, degree=10.0, within=0.8, signal=0.3)
    config.model.update(name="gcn:GCN", classes=16, vocab=400, width=32, dropout=0.5)  # vectors of 16 numbers
    config.task.update(name="graphs:links")
    config.optim.update(name="adam", learning_rate=0.01)
    config.eval.update(every=50, batch_size=1)
    return config
