"""Which learning rate suits which width: the measurement behind the rule in scaling_demo.py.

python -m scaling sweep --config configs/scaling/scaling_demo_rate.py --workdir runs/rate
"""

from configs.scaling.scaling_demo import get_config, shape  # noqa: F401 - get_config is what a config file is asked for

STEPS = {8: 1000, 16: 900, 32: 700, 48: 500, 80: 350}
RATES = (0.004, 0.008, 0.016, 0.032, 0.064)


def sweep():
    runs = {
        f"w{width}_lr{rate}": {**shape(width), "steps": steps, "optim.learning_rate": rate}
        for width, steps in STEPS.items()
        for rate in RATES
    }
    return {"name": "listed", "runs": runs}
