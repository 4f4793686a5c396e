"""A small Whisper writes the names of spoken digits: 2,700 recordings by six speakers, 300 held out.

python -m train --config configs/audio/digits_whisper.py --workdir runs/digits_whisper
python -m train sample --workdir runs/digits_whisper --prompt recordings/7_jackson_0.wav

System      Whisper on spoken digits, 2022
Parameters  192,192
Data        Free Spoken Digit Dataset
Get         git clone https://github.com/Jakobovski/free-spoken-digit-dataset, its folder recordings (CC BY-SA 4.0)
Baseline    0.9633 by logistic regression, a class for each word
Measured    exact_match 0.9933, 74 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 900
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="speech:digits", path="recordings", bands=40, frames=100)
    config.model.update(name="whisper:Whisper", vocab=17, bands=40, places=50, context=8)
    config.model.update(layers=2, heads=4, width=64, inner=128, dropout=0.1)
    config.task.update(name="translate:translate")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.05, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 300
    return config
