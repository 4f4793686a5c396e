"""A run on Cloud TPU, from nothing to its record, with gcloud.

    python -m scripts.launch_tpu keep   --name a --zone us-west4-a --type v5litepod-16 --bucket my-bucket --hours 12 \\
                                        --spot -- --config configs/text/gpt_124m.py --workdir gpt
    python -m scripts.launch_tpu up     --name a --zone us-west4-a --type v5litepod-16 --bucket my-bucket --hours 12
    python -m scripts.launch_tpu run    --name a --zone us-west4-a -- --config configs/text/gpt_124m.py --workdir gpt
    python -m scripts.launch_tpu status --name a --zone us-west4-a [--price 1.2]
    python -m scripts.launch_tpu logs   --name a --zone us-west4-a
    python -m scripts.launch_tpu down   --name a --zone us-west4-a

keep    up, run, and the same again whenever the slice is preempted, until the run has ended; then down.  A run that
        fails ends it too, and so does the limit of hours
up      looks whether zone and quota allow the slice, asks for it, waits, copies the committed files, installs, mounts
        the bucket
run     starts training on every host; the work folder is in the bucket, which all hosts see
status  the slice, what it has cost, and what each host does
logs    follows the first host's output
down    deletes the slice; the bucket stays

After --hours each host stops its run, which saves, and the first deletes the slice, also when this machine is off.
--dry-run prints the commands and runs none.  See docs/tpu.md.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable

from scripts.gcloud import RUNTIMES, Cloud, Failed
from scripts.tpu import CODE, DATA, ENDED, SAVING, Refused, down, logs, patiently, pause, run, status, stop, up

SURE = 4  # looks at which a failed run must be seen on a slice that is ACTIVE: a preempted one fails before it says so
LOSSES = 3  # slices that may be lost, one after the other, before their run has begun
AGAIN = 10  # looks between two commands to start what does not run
INTERRUPTED = 75  # exit code of a run that was stopped and has saved


def main(argv: list[str]) -> None:
    try:
        act(argv)
    except Failed as error:
        sys.exit(f"error: {error}")


def act(argv: list[str]) -> None:
    split = argv.index("--") if "--" in argv else len(argv)
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("action", choices=["keep", "up", "run", "status", "logs", "down"])
    flags.add_argument("--name", required=True, help="of the slice")
    flags.add_argument("--zone", required=True, help="such as us-west4-a")
    flags.add_argument("--project", help="default: gcloud's own")
    flags.add_argument("--type", help="of the slice, such as v5litepod-16, v5p-128, v6e-8")
    flags.add_argument("--bucket", help="Cloud Storage bucket of the work folders, in the same region")
    flags.add_argument("--hours", type=float, help="after which the slice is deleted, whatever it does")
    flags.add_argument("--price", type=float, help="of a chip-hour, in dollars")
    flags.add_argument("--spot", action="store_true", help="cheaper, and may be preempted")
    flags.add_argument("--dry-run", action="store_true")
    options = flags.parse_args(argv[:split])
    training = argv[split + 1 :]
    if options.action in ("up", "keep"):
        missing = [f"--{name}" for name in ("type", "bucket", "hours") if getattr(options, name) is None]
        if missing:
            flags.error(f"{options.action} needs {' and '.join(missing)}")
        if not re.fullmatch(rf"({'|'.join(RUNTIMES)})-[1-9]\d*", options.type):
            flags.error(f"--type {options.type}: known are {', '.join(f'{kind}-N' for kind in RUNTIMES)}")
        options.bucket = options.bucket.removeprefix("gs://").rstrip("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]+[a-z0-9]", options.bucket):
            flags.error(f"--bucket {options.bucket}: a bucket's name has small letters, digits, dots, - and _")
        if not 0 < options.hours < 1000:
            flags.error(f"--hours {options.hours:g}: give the hours after which the slice is deleted")
    folder = ""
    if options.action in ("run", "keep"):
        try:
            folder, training = moved(training)
        except ValueError as error:
            flags.error(f"{options.action} needs what to train, -- --config FILE --workdir NAME: {error}")
        check_training(training)
    cloud = Cloud(options)
    actions: dict[str, Callable[[], object]] = {
        "keep": lambda: keep(cloud, folder, training),
        "up": lambda: up(cloud, options.hours),
        "run": lambda: run(cloud, folder, training),
        "status": lambda: status(cloud),
        "logs": lambda: logs(cloud),
        "down": lambda: down(cloud),
    }
    actions[options.action]()


def moved(training: list[str]) -> tuple[str, list[str]]:
    """The work folder, by its name in the bucket, and the training's words with where the hosts see it.

    Both spellings, `--workdir NAME` and `--workdir=NAME`, and the whole address of it are understood.
    """
    words = [part for word in training for part in (word.split("=", 1) if word.startswith("--workdir=") else [word])]
    places = [i + 1 for i, word in enumerate(words) if word == "--workdir"]
    if len(places) != 1 or places[0] >= len(words):
        raise ValueError("it has one --workdir, with a name")
    folder = re.sub(r"^gs://[^/]*/", "", words[places[0]]).strip("/")
    if not folder or ".." in folder.split("/") or words[places[0]].startswith(("/", "~")):
        raise ValueError(f"--workdir {words[places[0]]} is no name of a folder in the bucket")
    words[places[0]] = f"../{DATA}/{folder}"
    return folder, words


def check_training(training: list[str]) -> None:
    """Refuses a config that is refused anywhere, before a slice is asked for; says so where it learns from noise."""
    from train import __main__, configs
    from train.errors import UserError

    try:
        options = __main__.flags().parse(training)
        if options.config is None:
            raise UserError("what to train is not named: --config FILE")
        config = configs.config_of(configs.load(options.config), options.overrides)
    except UserError as error:
        raise Failed(str(error)) from None
    if config.data.name.startswith("random:"):
        print(
            f"{options.config} trains on {config.data.name}, random numbers, from which nothing can be learnt: name a "
            "corpus, --config.data.name=corpus:windows --config.data.path=DIR",
            file=sys.stderr,
            flush=True,
        )


def keep(cloud: Cloud, folder: str, training: list[str]) -> None:
    """Fails where the run has failed or the limit is over, and has then deleted the slice."""
    left = cloud.options.hours * 3600
    lost = 0  # slices, one after the other, before their run began
    try:
        while True:
            try:
                since = up(cloud, left / 3600)
                run(cloud, folder, training)
            except Refused:
                raise
            except Failed:  # preempted meanwhile?
                lost += 1
                if lost == LOSSES or patiently(cloud.state) not in ENDED:
                    raise
                continue
            lost = 0
            if cloud.dry or follow(cloud, folder, training, since + left):
                break
            left -= time.monotonic() - since
            if left <= 0:
                raise Failed(over(cloud))
            print(f"{cloud.options.name} was preempted; asking for another", flush=True)
    except Failed as error:
        there = down(cloud, f"{error}.  Then ")
        raise Failed(f"{error}{'.  The slice is deleted' if there else ''}") from None
    except KeyboardInterrupt:
        sys.exit(f"{cloud.options.name} goes on, and is billed: the same command follows it, `down` deletes it")
    down(cloud)


def follow(cloud: Cloud, folder: str, training: list[str], until: float) -> bool:
    """True when the run has ended well, False when the slice is gone; fails where the run has, or at the limit."""
    failed = looks = 0
    while True:
        pause()
        looks += 1
        gone = patiently(lambda: cloud.state() in ENDED)
        codes = patiently(lambda: exit_codes(cloud.listed(f"{folder}/exits/**")))
        wrong = {host: code for host, code in codes.items() if code not in (0, INTERRUPTED)}
        ended_well = 0 in codes.values() and not wrong
        if ended_well and patiently(lambda: cloud.listed(f"{folder}/record.json")):
            return True
        if gone:
            return False
        failed = failed + 1 if wrong or ended_well else 0
        if failed == SURE:
            raise Failed(failure(cloud, folder, wrong))
        if time.monotonic() > until:
            stop_and_wait(cloud, folder)
            raise Failed(over(cloud))
        if looks % AGAIN == 0 and not failed:
            try:
                run(cloud, folder, training)  # what ended without a word, or was stopped and has saved
            except Failed as error:  # the next look says whether the slice is gone
                print(error, file=sys.stderr, flush=True)


def over(cloud: Cloud) -> str:
    return f"the limit of {cloud.options.hours:g} hours is over; the same command goes on with what is saved"


def exit_codes(names: list[str]) -> dict[str, int]:
    """Host → exit code."""
    ends = [name.rpartition("/")[2].rpartition(".") for name in names]
    return {host: int(code) for host, _, code in ends if code.isdecimal()}


def failure(cloud: Cloud, folder: str, wrong: dict[str, int]) -> str:
    if not wrong:
        return "the run ended with 0 and left no record"
    host, code = min(wrong.items())
    log = f"{folder}/exits/{host}.log"
    print("\n".join(cloud.content(log).splitlines()[-20:]), flush=True)
    return f"the run failed: host {host} ended with {code}, and its output is gs://{cloud.options.bucket}/{log}"


def stop_and_wait(cloud: Cloud, folder: str) -> None:
    cloud.ssh(f"cd {CODE} && {{ {stop()}; true; }}")
    deadline = time.monotonic() + SAVING
    while time.monotonic() < deadline and not exit_codes(cloud.listed(f"{folder}/exits/**")):
        pause()


if __name__ == "__main__":
    main(sys.argv[1:])
