"""What a run will cost, before its first step: parameters, FLOPs, memory, steps and data."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from train import paths
from train.cost import flops, hlo
from train.experiment import Experiment, build_models, build_task
from train.numbers import metric
from train.optim import groups


class Budget(NamedTuple):
    """Counts.  FLOPs are of training (forward and backward) without recomputation; compiled ones are of one step.

    The last two are known once the step is compiled.
    """

    blocks: list[tuple[str, int, int]]  # name, parameters, of which not embedding
    params_total: int
    params_non_embedding: int
    params_active: int  # that one token meets: of experts those it goes to
    flops_per_step: float
    units_per_step: int
    steps: int
    state_bytes: int
    groups: tuple[tuple[str, str, int, str], ...] = ()  # of the optimizer: name, what it does, parameters, their paths
    compiled_flops: float | None = None  # over all devices, recomputation included
    device_bytes: int | None = None  # that the step needs at once on one device

    @property
    def units(self) -> int:
        return self.units_per_step * self.steps

    @property
    def flops(self) -> float:
        return self.flops_per_step * self.steps


def count(experiment: Experiment) -> Budget:
    """What is known before anything is compiled."""
    config, params = experiment.config, experiment.state.params
    return Budget(
        blocks=blocks(params),
        params_total=sum(leaf.size for leaf in jax.tree.leaves(params)),
        params_non_embedding=sum(n for _, _, n in blocks(params)),
        params_active=active(experiment),
        flops_per_step=step_flops(experiment),
        units_per_step=config.batch_size * experiment.dataset.per_record,
        steps=config.steps,
        state_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(experiment.state)),
        groups=grouped(config.optim.to_dict(), params),
    )


def grouped(optim: Mapping[str, Any], params: Any) -> tuple[tuple[str, str, int, str], ...]:
    """The groups of parameters, where the config has several."""
    if not groups.is_groups(optim):
        return ()
    sizes, fates = {name: leaf.size for name, leaf in paths.leaves(params).items()}, groups.fates(optim, params)
    found = []
    for label, part in optim.items():
        names = [name for name, (own, _) in fates.items() if own == label]
        rate = f", rate {part['learning_rate']:g}" if "learning_rate" in part else ""
        found.append((label, f"{part['name']}{rate}", sum(sizes[name] for name in names), paths.listed(names, 5)))
    return tuple(found)


def active(experiment: Experiment) -> int:
    """Parameters that one token meets.  Of an axis "expert" it meets the network's `experts_per_token`, else all."""
    networks = [model.network for model in build_models(experiment.config).values()]
    each = max((getattr(network, "experts_per_token", 0) for network in networks), default=0)

    def met(leaf: jax.ShapeDtypeStruct, names: tuple[str | None, ...]) -> int:
        return leaf.size * each // leaf.shape[names.index("expert")] if each and "expert" in names else leaf.size

    return sum(jax.tree.leaves(jax.tree.map(met, experiment.state.params, experiment.axes)))


def measure(counted: Budget, compiled: Any, devices: int, work: hlo.Work | None = None) -> Budget:
    """`counted`, with `compiled`: the train step for so many `devices`; `work` is what `hlo.analyse` found in it."""
    work = work or hlo.analyse(compiled.as_text())
    return counted._replace(compiled_flops=work.flops * devices, device_bytes=peak_bytes(compiled))


def peak_bytes(compiled: Any) -> int:
    """What a device holds at once: arguments, temporaries, program, and results where they reuse no argument."""
    memory = compiled.memory_analysis()
    return int(
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )


def step_flops(experiment: Experiment) -> float:
    """FLOPs of one step's gradient, counted on the same network without rematerialisation."""
    config = experiment.config
    task = experiment.task
    if config.model.get("remat", "none") != "none":
        config = copy.deepcopy(config)
        config.model.remat = "none"
        task = build_task(config, experiment.dataset.classes)
    state = experiment.state
    key = jax.eval_shape(lambda: jax.random.key(0))
    loss = lambda learnt, params, s, b, k: task.loss(groups.merged(learnt, params), s, b, k, True)[0]
    learnt = jax.eval_shape(task.learns, state.params)
    return flops.count(jax.grad(loss), learnt, state.params, state.model_state, experiment.batch, key)


def blocks(params: Any) -> list[tuple[str, int, int]]:
    """Parameters by the second level of the tree.

    Non-embedding leaves out everything under a name with "embed" in it: token and position tables, and an untied
    output matrix (`unembed`), as in Kaplan et al. 2020, section 2.1.
    """
    rows: dict[str, list[int]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        names = [p.key for p in path]
        row = rows.setdefault("/".join(names[:2] if len(names) > 2 else names[:1]), [0, 0])
        row[0] += leaf.size
        row[1] += 0 if any("embed" in name for name in names) else leaf.size
    return [(name, total, inner) for name, (total, inner) in rows.items()]


def table(budget: Budget, unit: str) -> str:
    """For the terminal, before anything is compiled.  Neighbouring blocks of the same size share a row."""
    rows = [("block", "parameters", "non-embedding")]
    for name, total, inner in merged(budget.blocks):
        rows.append((name, f"{total:,}", f"{inner:,}"))
    rows.append(("total", f"{budget.params_total:,}", f"{budget.params_non_embedding:,}"))
    if budget.params_active < budget.params_total:
        rows.append(("that one token meets", f"{budget.params_active:,}", ""))
    width = max(len(row[0]) for row in rows)
    lines = [f"  {name:<{width}}  {total:>14}  {inner:>14}" for name, total, inner in rows]
    for label, how, numbers, names in budget.groups:
        lines.append(f"  {f'group {label}: {how}':<{width}}  {numbers:>14,}  {names}")
    units = metric(budget.units)
    lines += [
        f"  {budget.steps:,} steps × {budget.units_per_step:,} {unit}s = {units} {unit}s",
        f"  {metric(budget.flops_per_step / budget.units_per_step, 'FLOP')} per {unit} × {units} "
        f"= {metric(budget.flops, 'FLOP')} (matrix products and convolutions)",
        f"  {metric(budget.state_bytes, 'B')} of train state",
    ]
    return "\n".join(lines)


def compiled_line(budget: Budget) -> str:
    """What compiling the step has shown."""
    assert budget.compiled_flops is not None
    assert budget.device_bytes is not None
    ratio = budget.compiled_flops / budget.flops_per_step if budget.flops_per_step else float("nan")
    return f"XLA plans for {metric(budget.device_bytes, 'B')} on a device and {ratio:.2f} × these FLOPs"


def merged(rows: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    out: list[tuple[str, int, int]] = []
    names: list[list[str]] = []
    for name, total, inner in rows:
        if out and out[-1][1:] == (total, inner):
            names[-1].append(name)
        else:
            out.append((name, total, inner))
            names.append([name])
    label = lambda n: n[0] if len(n) == 1 else f"{n[0]} … {n[-1].split('/')[-1]} (each of {len(n)})"
    return [(label(n), *row[1:]) for n, row in zip(names, out, strict=True)]
