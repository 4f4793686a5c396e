"""What a run will cost: counted in the compiled program, however it is written, and said before it runs."""

import gc
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.lowering import lower
from tests.support.small import PAGES, one_of_each
from train import configs
from train.__main__ import main
from train.cost import chips, hlo, machine, memory, plan, show
from train.devices import mesh, runtime
from train.errors import UserError
from train.experiment import build_experiment
from train.program import Program

HAS_TPU_COMPILER = importlib.util.find_spec("libtpu") is not None


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """What the tests before have left is not looked at again by each collection that measuring memory makes."""
    gc.freeze()


def compiled(fn, *args):
    return hlo.analyse(jax.jit(fn).lower(*args).compile().as_text())


def test_loops_count_as_often_as_they_run():
    """A scan of 7 products and the same 7 written out; XLA's own count of the scan is one."""
    w = jnp.ones((7, 64, 64))
    scanned = lambda x: jax.lax.scan(lambda x, w: (x @ w, None), x, w)[0]
    written = lambda x: jax.lax.fori_loop(0, 1, lambda _, x: x, x) @ w[0] @ w[1] @ w[2] @ w[3] @ w[4] @ w[5] @ w[6]
    nested = lambda x: jax.lax.scan(lambda x, _: (scanned(x), None), x, None, length=3)[0]
    x = jnp.ones((32, 64))
    assert compiled(scanned, x).flops == compiled(written, x).flops == 7 * 2 * 32 * 64 * 64
    assert compiled(nested, x).flops == 3 * 7 * 2 * 32 * 64 * 64


def test_convolutions_count_what_meets_the_image():
    """3 × 3 over 8 × 8 with zero padding: the border multiplies fewer."""
    x, k = jnp.ones((2, 8, 8, 5)), jnp.ones((3, 3, 5, 4))
    conv = lambda x: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    inside = (8 * 3 - 2) ** 2  # pairs of an output and a pixel along both axes
    assert compiled(conv, x).flops == 2 * 2 * 4 * 5 * inside


LOOP = """HloModule step, is_scheduled=true

%body (p: (s32[], bf16[16,8])) -> (s32[], bf16[16,8]) {
  %p = (s32[]{:T(128)}, bf16[16,8]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %two = s32[]{:T(128)} constant(2)
  %next = s32[]{:T(128)} add(%i, %two)
  %x = bf16[16,8]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %gather-start = (bf16[16,8]{1,0}, bf16[64,8]{1,0}) all-gather-start(%x), channel_id=1, GROUPS
  %y = bf16[16,16]{1,0:T(8,128)S(1)} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={1}
  %gather-done = bf16[64,8]{1,0} all-gather-done(%gather-start)
  %sum = bf16[16,8]{1,0:T(8,128)} all-reduce(%x), replica_groups=[2,4]<=[8], metadata={op_name="jit(step)/sum"}
  ROOT %out = (s32[]{:T(128)}, bf16[16,8]{1,0:T(8,128)}) tuple(%next, %sum)
}

%condition (q: (s32[], bf16[16,8])) -> pred[] {
  %q = (s32[]{:T(128)}, bf16[16,8]{1,0:T(8,128)}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%q), index=0
  %end = s32[]{:T(128)} constant(12)
  ROOT %less = pred[]{:T(512)} compare(%j, %end), direction=LT
}

ENTRY %main (a: bf16[16,8]) -> bf16[16,8] {
  %a = bf16[16,8]{1,0:T(8,128)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, bf16[16,8]{1,0:T(8,128)}) tuple(%zero, %a)
  %while = (s32[]{:T(128)}, bf16[16,8]{1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  ROOT %result = bf16[16,8]{1,0:T(8,128)} get-tuple-element(%while), index=1
}
""".replace("GROUPS", "replica_groups=mesh['data'=2,'fsdp'=4] {'fsdp'}")


def test_collectives_in_a_loop():
    """Six trips (0 to 12 by twos): kind, group, bytes by ring algorithms, and what runs beside an asynchronous one."""
    work = hlo.analyse(LOOP)
    gather, reduce = sorted(work.collectives, key=lambda each: each.kind)
    product = 2 * 16 * 16 * 8
    assert work.flops == 6 * product
    assert (gather.kind, gather.group, gather.times, gather.loop) == ("all-gather", 4, 6, 1)
    assert (gather.bytes, gather.wire) == (4 * 16 * 8 * 2, 3 / 4 * 4 * 16 * 8 * 2)
    assert gather.asynchronous
    assert gather.between.flops == product
    assert (reduce.kind, reduce.group, reduce.source) == ("all-reduce", 4, "jit(step)/sum")
    assert reduce.wire == 2 * 3 / 4 * 16 * 8 * 2
    assert not reduce.asynchronous
    chip = chips.CHIPS["TPU v5 lite"]
    assert plan.waiting(reduce, chip) == reduce.wire / chip.links
    assert plan.waiting(gather, chip._replace(links=1e30)) == 0


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("replica_groups=mesh['a'=8] {'a':(2)4}", 4),
        ("replica_groups=[16,2]<=[32]", 2),
        ("replica_groups={{0,1,2},{3,4,5}}", 3),
        ("source_target_pairs={{0,1},{1,0}}", 2),
    ],
)
def test_groups(groups, size):
    assert hlo.group(f"channel_id=1, {groups}, to_apply=%add") == size


@pytest.mark.slow
@pytest.mark.parametrize("page", one_of_each(PAGES), ids=lambda page: page.stem)
def test_networks_lower_for_cuda_and_tpu(page, tmp_path):
    """The whole train step, without either at hand; scripts/check/lower.py takes every page."""
    lower(page, tmp_path, ["cuda", "tpu"])


@pytest.mark.slow
def test_a_plan_of_this_machine(capsys):
    page = ["plan", "--config", "configs/classics/digits_mlp.py"]
    main([*page, "--json"])
    made = json.loads(capsys.readouterr().out)
    assert made["params_total"] == made["params_active"] == 26_122
    assert made["steps"] == configs.load("configs/classics/digits_mlp.py").get_config().steps
    assert made["flops_per_step"] == made["flops_compiled"]
    assert made["run_seconds_estimate"] == made["step_seconds_estimate"] * made["steps"]
    assert min(made["peak_bytes"], made["xla_bytes"]) > made["state_bytes"] > 3 * 4 * 26_122
    main(page)
    shown = capsys.readouterr().out
    assert "26,122" in shown
    assert re.search(r"step +[\d.]+ ms \(median of \d+ timed here\)", shown)


def test_what_does_not_fit_is_counted_and_not_compiled(monkeypatch, capsys):
    """The published counts in seconds; the program would need a hundred times this memory."""
    monkeypatch.setattr(machine, "free_memory", lambda device: 24e9)
    monkeypatch.setattr(Program, "compile", lambda *_: pytest.fail("compiled what does not fit"))
    main(["plan", "--config", "imagenet_vgg16", "--config.batch_size=8192", "--json"])
    shown = capsys.readouterr()
    made = json.loads(shown.out)
    assert (made["params_total"], made["fits"], made["step_seconds_estimate"]) == (138_357_544, False, None)
    # 3.09e10 FLOPs an image forward (Simonyan & Zisserman's network), without the zeros of the padding; thrice that.
    assert made["flops_per_step"] == pytest.approx(8192 * 3 * 3.09e10, rel=0.05)
    assert made["estimated_bytes"] > 240e9
    assert "it does not fit; lower config.batch_size" in shown.err


def test_a_page_for_many_devices_is_counted_on_one(capsys):
    main(["plan", "--config", "gpt_1b", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert (made["fits"], made["compile_seconds"]) == (False, None)
    assert made["blocks"]["position_embed"] == 2048 * 2048
    # 12 D² a block of attention and perceptron, and the scales of two norms.
    assert made["blocks"]["stack/blocks"] == 24 * (12 * 2048**2 + 2 * 2048)
    assert "config.mesh (data -1, fsdp 32, expert 1, context 1, tensor 1) does not fit" in made["refused"]


def test_chip_hours_and_dollars():
    config = configs.load("configs/text/gpt_124m.py").get_config()
    made = plan.counted(plan.planned(config), mesh.alone(), 1)
    traffic = (plan.Traffic("all-gather", 8, False, 1, 1e6, 0, 0.0),)
    made = made._replace(
        collectives=traffic, chip=chips.CHIPS["TPU v5 lite"], chips=8, step_seconds=0.36, peak_bytes=2.0**30
    )
    assert "15.2 chip-hours at least, $18.24 at $1.2 each" in show.rest(made, 1.2)  # 8 × 19,000 × 0.36 s
    assert show.as_json(made, 1.2)["dollars"] == pytest.approx(18.24)


def test_a_step_that_takes_longer_than_the_limit_is_not_timed(monkeypatch, capsys):
    monkeypatch.setattr(machine, "peak", lambda _: 1e3)
    monkeypatch.setattr(Program, "compile", lambda *_: pytest.fail("compiled what is not timed"))
    main(["plan", "--config", "digits_mlp"])
    shown = capsys.readouterr().out
    assert (
        shown.index("26,122") < shown.index("it fits") < shown.index("neither compiled nor timed: its products alone")
    )


def test_timing_ends_at_its_limit(monkeypatch):
    """The first step, and no more where that took the whole of the time."""
    monkeypatch.setattr(plan, "LIMIT", 1e-9)
    monkeypatch.setattr(machine, "peak", lambda _: 1e30)
    made = plan.here(configs.load("digits_mlp").get_config())
    assert made.timed_steps == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no process is kept to some of the cores here")
def test_a_peak_is_of_the_cores_that_the_process_may_use(tmp_path, monkeypatch):
    """A worker that has one core measures that one, and what it keeps is not the peak of a process that has four."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = []
    for count, speed in ((1, 1e11), (4, 4e11), (1, 2e11)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=count: set(range(count)))
        monkeypatch.setattr(machine, "speed", lambda speed=speed: speed)
        found.append(machine.measured_once())
    assert found == [1e11, 4e11, 1e11], "the third has the first's cores, which were measured"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the time of its processors")
def test_a_busy_machine_is_said():
    """One process at work beside this one, which waits: one processor."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        time.sleep(0.3)
        before = machine.now()
        time.sleep(0.5)
        found = machine.others(before, machine.now())
        busy.kill()
    assert found > 0.5
    made = plan.here(configs.load("digits_mlp").get_config())
    assert "other processes kept 1.4 of" in show.busy(made._replace(others=1.4))
    assert "a quiet machine is faster" not in show.busy(made._replace(others=0.1))


def test_memory_of_a_program_before_it_is_compiled():
    """x @ w is alive while the second product is made; what is elementwise between them is fused."""
    n = 4 * 64 * 64
    x = jnp.ones((64, 64))
    jaxpr = lambda fn: jax.make_jaxpr(fn)(x, x).jaxpr
    assert memory.temporaries(jaxpr(lambda x, w: x @ w)) == 0, "a result, and no temporary"
    assert memory.temporaries(jaxpr(lambda x, w: (x @ w) @ w)) == n
    assert memory.temporaries(jaxpr(lambda x, w: jnp.exp(x @ w).sum())) == n
    assert memory.temporaries(jaxpr(lambda x, w: ((x @ w) @ w) @ w)) == 2 * n
    assert memory.temporaries(jaxpr(jax.jit(lambda x, w: ((x @ w) @ w) @ w))) == 2 * n, "calls are flattened"
    scanned = lambda x, w: jax.lax.scan(lambda x, _: (((x @ w) @ w) @ w, None), x, None, length=9)[0]
    assert memory.temporaries(jaxpr(scanned)) == 2 * n


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process held at most")
def test_memory_by_which_a_process_grows():
    """What was given back before the end counts, and what was freed before the start does not make it unseen."""
    np.ones(10**7)  # 80 MB, freed at once
    grown = lambda run: statistics.median(runtime.grown(run) for _ in range(3))  # JAX's own threads may show in one
    assert grown(lambda: np.ones(10**7).sum()) == pytest.approx(8e7, rel=0.1)
    assert grown(lambda: None) < 8e6


def test_steps_are_made_where_no_kernel_says_their_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "PROCESS", tmp_path / "nowhere")
    made = []
    assert runtime.grown(lambda: made.append("a step")) is None
    assert made == ["a step"]


def test_a_plan_needs_no_data(tmp_path, monkeypatch):
    """A set that nobody has prepared here is planned for on random images of its shape; training refuses it."""
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    config = configs.load("configs/images/mnist_lenet.py").get_config()
    known = plan.planned(config)
    config.data.dataset = "mnist"
    posed = plan.planned(config)
    assert posed.config.data.name == "random:like"
    assert posed.batch == known.batch
    assert posed.state == known.state
    with pytest.raises(ValueError, match="'mnist' is not prepared"):
        build_experiment(config)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["plan", "--fit"], "--fit needs --topology"),
        (["plan", "--price", "1"], "--price needs --topology"),
        (["plan", "--topology", "v5e"], "write KIND:SHAPE, such as v5e:2x4"),
        (["--plan"], "--plan is no flag of training; write python -m train plan --config FILE"),
        (["--topology=v5e:2x4"], "write python -m train plan --config FILE --topology"),
        (["--zoo"], "--zoo is no flag of training; write python -m train zoo"),
        (
            ["paln"],
            "there is no such verb; did you mean 'plan'? "
            "It takes: compare, export, plan, predict, sample, score, supervise, zoo",
        ),
    ],
)
def test_plans_that_cannot_be(flags, said):
    with pytest.raises(UserError, match=re.escape(said)):
        main([*flags, "--config", "digits_mlp"])


@pytest.mark.skipif(HAS_TPU_COMPILER, reason="libtpu is installed")
def test_without_libtpu_it_is_named():
    with pytest.raises(UserError, match="libtpu, which is not installed; run `uv run --extra tpu"):
        main(["plan", "--config", "digits_mlp", "--topology", "v5e:2x4"])


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "slices", "measured"), [(16, 2, 9.72), (256, 8, 81.34)])
def test_an_estimate_for_a_gpu_is_near_what_one_used(batch, slices, measured):
    """GiB of GPT-2 124M in bfloat16 on an H200 (scripts/check/gpu_h200.json); its own FLOPs at the chip's peak."""
    config = configs.load("gpt_124m").get_config()
    config.update(batch_size=batch, loss_slices=slices)
    config.model.update(stack="unrolled", remat="none")
    made = plan.elsewhere(config, "h200:1")
    assert made.peak_bytes == pytest.approx(measured * 2**30, rel=0.1)
    assert made.compute_seconds == pytest.approx(made.work.flops_per_step / 989.4e12, rel=1e-3)


def test_fit_changes_what_costs_least_first():
    config = configs.load("configs/text/gpt_124m.py").get_config()
    config.model.remat = "none"
    config.mesh.update(data=-1, fsdp=1)
    tried = list(plan.candidates(config, 8))
    assert tried[0] == {}
    assert [each["accumulate"] for each in tried[1:4]] == [4, 16, 64]
    assert tried[4] == {"model.remat": "full"}
    layouts = [each.get("mesh.fsdp") for each in tried]
    assert layouts == sorted(layouts, key=lambda fsdp: fsdp is not None), "a layout changes after all else has failed"
    assert [each["batch_size"] for each in tried if "batch_size" in each] == [256, 64, 16]


@pytest.mark.skipif(not HAS_TPU_COMPILER, reason="needs libtpu, the extra tpu")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_config_compiles_for_a_tpu_slice(page, tmp_path):
    """Small, for eight chips: it fits, and nothing is moved in a loop that none asked for."""
    config = small(page, tmp_path)
    config.batch_size = 64
    made = plan.elsewhere(config, "v5e:2x4")
    assert 0 < made.peak_bytes < made.chip.memory
    assert 0 < made.mfu < 1
    assert not [each for each in made.collectives if each.kind == "all-to-all" and each.in_loop]
