"""GPT of the size of GPT-2 small, 124 M parameters, on a corpus of yours.

python -m data tokenize TEXTS --tokenizer bpe:50000 --out corpora/mine
python -m train --config configs/text/gpt_124m.py --config.data.path=corpora/mine --workdir runs/gpt_124m

`plan --topology v5e:2x4`: 5.5 of 16 GiB a chip, 360 ms a step by the roofline, MFU 79 % (180dd66).

System      GPT-2 small, 2019
Parameters  124,373,760
Data        a corpus of yours
Get         python -m data tokenize TEXTS --tokenizer bpe:50000 --out corpora/mine (docs/corpora.md)
Published   perplexity 29.41 on WikiText-2 (Radford et al. 2019), loss 2.85 on OpenWebText (nanoGPT), other data
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 19_000
    config.batch_size = 512
    config.precision = "bfloat16"
    config.data.update(name="corpus:windows", path=None, context=1024)
    config.model.update(name="gpt:GPT", vocab=50_304, layers=12, heads=6, width=768, context=1024)
    config.model.update(stack="scan", remat="full")
    config.loss_slices = 8
    config.mesh.update(data=1, fsdp=-1)  # of all layouts the one whose traffic runs beside computation
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=6e-4, b2=0.95, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.0263, floor=0.1)
    return config
