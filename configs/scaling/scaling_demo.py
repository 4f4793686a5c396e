"""Twenty-five GPTs of 4 k to 49 k parameters on presidential messages, at five FLOP budgets: a scaling law in minutes.

python -m scaling demo

Two layers, two heads, context 64, bytes.  The learning rate was measured (scaling_demo_rate.py: held-out loss at five
rates each, 350 to 1,000 steps): 0.032 was best at widths 8, 16 and 32, 0.008 at 48, 0.004 or less at 80, and a factor 2
beside the best costs 1 to 3 %.  The rule is 0.025 up to width 32, then falling as width^-2.

Sizes stay within a factor of about three of the expected optimum: of a first design with sizes a factor ten apart, the
runs far off it (100 steps, half of them warmup) bent the law, and the forecast was 4.2 % too high.

The best loss at the held-out 2.6e11 FLOPs was predicted 0.7 % too high (1.550, measured 1.539), inside the 90 %
interval 1.517 to 1.574.  Budgets up to 5e11, as they were, took two thirds longer and said no more.
"""

from configs.base import base

WIDTHS = (8, 12, 16, 20, 24, 28, 32, 40, 48)


def shape(width):
    """Overrides of one size: its width, and the learning rate by the rule above."""
    rate = 0.025 * min(1.0, (32 / width) ** 2)
    return {"model.width": width, "optim.learning_rate": float(f"{rate:.2g}")}


def get_config():
    config = base()
    config.eval.every = 0  # a law is fitted to the ends
    config.batch_size = 16
    config.log_every = 100
    config.writers = ()
    config.data.update(name="text:windows", dataset="isoflop_sotu", context=64, tokenizer="bytes")
    config.model.update(name="gpt:GPT", vocab=256, layers=2, heads=2, width=16, context=64, positions="rotary")
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=0.01, b2=0.98, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=50, floor=0.05)
    config.eval.update(batch_size=64, train_records=500)  # small batches stay in a core's cache
    return config


def sweep():
    return {
        "name": "isoflop",
        "budgets": (2e10, 3.8e10, 7.2e10, 1.4e11, 2.6e11),
        "shapes": {f"w{width}": shape(width) for width in WIDTHS},
        "points": 5,
        "tokens_per_param": 45.0,
    }
