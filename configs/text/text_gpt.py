"""Byte-level GPT, 0.8 M parameters, on 249 presidential messages.

python -m train --config configs/text/text_gpt.py --workdir runs/text_gpt

It reads 1.5 of the 11.6 million bytes, once, and does not reach what counts of the 5 bytes before do with as many:
`python -m scripts.score.baselines --config text_gpt --windows 24000`.

System      GPT, 2018
Parameters  828,544
Data        State of the Union
Baseline    1.102 by the 5 bytes before, counted in all of the text; 1.177 in as much as this run reads
Measured    loss 1.327, 115 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 12
    config.log_every = 100
    config.data.update(name="text:windows", dataset="isoflop_sotu", context=64, tokenizer="bytes")
    config.model.update(name="gpt:GPT", vocab=256, layers=4, heads=4, width=128, context=64, positions="learned")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=2e-3, b2=0.99, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05, floor=0.1)
    config.eval.every = 1000
    config.checkpoint.best = True
    return config
