"""Connect four on 4 rows and 5 columns, learnt by self-play with a tree search; held to the perfect moves.

python -m train --config configs/games/connect_four.py --workdir runs/connect_four
python -m train sample --workdir runs/connect_four                                      a game against itself
python -m scripts.score.games runs/connect_four --openings 100 --no-proof

`plain` is a search as long whose values are the ends of random games: on 2,000 of all positions, drawn evenly, it
finds as many best moves (0.972).  In matches from 100 openings, each played twice, the run wins 121, draws 71 and loses
8 of 200 games against it, 0.782 of the points; against itself at step 500 0.670, 1,000 0.625, 1,500 0.573, 2,000 0.527
and 2,500 0.502.

System      AlphaZero on connect four, 2017
Parameters  77,830
Data        games against itself
Baseline    0.972 by a plain search as long, which loses to it in matches (0.782 of the points)
Measured    searched 0.9715, 35 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 3000
    config.batch_size = 64  # games side by side
    config.data.update(name="games:positions", rows=4, columns=5, connect=4, drop=True, stones=8, valid=2000)
    config.model.update(name="mlp:MLP", width=256, layers=2)
    config.task.update(name="games:self_play", connect=4, drop=True, simulations=32, learnt=4, kept=128, explore=6)
    config.optim.update(name="adam", learning_rate=2e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.02)
    config.eval.every = 1000
    config.eval.batch_size = 500
    config.checkpoint.update(every=500, keep=6)  # its earlier selves
    return config
