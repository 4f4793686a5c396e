"""What a trained model generates: text; lines or words of a prompt's lines or sounds; pictures; games.

    python -m train sample --workdir runs/gpt --prompt "My fellow citizens," --tokens 200
    python -m train sample --workdir runs/reversal_transformer --prompt "$(cat lines.txt)"
    python -m train sample --workdir runs/digits_whisper --prompt recordings/7_jackson_0.wav
    python -m train sample --workdir runs/mnist_vae --count 64
    python -m train sample --workdir runs/connect_four

The network, its tokenizer and its checkpoint are those of the run.  Text is printed.  What is no text goes into the
folder --out, by default the run's own: all arrays into samples.npz, pictures and points in a plane into samples.png;
tables of pictures, such as a walk through the latent space, into a file of their own (walk.png).  Of the games that a
network plays against itself the first is printed.
"""

import functools
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from train.cli import folder, moved, of_a_run, parser, read_of_a_run
from train.errors import UserError

if TYPE_CHECKING:
    from train.saved import Saved, Step

COUNT = 64
ARRAYS = "samples.npz"


def main(argv: list[str]) -> None:
    flags = parser("python -m train sample", __doc__ or "")
    of_a_run(flags)
    flags.add_argument("--prompt", metavar="TEXT", help="what the text begins with; default: a new line, if known")
    flags.add_argument("--tokens", metavar="N", type=int, default=200, help="how many follow; default: 200")
    flags.add_argument(
        "--temperature", metavar="T", type=float, help="0 is the likeliest; default: 0.8, or 0 of a line made of a line"
    )
    flags.add_argument("--count", metavar="N", type=int, default=COUNT, help=f"how many pictures; default: {COUNT}")
    flags.add_argument("--out", metavar="DIR", help="where pictures go; default: the run's folder")
    flags.add_argument("--seed", metavar="N", type=int, default=0, help="another seed, another sample; default: 0")
    options = read_of_a_run(flags, argv)
    if options.tokens < 1 or not 0 <= (options.temperature or 0.0) < math.inf or options.prompt == "":
        raise UserError(
            "--tokens takes 1 or more, --temperature a finite number, 0 or more, and --prompt at least one character"
        )
    if not -(2**63) <= options.seed < 2**63:
        raise UserError(f"--seed {options.seed} does not fit into 64 bits; use a smaller one")
    if options.count < 1:
        raise UserError(f"--count {options.count}: ask for 1 or more")
    workdir = folder("--workdir", options.workdir)
    step = "best" if options.best else "last" if options.step is None else options.step

    from train import saved

    if saved.data_of(workdir).tokenizer is None:
        out = workdir if options.out is None else folder("--out", options.out)
        files, shown = records(workdir, out, options.count, options.seed, options.code, step)
        print("\n".join(filter(None, [f"in {out}: {', '.join(files)}", shown])))
        return
    prompt, text = sample(
        workdir,
        options.prompt,
        tokens=options.tokens,
        temperature=options.temperature,
        seed=options.seed,
        code=options.code,
        step=step,
    )
    print(prompt + text)


def records(
    workdir: pathlib.Path, out: pathlib.Path, count: int, seed: int, code: Sequence[str] = (), step: "Step" = "last"
) -> tuple[list[str], str]:
    """Writes `count` samples of the run to the folder `out`; the names of the files, and of games the first as text."""
    from train import boards, record, saved
    from train.devices import runtime
    from train.files import as_part, write_whole

    saved.config_of(workdir, code)
    runtime.set_up()
    run = saved.load(workdir, code, step)
    made = run.sample(count, seed)
    record.make_folder(out)
    with as_part(out / ARRAYS) as part, part.open("wb") as file:
        np.savez(file, **made)
    drawn = {name: png for name, array in made.items() if (png := picture(array, run.experiment.batch["x"].shape[1:]))}
    for name, png in drawn.items():
        write_whole(out / f"{name}.png", png)
    game = boards.text(made["games"][0], made["result"][0]) if "games" in made else ""
    return [ARRAYS, *(f"{name}.png" for name in drawn)], game


def picture(made: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """PNG of records [N, …] of `shape`, or of a table [rows, columns, …] of them; none of what cannot be drawn."""
    from train import sheets

    axes = made.ndim - len(shape)
    is_image = len(shape) == 3 and made.shape[-1] in (1, 3)
    if axes == 1 and shape == (2,):
        return sheets.of_points(made)
    if not is_image or axes not in (1, 2):
        return b""
    columns = math.ceil(math.sqrt(len(made))) if axes == 1 else made.shape[1]
    return sheets.of_pictures(made.reshape(-1, *made.shape[axes:]), columns)


def generated(run: "Saved", count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What the task of `run` makes of noise (`Sampler` of train/latents.py), on the host."""
    import jax

    task = run.experiment.task
    if task.sample is None:
        raise UserError(
            f"the task of this run, {run.config.task.name}, generates nothing; those of VAEs, GANs, diffusion "
            "models and games do, and language models"
        )
    make = jax.jit(task.sample, static_argnums=3)
    return jax.device_get(make(run.params, run.model_state, jax.random.key(seed), count))


def sample(
    workdir: pathlib.Path,
    prompt: str | None,
    *,
    tokens: int,
    temperature: float | None,
    seed: int,
    code: Sequence[str] = (),
    step: "Step" = "last",
) -> tuple[str, str]:
    """The prompt and `tokens` tokens after it, as text; or nothing, and what an encoder–decoder makes of the prompt.

    Without a prompt it is a new line, or the tokenizer's first symbol where it knows no new line.
    """
    import jax

    from train import saved
    from train.devices import runtime
    from train.experiment import build_models
    from train.translation import translated

    config = saved.config_of(workdir, code)
    runtime.set_up()
    model = build_models(config).get("model")  # none of a game
    tokenizer = saved.data_of(workdir).tokenizer
    if tokenizer is not None and hasattr(getattr(model, "network", None), "start"):
        if prompt is None:
            raise UserError("this run makes lines of lines, or of sounds; give it one with --prompt")
        run = saved.load(workdir, code, step)
        made = translated(run, prompt.splitlines(), tokens=tokens, temperature=temperature or 0.0, seed=seed)
        return "", "\n".join(made)
    if tokenizer is None or model is None or not hasattr(model.network, "empty_cache"):
        raise UserError(f"{workdir} holds {config.model.get('name', 'a game of networks')}, which writes no text")
    params = saved.load(workdir, code, step).params
    prompt_ids = first_ids(tokenizer) if prompt is None else encoded(tokenizer, prompt)
    length = len(prompt_ids) + tokens
    context = min(length, config.model.get("context", length))  # a recurrent state has no end
    ids = continue_text(
        model,
        params,
        model.network.empty_cache(1, context),
        prompt_ids,
        jax.random.key(seed),
        context=context,
        tokens=tokens,
        temperature=0.8 if temperature is None else temperature,
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
    """`tokens` ids after `ids`, each below `known`, with one pass over the network for each.

    What exceeds the context goes on from the second half of the window before.
    """
    import jax
    import jax.numpy as jnp

    from models.decode import How, generate, step_of

    program = jax.jit(functools.partial(generate, step_of(model)), static_argnames=("tokens", "how"))
    written: list[int] = []
    for kept, count in windows(len(ids), tokens, context):
        key, part = jax.random.split(key)
        prompt = jnp.asarray([(ids + written)[-kept:]], jnp.int32)
        more = program(params, cache, prompt, part, tokens=count, how=How(temperature, known=known))
        written += [int(i) for i in more[0]]
    return written


def windows(prompt: int, tokens: int, context: int) -> list[tuple[int, int]]:
    """How many of the last ids each window begins with, and how many it adds: `tokens` in all.

    All windows but the first add as many, so that there are two programs to compile; where the prompt leaves no room
    for that, the second is the odd one too.
    """
    first = min(prompt, max(1, context - 1))  # the last token needs no place in the cache
    room, half = max(1, context - first), max(1, context // 2)
    if tokens <= room:
        return [(first, tokens)]
    each = max(1, context - half)
    rest = -(-(tokens - room) // each)  # windows after the first
    odd = tokens - rest * each
    if odd > 0:
        return [(first, odd), *[(half, each)] * rest]
    return [(first, room), (half, odd + each - room), *[(half, each)] * (rest - 1)]


if __name__ == "__main__":
    moved("python -m train.sample", "python -m train sample")
