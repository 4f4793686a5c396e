"""Text from a trained language model.

    python -m train sample --workdir runs/x --prompt "My fellow citizens," --tokens 200

The network, its tokenizer and its last checkpoint are those of the run.
"""

import functools
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from train.cli import folder, moved, parser
from train.errors import UserError


def main(argv: list[str]) -> None:
    flags = parser("python -m train sample", __doc__ or "")
    flags.add_argument("--workdir", metavar="DIR", required=True, help="a run's folder, finished or not")
    flags.add_argument("--prompt", metavar="TEXT", help="what the text begins with; default: a new line, if known")
    flags.add_argument("--tokens", metavar="N", type=int, default=200, help="how many follow; default: 200")
    flags.add_argument("--temperature", metavar="T", type=float, default=0.8, help="0 is the likeliest; default: 0.8")
    flags.add_argument("--seed", metavar="N", type=int, default=0, help="another seed, another text; default: 0")
    flags.add_argument(
        "--code", metavar="MODULE:SYMBOL", action="append", default=[], help="of the run's config, outside this project"
    )
    options = flags.parse(argv)
    if options.overrides:
        raise UserError(f"--config.{options.overrides[0]}: the config is the run's own; train again to change it")
    if options.tokens < 1 or not 0 <= options.temperature < math.inf or options.prompt == "":
        raise UserError(
            "--tokens takes 1 or more, --temperature a finite number, 0 or more, and --prompt at least one character"
        )
    if not -(2**63) <= options.seed < 2**63:
        raise UserError(f"--seed {options.seed} does not fit into 64 bits; use a smaller one")
    prompt, text = sample(
        folder("--workdir", options.workdir),
        options.prompt,
        tokens=options.tokens,
        temperature=options.temperature,
        seed=options.seed,
        code=options.code,
    )
    print(prompt + text)


def sample(
    workdir: pathlib.Path,
    prompt: str | None,
    *,
    tokens: int,
    temperature: float,
    seed: int,
    code: Sequence[str] = (),
) -> tuple[str, str]:
    """The prompt and `tokens` tokens after it, as text.

    Without a prompt it is a new line, or the tokenizer's first symbol where it knows no new line.
    """
    import jax

    from models.api import from_linen
    from train.build import build
    from train.devices import runtime
    from train.experiment import build_experiment

    config = saved_config(workdir, code)
    runtime.set_up()
    experiment = build_experiment(config)
    network = build("models", config.model.to_dict(), "model") if "name" in config.model else None
    tokenizer = experiment.dataset.tokenizer
    if tokenizer is None or not hasattr(network, "empty_cache"):
        raise UserError(f"{workdir} holds {config.model.get('name', 'a game of networks')}, which writes no text")
    params, _ = restore(workdir, experiment)
    prompt_ids = first_ids(tokenizer) if prompt is None else encoded(tokenizer, prompt)
    ids = continue_text(
        from_linen(network, config.precision),
        params,
        network.empty_cache(1),
        prompt_ids,
        jax.random.key(seed),
        context=config.model.get("context", len(prompt_ids) + tokens),  # a recurrent state has no end
        tokens=tokens,
        temperature=temperature,
        known=tokenizer.vocab,
    )
    return tokenizer.decode(prompt_ids) if prompt is None else prompt, tokenizer.decode(ids)


def encoded(tokenizer: Any, prompt: str) -> list[int]:
    return [int(i) for i in tokenizer.encode(prompt.encode())]


def first_ids(tokenizer: Any) -> list[int]:
    try:
        return encoded(tokenizer, "\n")
    except ValueError:
        return [0]


def saved_config(workdir: pathlib.Path, code: Sequence[str] = ()) -> Any:
    """The run's config; of code outside the project it may name what the user has given again, `code`."""
    from ml_collections import ConfigDict

    from train.code import check_saved
    from train.record import read_config

    try:
        config = ConfigDict(read_config(workdir))
    except FileNotFoundError:
        raise UserError(f"{workdir} has no config.json: name the --workdir of a run") from None
    check_saved(config.to_dict(), code)
    return config


def restore(workdir: pathlib.Path, experiment: Any) -> tuple[Any, Any]:
    """Parameters (the averaged ones where the run averages) and model state of the last checkpoint."""
    import jax

    from train.checkpoint import Checkpoints
    from train.devices import mesh
    from train.optim.chain import evaluation_params
    from train.program import initial_state

    batch = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), experiment.batch)
    devices = mesh.make_mesh()
    like = initial_state(experiment, devices, jax.random.key(0), batch)
    checkpoints = Checkpoints(
        workdir / "checkpoints", keep_last=1, best=False, say=functools.partial(print, file=sys.stderr), read_only=True
    )
    try:
        state = checkpoints.restore(like)
    finally:
        checkpoints.close()
    if state is None:
        raise UserError(f"{workdir} has no checkpoint yet; config.checkpoint.every says when the first is saved")
    return evaluation_params(state.params, state.opt_state), state.model_state


def continue_text(
    model: Any,
    params: Any,
    cache: Any,
    ids: list[int],
    key: Any,
    *,
    context: int,
    tokens: int,
    temperature: float,
    known: int,
) -> list[int]:
    """`tokens` ids after `ids`, each below `known`.

    What exceeds the context goes on from the second half of the window before.
    """
    import jax
    import jax.numpy as jnp

    from models.gpt import generate

    program = jax.jit(functools.partial(generate, model), static_argnames=("tokens", "temperature", "known"))
    written: list[int] = []
    while len(written) < tokens:
        window = (ids + written)[-max(1, context // 2 if written else context - 1) :]
        count = max(1, context - len(window))  # the last token needs no place in the cache
        key, part = jax.random.split(key)
        prompt = jnp.asarray([window], jnp.int32)
        more = program(params, cache, prompt, part, tokens=count, temperature=temperature, known=known)
        written += [int(i) for i in more[0]]
    return written[:tokens]


if __name__ == "__main__":
    moved("python -m train.sample", "python -m train sample")
