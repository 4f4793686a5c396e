"""Character-level GPT on a text file, such as tiny Shakespeare (65 characters).

python -m train --config configs/text/shakespeare_gpt.py --config.data.path=input.txt --workdir runs/shakespeare

System      GPT, 2018
Parameters  804,096
Data        tiny Shakespeare
Get         curl -LO https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
Published   loss 1.88 (nanoGPT, the same sizes)
Measured    loss 1.74, 99 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 12
    config.log_every = 100
    config.cpu_devices = 2
    config.data.update(name="text:file", path="input.txt", context=64, tokenizer="chars", offsets="random", valid=0.1)
    config.model.update(name="gpt:GPT", vocab=65, layers=4, heads=4, width=128, context=64, positions="learned")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-3, b2=0.99, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05, floor=0.1)
    return config
