"""GPT on a Markov chain whose entropy is known exactly: how close does training come to the floor?

python -m train --config configs/text/markov_gpt.py --workdir runs/markov_gpt

System      GPT on a Markov chain, 2018
Parameters  25,248
Data        a Markov chain of entropy rate 1.9693 nats
Published   1.9693 is the lowest expected loss
Measured    loss 1.966, 14 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.data.update(name="synthetic:markov", states=16, order=1, context=32, train_tokens=2_000_000)
    config.model.update(name="gpt:GPT", vocab=16, layers=2, heads=2, width=32, context=32, positions="rotary")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=5e-3, b2=0.95, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.067)
    return config
