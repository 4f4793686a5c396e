"""A one-shot detector on generated scenes of ellipses, rectangles and triangles.

python -m train --config configs/scenes_detector.py --workdir runs/scenes_detector
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 32
    config.data.update(name="scenes:detect", side=64, train=4000, valid=500)
    config.model.update(name="detector:Detector", classes=3, boxes=2, width=16, depth=3)
    config.task.update(name="detect:detect")
    config.optim.update(name="adamw", learning_rate=3e-3, weight_decay=0.05)
    config.schedule.update(name="cosine", warmup=50)
    config.eval.batch_size = 100
    return config
