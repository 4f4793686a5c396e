"""A deep belief network on 8 × 8 digits: four RBMs, each by CD-1 on the hidden units of the one below; no labels.

python -m train --config configs/classics/digits_dbn.py --workdir runs/digits_dbn

Then digits_dbn_mlp begins with its weights.  The error is the first layer's, its meaning that of digits_rbm: a second
draw of the same grey values has 0.1424.

System      Deep belief network, 2006
Parameters  37,164
Data        8 × 8 digits
Baseline    0.2297 by the likelier value of each pixel, 0.2881 by draws with its mean
Measured    reconstruction_error_rbm_0 0.1847, 11 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_digits")
    config.model.rbm_0 = {"name": "rbm:RBM", "hidden": 100}
    for layer in ("rbm_1", "rbm_2", "rbm_3"):
        config.model[layer] = {"name": "rbm:RBM", "visible": 100, "hidden": 100}
    config.task.update(name="rbm:layerwise", sweeps=1)
    config.optim.update(name="sgd", learning_rate=0.05, momentum=0.5)
    return config
