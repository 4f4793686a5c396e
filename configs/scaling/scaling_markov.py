"""GPTs on a Markov chain of order 2: does the fitted E find the entropy that is known exactly?

python -m scaling sweep --config configs/scaling/scaling_markov.py --workdir runs/markov
python -m scaling fit runs/markov --out runs/markov

E = 1.619 [1.397, 1.640] where the entropy is 1.6215 (-0.2 %); 25 runs, 3 minutes, two EPYC cores (sweep at commit
51f229b, fit at c19258c).
"""

from configs.base import base


def get_config():
    config = base()
    config.eval.every = 0  # a law is fitted to the ends
    config.batch_size = 32
    config.log_every = 100
    config.writers = ()
    config.data.update(
        name="synthetic:markov", states=12, order=2, context=32, train_tokens=4_000_000, valid_tokens=200_000
    )
    config.model.update(name="gpt:GPT", vocab=12, layers=2, heads=2, width=16, context=32, positions="rotary")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=0.02, b2=0.98, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=50, floor=0.05)
    return config


def sweep():
    return {"name": "grid", "over": {"model.width": (8, 12, 16, 24, 32), "steps": (250, 500, 1000, 2000, 4000)}}
