"""Compiles what the fit of a sweep needs while the sweep still runs: half of a first fit's time."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator


def programs(rows: int, draws: int) -> list[Callable[[], None]]:
    """Each compiles one, of the default law, of those that it is compared with, and of Kaplan's in one variable."""
    from scaling.fit.question import Question
    from scaling.fit.select import candidates
    from scaling.fit.solver import prepare
    from scaling.laws import LAWS

    asked = Question(LAWS["chinchilla"])
    of = lambda law, count: functools.partial(prepare, law.predict, len(law.inputs), len(law.params), count, rows)
    laws = {
        question.law.predict: question.law for question in [*candidates(asked).values(), Question(LAWS["kaplan_n"])]
    }
    return [of(asked.law, draws), *[of(law, 1) for law in laws.values()]]


@contextlib.contextmanager
def warming(rows: int, draws: int = 1000) -> Iterator[Callable[[], None]]:
    """A thread that compiles them; what it gives waits for it.  At an error it ends after the program at hand."""
    from train.devices import runtime

    runtime.set_up()
    over, made = threading.Event(), programs(rows, draws)  # here: two threads must not import the same modules

    def work() -> None:
        for make in made:
            if over.is_set():
                return
            make()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread.join
    finally:
        over.set()
