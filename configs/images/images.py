"""Your own images: a small ResNet on a folder CLASS/NAME.jpg, or on SPLIT/CLASS/NAME.jpg.

python -m train --config configs/images/images.py --config.data.path=FOLDER --workdir runs/images

Without a folder `valid`, `validation` or `test` a fifth of each class is held out (`--config.data.valid=0.2`), by a
hash of the name. Images that differ in size, or are larger than 64 pixels, become squares of 64 or less
(`--config.data.size=96`). If images are few: `--config.augment.crop.padding=4 --config.augment.flip=True
--config.augment.mixup=True`. Another network: `--config.model.name=vgg:VGG`; grey images: `--config.data.channels=1`.
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 500
    config.batch_size = 32
    config.data.update(name="images:folder", path=None, valid="auto", size=-1, channels=3)
    config.model.update(name="resnet:ResNet", blocks=1, width=16)  # as many classes as folders
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=3e-3, weight_decay=0.05)
    config.schedule.update(name="cosine", warmup=0.1)
    config.checkpoint.best = True
    return config
