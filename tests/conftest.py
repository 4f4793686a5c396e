"""The tests run stricter than production: no implicit rank promotion, no PRNG key used twice, warnings are errors."""

import gc
import os
import pathlib
import signal
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# At LLVM's full optimisation every random draw costs seconds to compile; tests compile more than they compute.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Tests start many processes, each of which would compile every module of this project again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
# Tracing makes millions of small objects; collecting after every 700 of them takes a tenth of the tests' time.
gc.set_threshold(50_000, 20, 50)


def pytest_sessionstart() -> None:
    """Gives each of several workers its share of the cores, before JAX counts them: its threads would change places."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        from train.children import own_cores

        own_cores(int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """One compilation cache for all tests and the processes they start."""
    from train.devices import runtime

    folder = tmp_path_factory.mktemp("xla")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    runtime.set_up()
    return folder


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """A shell that runs the tests in the background ignores some signals; the processes of tests would inherit that."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [number for number in usual if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, so that the last that each of several workers has to do are short ones."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    gc.freeze()  # what is loaded now stays: nothing of it has to be looked at again
