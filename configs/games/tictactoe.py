"""Tic-tac-toe, learnt by self-play with a tree search; held to the perfect moves of all positions.

python -m train --config configs/games/tictactoe.py --workdir runs/tictactoe
python -m scripts.score.games runs/tictactoe

System      AlphaZero, 2017
Parameters  20,234
Data        games against itself
Published   nothing comparable
Measured    searched not measured yet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 3000
    config.batch_size = 64  # games side by side
    config.data.update(name="games:positions", rows=3, columns=3, connect=3, drop=False, stones=5)
    config.model.update(name="mlp:MLP", width=128, layers=2)
    config.task.update(name="games:self_play", connect=3, drop=False, simulations=32, learnt=4)
    config.optim.update(name="adam", learning_rate=3e-3, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.02)
    config.eval.every = 1000
    config.eval.batch_size = 512
    return config
