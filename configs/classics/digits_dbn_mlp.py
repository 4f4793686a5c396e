"""A perceptron of four layers of sigmoids on 8 × 8 digits, which begins with the weights of a deep belief network.

It begins with the weights of digits_dbn, so train that first:

python -m train --config configs/classics/digits_dbn.py --workdir runs/digits_dbn
python -m train --config configs/classics/digits_dbn_mlp.py --workdir runs/digits_dbn_mlp

The same without pre-training, 0.9155, is digits_mlp with --config.steps=1500 --config.model.width=100
--config.model.layers=4 --config.model.activation=sigmoid; after 300 steps it is 0.834 with and 0.456 without.

System      Fine-tuned deep belief network, 2006
Parameters  37,810
Data        8 × 8 digits
Baseline    0.9155 without pre-training
Measured    accuracy 0.9577, 3 s (2c9c4f7)
"""

from configs.base import base

RENAME = ((r"^hidden_(\d)/kernel$", r"rbm_\1/w_VH"), (r"^hidden_(\d)/bias$", r"rbm_\1/c_H"))


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_digits")
    config.model.update(name="mlp:MLP", classes=10, width=100, layers=4, activation="sigmoid")
    config.init.update({"from": "runs/digits_dbn", "match": "^hidden_", "rename": RENAME})
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-3, weight_decay=1e-2)
    config.schedule.update(name="cosine", warmup=0.083)
    return config
