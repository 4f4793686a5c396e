"""GPT of 1.3 B parameters, on a corpus of yours.

python -m data tokenize TEXTS --tokenizer bpe:50000 --out corpora/mine
python -m train --config configs/text/gpt_1b.py --config.data.path=corpora/mine --workdir runs/gpt_1b

`plan --topology v5e:16x16`: 5.7 of 16 GiB a chip, 210 ms a step by the roofline, MFU 90 % (180dd66).

System      GPT 1.3B, 2020
Parameters  1,316,063,232
Data        a corpus of yours
Get         python -m data tokenize TEXTS --tokenizer bpe:50000 --out corpora/mine (docs/corpora.md)
Published   63.6 % on LAMBADA, perplexity 5.44 (GPT-3 of 1.3 B; Brown et al. 2020), other data
Measured    never trained here
"""

from configs.text.gpt_124m import get_config as gpt


def get_config():
    config = gpt()
    config.steps = 25_000
    config.batch_size = 512
    config.data.context = config.model.context = 2048
    config.model.vocab = 50_688  # 50,257 to a multiple of 512; of others XLA:TPU reduces, not scatters
    config.model.update(layers=24, heads=16, width=2048, remat="dots")
    config.loss_slices = 4
    config.schedule.warmup = 0.02
    config.optim.learning_rate = 2e-4
    config.mesh.update(data=-1, fsdp=32)  # 64 numbers of the width on each; with fewer XLA:TPU reduces, not scatters
    return config
