"""BERT tells praise from blame in generated reviews, in which only the order of the words says which it is.

python -m train --config configs/text/reviews_bert.py --workdir runs/reviews_bert
python -m train --config configs/text/reviews_bag.py --workdir runs/reviews_bag

A bag of words (reviews_bag) has an accuracy of 0.4875: chance, as every one must be (data/reviews.py).

System      BERT that classifies, 2018
Parameters  75,842
Data        reviews, generated
Baseline    0.4875 by a bag of words
Measured    accuracy 1, 25 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 600
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="reviews:reviews")
    config.model.update(name="bert:Bert", vocab=34, layers=2, heads=4, width=64, inner=128, context=34)
    config.model.update(head="class", classes=2, padding=0)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 200
    return config
