"""BERT answers questions about a generated story by naming a part of it: who, whom, where?

python -m train --config configs/text/answers_bert.py --workdir runs/answers_bert

The order of the words decides (data/answers.py): who takes the sentence that shares most words with the question, and
knows which part of it is asked for, has an exact match of 0.5 (measured: 0.489); who names the commonest span of each
kind of question, 0.089 (`python -m scripts.score.answers`).  Of the seconds 213 were the processor's.

System      BERT that answers by a span, 2018
Parameters  107,906
Data        stories with a question, generated
Published   exact_match 1 is every answer
Measured    exact_match 0.7415, 2,899 s (9888081)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="answers:answers")
    config.model.update(name="bert:Bert", vocab=54, layers=3, heads=4, width=64, inner=128, context=57)
    config.model.update(head="span", padding=0)
    config.task.update(name="span:span")
    config.optim.update(name="adamw", learning_rate=2e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    config.eval.every = 500
    return config
