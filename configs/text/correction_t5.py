"""T5 corrects lines of two or three words, of which every second has a fault.

python -m train --config configs/text/correction_t5.py --workdir runs/correction_t5
python -m train sample --workdir runs/correction_t5 --prompt "gradne windov pian"

Who changes nothing has an exact match of 0.1875.

System      T5 that corrects, 2020
Parameters  199,488
Data        words with faults, generated
Published   exact_match 1 is every line
Measured    exact_match 0.7795, 57 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1200
    config.batch_size = 32
    config.log_every = 100
    config.data.update(name="rewriting:correction")
    config.model.update(name="t5:T5", vocab=29, layers=2, heads=4, head_width=16, width=64, inner=128, context=32)
    config.model.update(mlp="gated", activation="gelu")
    config.task.update(name="translate:translate")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 500
    return config
