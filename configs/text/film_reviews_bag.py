"""A bag of words tells praise from blame in 1,600 reviews of films; held out are 400.

python -m train --config configs/text/film_reviews_bag.py --config.data.path=review_polarity.tar.gz --workdir runs/bag

Beside film_reviews_bert.  It sees 1,024 words of each review; its rate is the better of two on these 400.  Logistic
regression on which words occur has 0.8675 (`python -m scripts.score.films --path review_polarity.tar.gz`).

System      Bag of words on reviews of films, 2015
Parameters  644,290
Data        film reviews (Pang & Lee 2004)
Get         curl -LO https://www.cs.cornell.edu/people/pabo/movie-review-data/review_polarity.tar.gz
Published   accuracy 0.864 (Pang & Lee 2004), naive Bayes on the sentences that hold opinions
Measured    accuracy 0.845, 4 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 400
    config.batch_size = 32
    config.log_every = 50
    config.data.update(name="texts:folder", path="review_polarity.tar.gz", vocab=10_000, length=1024, keep="last")
    config.model.update(name="bag:Bag", vocab=10_000, classes=2, width=64)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-2, weight_decay=0.1, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 100
    return config
