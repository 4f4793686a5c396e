"""Your own text: a small GPT on any UTF-8 file, by characters.

python -m train --config configs/text/text.py --config.data.path=FILE.txt --workdir runs/text

The vocabulary is that of the file, and the last tenth of it is held out. `--config.data.tokenizer=bpe:1024` learns
pieces of words, `bytes` takes any file. A larger network: `--config.model.width=256 --config.model.layers=6
--config.data.context=128`; longer: `--config.steps=5000`. To write: `python -m train sample --workdir runs/text`.

python -m scaling sweep --config configs/text/text.py --config.data.path=FILE.txt --workdir runs/law
python -m scaling fit runs/law --out runs/law
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 16
    config.data.update(name="text:file", path=None, context=64, tokenizer="chars", offsets="random", valid=0.1)
    config.model.update(name="gpt:GPT", layers=4, heads=4, width=128)  # vocab and context as the data have them
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=2e-3, b2=0.99, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05, floor=0.1)
    config.eval.every = 250
    config.checkpoint.best = True
    return config


def sweep():
    """Five sizes for as many lengths: a first law."""
    return {"name": "grid", "over": {"model.width": (16, 24, 32, 48, 64), "steps": (80, 160, 320, 640, 1280)}}
