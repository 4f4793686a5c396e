"""A bag of words on generated reviews, in which only the order of the words tells praise from blame.

python -m train --config configs/text/reviews_bag.py --workdir runs/reviews_bag

Beside reviews_bert.

System      Bag of words, 2015
Parameters  6,466
Data        reviews, generated
Published   accuracy 0.5 is the best that it can expect
Measured    accuracy 0.4875, 3 s (2c9c4f7)
"""

from configs.text.reviews_bert import get_config as bert


def get_config():
    config = bert()
    config.model = {"name": "bag:Bag", "vocab": 34, "classes": 2, "width": 64}
    return config
