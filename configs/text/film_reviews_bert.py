"""BERT, without pre-training, tells praise from blame in 1,600 reviews of films; held out are 400.

python -m train --config configs/text/film_reviews_bert.py --config.data.path=review_polarity.tar.gz --workdir runs/bert
python -m train --config configs/text/film_reviews_bag.py --config.data.path=review_polarity.tar.gz --workdir runs/bag

It sees the last 127 words of each.  A bag of words (film_reviews_bag) has an accuracy of 0.845 on the same 400.

System      BERT on reviews of films, 2018
Parameters  719,682
Data        film reviews (Pang & Lee 2004)
Get         curl -LO https://www.cs.cornell.edu/people/pabo/movie-review-data/review_polarity.tar.gz
Published   accuracy 0.864 (Pang & Lee 2004), naive Bayes on the sentences that hold opinions
Measured    accuracy 0.745, 392 s (a381db7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 300
    config.batch_size = 32
    config.log_every = 50
    config.data.update(name="texts:folder", path="review_polarity.tar.gz", vocab=10_000, length=128, keep="last")
    config.model.update(name="bert:Bert", vocab=10_000, layers=2, heads=4, width=64, inner=128, context=128)
    config.model.update(head="class", classes=2, padding=0, dropout=0.2)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-3, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 100
    return config
