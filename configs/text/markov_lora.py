"""A GPT fine-tuned on another Markov chain by adapters of rank 4 alone (LoRA): of its own weights none moves.

It begins with the weights of markov_gpt, so train that first:

python -m train --config configs/text/markov_gpt.py --workdir runs/markov_gpt
python -m train --config configs/text/markov_lora.py --workdir runs/markov_lora

The same with 14 % of its numbers trained, 4,096 of 29,344: loss 1.711.  Beside it, on the same chain and as many steps:
without fine-tuning 4.020 (--config.steps=1 --config.optim.learning_rate=0), with all 25,248 weights trained 1.694:

python -m train --config markov_gpt --config.data.seed=1 --config.init.from=runs/markov_gpt --workdir runs/markov_tuned

System      LoRA on a GPT, 2021
Parameters  29,344
Data        another Markov chain of entropy rate 1.6935 nats
Published   1.6935 is the lowest expected loss
Measured    loss 1.711, 19 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.data.update(name="synthetic:markov", states=16, order=1, context=32, train_tokens=2_000_000, seed=1)
    config.model.update(name="gpt:GPT", vocab=16, layers=2, heads=2, width=32, context=32, positions="rotary")
    config.model.lora = {"rank": 4, "alpha": 8.0, "match": "^stack/"}
    config.init.update({"from": "runs/markov_gpt", "match": r"^(?!.*/lora_[ab]$)"})
    config.task.update(name="supervised:classify")
    config.optim.adapters = {"match": "lora_[ab]$", "name": "adamw", "learning_rate": 5e-3, "b2": 0.95, "clip": 1.0}
    config.optim.rest = {"name": "frozen"}
    config.schedule.update(name="cosine", warmup=0.067)
    return config
