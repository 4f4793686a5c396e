"""Your own corpus: a small GPT on texts that `python -m data tokenize` has written.

python -m data tokenize TEXTS --tokenizer bpe:4096 --out corpora/mine
python -m train --config configs/text/corpus.py --config.data.path=corpora/mine --workdir runs/mine

The vocabulary is that of the corpus. `--config.data.name=corpus:packed` trains on whole documents, several in a row,
which do not see each other. A larger network: `--config.model.width=512 --config.model.layers=8
--config.data.context=512`. Corpora by weight: docs/corpora.md.
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 16
    config.data.update(name="corpus:windows", path=None, context=128)
    config.model.update(name="gpt:GPT", layers=4, heads=4, width=128)  # vocab and context as the data have them
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=2e-3, b2=0.99, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05, floor=0.1)
    config.eval.records = 2048  # of a large corpus all would take longer than the training
    config.checkpoint.best = True
    return config
