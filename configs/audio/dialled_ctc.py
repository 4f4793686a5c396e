"""CTC: telephone numbers read from the sound of their keys, without being told when each was pressed.

python -m train --config configs/audio/dialled_ctc.py --workdir runs/dialled_ctc

`label_error_rate` is the edits that the transcript needs, a digit (Graves et al. 2006, equation 2).  Without a network,
by the strongest tones of each frame, it is 0.0448 (`python -m scripts.score.dialled`).

System      Connectionist temporal classification, 2006
Parameters  53,131
Data        dialled numbers in noise, generated
Baseline    0.0448 by the strongest tones of each frame
Measured    label_error_rate 0.01568, 42 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="audio:dialled", digits=6, noise=1.0, train=4000, valid=1000)
    config.model.update(name="rnn:SequenceModel", cell="lstm", width=64, outputs=11, direction="both")
    config.task.update(name="transcribe:ctc")
    config.optim.update(name="adam", learning_rate=3e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 250
    return config
