"""U-Net in full, 64 to 1024 features, on generated scenes of 512 × 512 pixels, the size of the paper's first data set.

python -m train --config configs/images/unet_31m.py --workdir runs/unet_31m

The paper's form, of one channel and two classes, has 31,030,658 parameters (tests/test_dense.py).

System      U-Net, 2015
Parameters  31,031,940
Data        generated scenes, 512 × 512
Published   92.03 % IoU on PhC-U373, 77.56 % on DIC-HeLa (Ronneberger et al. 2015), other data
Measured    never trained here
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 10_000
    config.batch_size = 8
    config.precision = "bfloat16"
    config.data.update(name="scenes:segment", side=512, train=64, valid=8)
    config.model.update(name="unet:UNet", classes=4, width=64, halvings=4)
    config.task.update(name="segment:segment")
    config.optim.update(name="adamw", learning_rate=3e-4, weight_decay=0.01)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.batch_size = 8
    return config
