"""A bag of words on generated reviews, in which only the order of the words tells praise from blame.

python -m train --config configs/text/reviews_bag.py --workdir runs/reviews_bag

Beside reviews_bert.

System      Bag of words, 2015
Parameters  ?
Data        reviews, generated
Published   accuracy 0.5 is the best that it can expect
Measured    accuracy not measured yet
"""

from configs.text.reviews_bert import get_config as bert


def get_config():
    config = bert()
    config.model = {"name": "bag:Bag", "vocab": 34, "classes": 2, "width": 64}
    return config
