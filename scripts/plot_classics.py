"""The pictures of docs/classics.md: gradients that vanish, widths that approximate, memories that fade, filters.

    uv run python -m scripts.plot_classics [FIGURE ...] [--runs runs/zoo] [--out docs/classics]

`filters` and `memory` are of the networks that `python -m train zoo --workdir runs/zoo` has trained.
"""

import argparse
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data import neurons
from data.pipeline import batch_at
from models.api import Model, from_linen
from models.mlp import MLP
from train import configs
from train.build import build
from train.display import Display
from train.experiment import build_experiment
from train.loop import train
from train.saved import config_of, restore
from train.tasks.supervised import classify

DEPTH, SEEDS = 50, 5
KINDS = {"plain": {}, "residual": {"residual": True}, "normalised": {"norm": "layer"}}
STARTS = [("sigmoid", "xavier_normal"), ("sigmoid", "he_normal"), ("relu", "xavier_normal"), ("relu", "he_normal")]
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
CELLS = ("rnn", "gru", "lstm")
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#B07AA1")


def main() -> None:
    figures = {"gradients": gradients, "widths": widths, "memory": memory, "filters": filters}
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("figures", nargs="*", default=list(figures), choices=list(figures), metavar="FIGURE")
    flags.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/zoo"))
    flags.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/classics"))
    options = flags.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.figures:
        figure = figures[name](options.runs)
        FigureCanvasAgg(figure).print_png(str(options.out / f"{name}.png"))


def panels(count: int, width: float = 4.0) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * count, 3.4), dpi=110, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, count)))


# Vanishing and exploding gradients.


def gradients(runs: pathlib.Path) -> Figure:
    """The error signal of every hidden layer at the start, over that of the last: one line an initialiser."""
    del runs
    figure, axes = panels(len(KINDS))
    print(f"first of {DEPTH} layers over last".ljust(34) + "".join(f"{kind:>14}" for kind in KINDS))
    lines = {(start, kind): profile(*start, **options) for start in STARTS for kind, options in KINDS.items()}
    for start in STARTS:
        print(", ".join(start).ljust(34) + "".join(f"{lines[start, kind][0]:>14.1e}" for kind in KINDS))
    for ax, kind in zip(axes, KINDS, strict=True):
        for start, colour in zip(STARTS, COLOURS, strict=True):
            ax.semilogy(np.arange(1, DEPTH + 1), lines[start, kind], color=colour, label=", ".join(start))
        ax.set(title=kind, xlabel="layer", ylim=(1e-35, 1e12))
    axes[0].set_ylabel("|∂ loss / ∂ sums| over that of the last layer")
    axes[0].legend(fontsize=8)
    return figure


def profile(activation: str, initializer: str, depth: int = DEPTH, **options) -> np.ndarray:
    """[depth] norms of the derivative by a layer's sums over that of the last, the geometric mean over some starts.

    Not by its weights: that also grows with the layer's inputs, which hides what vanishes on the way back.  The
    derivative by a bias is that by the sum it is added to, of one example.
    """
    task = classify(from_linen(MLP(10, 64, depth, activation, initializer=initializer, **options)), 10)
    rng = np.random.default_rng(0)
    x_BF, y_B = rng.standard_normal((64, 1, 64)), np.arange(64)[:, None] % 10

    @jax.jit
    def norms(key):
        start, step = jax.random.split(key)
        params, state = task.init(start, {"x": jnp.asarray(x_BF[0]), "y": jnp.asarray(y_B[0])})
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)  # 32 bits end at 1e-45
        one = lambda x, y: jax.grad(lambda p: task.loss(p, state, {"x": x, "y": y}, step, True)[0])(params)
        found = jax.vmap(one)(jnp.asarray(x_BF), jnp.asarray(y_B))
        return jnp.stack([jnp.linalg.norm(found[f"hidden_{i}"]["bias"], axis=-1).mean() for i in range(depth)])

    with jax.enable_x64(True):
        each = np.stack([norms(key) for key in jax.random.split(jax.random.key(0), SEEDS)])
    return np.exp(np.log(each / each[:, -1:]).mean(0))


# Universal approximation.


def widths(runs: pathlib.Path) -> Figure:
    """The largest error on [-1, 1] by the width of the one hidden layer, the best of three starts."""
    del runs
    figure, (left, right) = panels(2, 5.0)
    print("largest error, width".ljust(24) + "".join(f"{width:>9}" for width in WIDTHS))
    for activation, colour in zip(("sigmoid", "tanh", "relu"), COLOURS, strict=False):
        errors = [approximated(activation, width) for width in WIDTHS]
        largest = [float(np.abs(error).max()) for error in errors]
        print(activation.ljust(24) + "".join(f"{value:>9.4f}" for value in largest), flush=True)
        left.loglog(WIDTHS, largest, "o-", color=colour, label=activation)
    left.set(xlabel="units in the hidden layer", ylabel="largest error on [-1, 1]")
    left.legend()
    target = neurons.curve().valid.columns
    right.plot(target["x"][:, 0], target["y"][:, 0], color="#1b1f24", label="sin(2πx) + x²/2")
    for width, colour in zip((2, 4, 16), COLOURS, strict=False):
        error = approximated("sigmoid", width)
        right.plot(target["x"][:, 0], target["y"][:, 0] + error, color=colour, label=f"{width} sigmoids")
    right.set(xlabel="x")
    right.legend()
    return figure


def approximated(activation: str, width: int) -> np.ndarray:
    """Errors on the held-out grid of the page configs/classics/universal_approximation.py, best of three starts."""
    tried = []
    for seed in range(3):
        config = configs.load("configs/classics/universal_approximation.py").get_config()
        config.update_from_flattened_dict({"model.activation": activation, "model.width": width, "seed": seed})
        with tempfile.TemporaryDirectory() as folder:
            workdir = pathlib.Path(folder) / "run"
            train(config.lock(), workdir, Display(quiet=True))
            model, params = restored(workdir)
        grid = neurons.curve().valid.columns
        tried.append(np.asarray(model.apply(params, {}, grid["x"])[0] - grid["y"])[:, 0])
    return min(tried, key=lambda error: np.abs(error).max())


# Memories that fade.


def memory(runs: pathlib.Path) -> Figure:
    """How much the output of the adding problem depends on an input so many steps back, before and after training."""
    figure, (ax,) = panels(1, 6.0)
    for cell, colour in zip(CELLS, COLOURS, strict=False):
        workdir = runs / f"adding_{cell}"
        for when, style in (("start", ":"), ("trained", "-")):
            model, params = restored(workdir, fresh=when == "start")
            ax.semilogy(*influence(model, params, workdir), style, color=colour, label=f"{cell.upper()}, {when}")
    ax.set(xlabel="steps back", ylabel="|∂ output / ∂ input|", ylim=(1e-12, 10))
    ax.legend(ncol=2, fontsize=8)
    return figure


def influence(model: Model, params: dict, workdir: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps back, and the norm of the gradient there, averaged over 64 sequences."""
    dataset = build_experiment(config_of(workdir)).dataset
    x_BLF = jnp.asarray(dataset.valid.gather(np.arange(64))["x"])
    gradient = jax.jit(jax.grad(lambda x: model.apply(params, {}, x)[0].sum()))(x_BLF)
    size = np.asarray(jnp.linalg.norm(gradient, axis=-1).mean(0))[::-1]
    return np.arange(len(size)), np.maximum(size, 1e-30)


# What filters see.


def filters(runs: pathlib.Path) -> Figure:
    """The six filters of LeNet-5's first layer, and what they make of one digit."""
    workdir = runs / "mnist_lenet"
    _, params = restored(workdir)
    kernel = np.asarray(params["c1"]["kernel"])[:, :, 0]  # [5, 5, 6]
    batch = batch_at(build_experiment(config_of(workdir)).dataset.valid, 0, batch_size=1, seed=3)
    image = jnp.asarray(batch["x"])
    seen = jax.lax.conv_general_dilated(
        image, params["c1"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    seen = np.maximum(np.asarray(seen[0] + params["c1"]["bias"]), 0)
    figure = Figure(figsize=(9, 2.8), dpi=110, layout="constrained")
    grid = figure.subplots(2, 7)
    for ax in grid.ravel():
        ax.set_axis_off()
    grid[1, 0].imshow(image[0, :, :, 0], cmap="gray")
    extreme = np.abs(kernel).max()
    for i in range(6):
        grid[0, i + 1].imshow(kernel[:, :, i], cmap="RdBu", vmin=-extreme, vmax=extreme)
        grid[1, i + 1].imshow(seen[:, :, i], cmap="gray")
    return figure


def restored(workdir: pathlib.Path, fresh: bool = False) -> tuple[Model, dict]:
    """The network of a finished run with what it learnt, or, `fresh`, with what it began with."""
    config = config_of(workdir)
    model = from_linen(build("models", config.model.to_dict(), "model"))
    experiment = build_experiment(config)
    if fresh:
        batch = {name: jnp.zeros(value.shape, value.dtype) for name, value in experiment.batch.items()}
        return model, jax.jit(experiment.task.init)(jax.random.split(jax.random.key(config.seed), 3)[0], batch)[0]
    return model, restore(workdir, experiment)[0]


if __name__ == "__main__":
    main()
