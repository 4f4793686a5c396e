"""WaveNet on generated tones: each sample of a sound from those before.

python -m train --config configs/audio/tones_wavenet.py --workdir runs/tones_wavenet

Beside it, in nats a sample (`python -m scripts.score.tones`): unigram 5.144, Markov 4.472, linear prediction from 16
samples 3.665, and 2.351 for one who knew the sines and not the noise.

System      WaveNet, 2016
Parameters  138,720
Data        generated tones, mu-law, 8 kHz
Baseline    3.665 by linear prediction, 4.472 by a Markov chain
Measured    loss 3.275, 45 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 8
    config.data.update(name="audio:tones", context=256, vocab=256, train_tokens=1_000_000, valid_tokens=100_000)
    config.model.update(name="wavenet:WaveNet", vocab=256, width=32, skip=64, layers=7, cycles=2)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=4e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05)
    return config
