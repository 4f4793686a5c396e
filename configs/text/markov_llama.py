"""A Llama-style network on a Markov chain whose entropy is known exactly, to set beside markov_gpt.

python -m train --config configs/text/markov_llama.py --workdir runs/markov_llama

Rotary positions, RMS norm, gated MLP, two heads of keys for four of queries, heads normalised, a window of 16 tokens.

System      Llama style on a Markov chain, 2023
Parameters  24,256
Data        a Markov chain of entropy rate 1.9693 nats
Published   1.9693 is the lowest expected loss
Measured    loss 1.966, 21 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.data.update(name="synthetic:markov", states=16, order=1, context=32, train_tokens=2_000_000)
    config.model.update(name="llama:Llama", vocab=16, layers=2, heads=4, kv_heads=2, width=32, inner=88, context=32)
    config.model.update(window=16, head_norm="rms")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=5e-3, b2=0.95, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.0667)
    return config
