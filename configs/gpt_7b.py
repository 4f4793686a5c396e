"""GPT of 6.7 B parameters, on random tokens until a corpus is named.

python -m train --config configs/gpt_7b.py --workdir runs/gpt_7b

Never trained here. `--plan --topology v5e:16x16`: 8.3 of 16 GiB a chip, 2.27 s a step by the roofline, MFU 79 %
(76f9219).
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 65_000
    config.batch_size = 1024
    config.precision = "bfloat16"
    config.data.update(
        name="random:tokens", vocab=50_304, context=2048, train_tokens=10_000_000_000, valid_tokens=1_000_000
    )
    config.model.update(name="gpt:GPT", vocab=50_304, layers=32, heads=32, width=4096, context=2048)
    config.model.update(stack="scan", remat="full")
    config.mesh.update(data=-1, fsdp=64)  # 64 numbers of the width on each; with fewer XLA:TPU reduces, not scatters
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1.2e-4, b2=0.95, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=500, floor=0.1)
    return config
