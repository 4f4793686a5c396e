"""The Transformer of 2017 writes words of up to 16 letters backwards.

python -m train --config configs/text/reversal_transformer.py --workdir runs/reversal_transformer
python -m train sample --workdir runs/reversal_transformer --prompt "attention"

System      Transformer, 2017
Parameters  169,244
Data        random words, generated
Published   exact_match 1 is every word
Measured    exact_match 1, 72 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="rewriting:reversal", length=16)
    config.model.update(name="transformer:Transformer", vocab=28, layers=2, heads=4, width=64, inner=128, context=20)
    config.task.update(name="translate:translate")
    config.optim.update(name="adam", learning_rate=2e-3, b2=0.98, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 500
    return config
