"""A one-shot detector on generated scenes of ellipses, rectangles and triangles.

python -m train --config configs/images/scenes_detector.py --workdir runs/scenes_detector
python -m train score --workdir runs/scenes_detector

`iou` is that of objects and the boxes that answer for them, missed ones and false alarms left out; the second command
counts those: mAP@0.5 is 0.854 on 500 scenes (ellipse 0.860, rectangle 0.874, triangle 0.829; 36069ca).
The baseline's two boxes are the same in every cell; of an object's cell the better one answers, as the network's does.

System      One-shot detector (YOLO), 2016
Parameters  147,965
Data        generated scenes, 64 × 64
Baseline    0.5838 by two average boxes, told the cell of each object
Measured    iou 0.7729, 39 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1200
    config.batch_size = 16
    config.data.update(name="scenes:detect", side=64, train=4000, valid=500)
    config.model.update(name="detector:Detector", classes=3, boxes=2, width=16, halvings=3)
    config.task.update(name="detect:detect")
    config.optim.update(name="adamw", learning_rate=4e-3, weight_decay=0.05)
    config.schedule.update(name="cosine", warmup=0.042)
    config.eval.batch_size = 100
    return config
