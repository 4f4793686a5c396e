"""The Transformer of 2017 adds numbers of four digits: "0047+9958" becomes "10005".

python -m train --config configs/text/addition_transformer.py --workdir runs/addition_transformer
python -m train sample --workdir runs/addition_transformer --prompt "1969+0057"

System      Transformer that adds, 2017
Parameters  168,269
Data        sums, generated
Published   exact_match 1 is every sum
Measured    exact_match 1, 241 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 3500
    config.batch_size = 128
    config.log_every = 100
    config.data.update(name="rewriting:addition", digits=4)
    config.model.update(name="transformer:Transformer", vocab=13, layers=2, heads=4, width=64, inner=128, context=10)
    config.task.update(name="translate:translate")
    config.optim.update(name="adam", learning_rate=2e-3, b2=0.98, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 500
    return config
