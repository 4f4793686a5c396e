"""What a run will cost, before it trains: parameters, FLOPs, memory, whether it fits, and the time of a step.

    python -m train plan --config text_gpt                              on this machine
    python -m train plan --config gpt_1b --topology v5e:16x16 --fit     on TPUs that are not here (extra tpu)
    python -m train plan --config gpt_1b --topology h100:8              on GPUs that are not here: an estimate

First comes what is counted without compiling.  Only what fits is compiled and timed, for ten seconds at most.
"""

import json
import sys

from train.cli import parser
from train.errors import UserError


def main(argv: list[str]) -> None:
    flags = parser("python -m train plan", __doc__ or "")
    flags.add_argument("--config", metavar="FILE", required=True, help="the experiment, or its name")
    flags.add_argument("--config.KEY", metavar="VALUE", dest="_", help="changes one of its values")
    flags.add_argument(
        "--topology", metavar="KIND:SHAPE", help="plan for these TPUs, such as v5e:2x4, or GPUs, such as h100:8"
    )
    flags.add_argument("--fit", action="store_true", help="change accumulation, remat, mesh, batch until it fits them")
    flags.add_argument("--price", metavar="DOLLARS", type=float, help="of a chip-hour: says what the run would cost")
    flags.add_argument("--json", action="store_true", help="the plan as one JSON object; what comes first on stderr")
    options = flags.parse(argv)
    if options.fit and "x" not in (options.topology or ""):
        raise UserError("--fit needs --topology KIND:SHAPE of TPUs, for which programs are compiled to choose from")
    if options.price is not None and not options.topology:
        raise UserError("--price needs --topology KIND:SHAPE: it is that of an hour of one of its chips")

    from train import configs

    config = configs.config_of(configs.load(options.config), options.overrides, reads=False)

    import jax

    from train.cost import plan as plans
    from train.cost import show
    from train.devices import runtime
    from train.writer import finite

    if options.topology:
        jax.config.update("jax_platforms", "cpu")  # libtpu is here to compile; no chip is
    runtime.set_up(config.cpu_devices)
    say = lambda text: print(text, file=sys.stderr, flush=True)
    shown = lambda text: print(text, file=sys.stderr if options.json else sys.stdout, flush=True)
    tell = lambda plan: shown(show.first(plan))
    if options.fit:
        made = plans.fit(config, options.topology, say)
        tell(made)
    elif options.topology:
        made = plans.elsewhere(config, options.topology, tell)
    else:
        made = plans.here(config, tell)
    print(json.dumps(finite(show.as_json(made, options.price))) if options.json else show.rest(made, options.price))
