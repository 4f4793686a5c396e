"""T5 sums up reports of games in seven sentences: who beat whom, and where.

python -m train --config configs/text/summary_t5.py --workdir runs/summary_t5
python -m train sample --workdir runs/summary_t5 --prompt "the king came last . it rained . …"
python -m scripts.score.summaries --workdir runs/summary_t5

Who copies the first sentence has an exact match of 0; who takes the first that is named for the winner and the last for
the loser, and knows the place, 0.047 (1 of 20 by construction: data/summaries.py).

System      T5 that summarises, 2020
Parameters  200,448
Data        reports, generated
Baseline    0.047 by the first and the last that are named for a rank
Measured    exact_match 1, 534 s (ac4c737)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 3000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="summaries:summaries")
    config.model.update(name="t5:T5", vocab=44, layers=2, heads=4, head_width=16, width=64, inner=128, context=16)
    config.model.update(mlp="gated", activation="gelu")
    config.task.update(name="translate:translate")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 1000
    return config
