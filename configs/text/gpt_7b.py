"""GPT of 6.7 B parameters, on a corpus of yours.

python -m data tokenize TEXTS --tokenizer bpe:50000 --out corpora/mine
python -m train --config configs/text/gpt_7b.py --config.data.path=corpora/mine --workdir runs/gpt_7b

`plan --topology v5e:16x16`: 14.6 of 16 GiB a chip, 2.00 s a step by the roofline, MFU 90 % (2b4419b).

System      GPT 6.7B, 2020
Parameters  6,658,723,840
Data        a corpus of yours
Get         python -m data tokenize TEXTS --tokenizer bpe:50000 --out corpora/mine (docs/corpora.md)
Published   70.3 % on LAMBADA, perplexity 4.00 (GPT-3 of 6.7 B; Brown et al. 2020), other data
Measured    never trained here
"""

from configs.text.gpt_124m import get_config as gpt


def get_config():
    config = gpt()
    config.steps = 65_000
    config.batch_size = 1024
    config.data.context = config.model.context = 2048
    config.model.vocab = 50_688  # 50,257 to a multiple of 512; of others XLA:TPU reduces, not scatters
    config.accumulate = 2  # so that what remat="dots" keeps fits a v5e
    config.model.update(layers=32, heads=32, width=4096, remat="dots")
    config.schedule.warmup = 0.0077
    config.optim.learning_rate = 1.2e-4
    config.mesh.update(data=-1, fsdp=64)  # 64 numbers of the width on each; with fewer XLA:TPU reduces, not scatters
    return config
