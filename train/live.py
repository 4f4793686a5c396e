"""The page of a run while it trains."""

import pathlib
import time
from collections.abc import Callable

EVERY = 30.0  # seconds from one drawing to the next
SHARE = 0.02  # of the time that drawing may take


class Page:
    """Draws `folder`/run.html at most every 30 s and in at most a fiftieth of the time; no failure ends the run."""

    def __init__(self, folder: pathlib.Path, say: Callable[[str], None], draws: bool):
        self.folder, self.say, self.draws = folder, say, draws
        self.due = time.monotonic() + EVERY
        self.failed = False

    def refresh(self) -> bool:
        """Whether it was time to draw."""
        due = time.monotonic() >= self.due
        if due:
            self.write(running=True)
        return due

    def write(self, running: bool = False) -> None:
        if not self.draws:
            return
        start = time.monotonic()
        try:
            from train import curves  # Matplotlib takes half a second, which a run that ends early need not wait for

            curves.write(self.folder, running)
        except Exception as error:  # a page is no reason to lose a run
            if not self.failed:
                why = f"{type(error).__name__}: {error}"
                self.say(f"{self.folder / 'run.html'} is not drawn ({why}); the run does not need it")
            self.failed = True
        now = time.monotonic()
        self.due = now + max(EVERY, (now - start) / SHARE)
