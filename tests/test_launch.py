"""The commands that put a run on Cloud TPU, read back from --dry-run."""

import shlex

import pytest

from scripts import launch_tpu

WHERE = ["--name", "slice", "--zone", "us-west4-a", "--project", "mine"]
SLICE = ["--type", "v5litepod-16", "--bucket", "kept"]
TRAINING = ["--", "--config", "configs/text/gpt_124m.py", "--config.seed=1", "--workdir", "gpt"]


def dry(capsys, action, *more, training=()):
    launch_tpu.main([action, *WHERE, *more, "--dry-run", *training])
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_up_asks_copies_installs_and_mounts(capsys):
    create, bundle, copy, install, mount = dry(capsys, "up", *SLICE, "--spot")
    assert create[:6] == ["gcloud", "compute", "tpus", "queued-resources", "create", "slice"]
    assert {"--zone=us-west4-a", "--project=mine", "--accelerator-type=v5litepod-16", "--spot"} < set(create)
    assert {"--runtime-version=v2-alpha-tpuv5-lite", "--node-id=slice"} < set(create)
    assert bundle == ["git", "bundle", "create", "/tmp/isoflop.bundle", "HEAD"]
    assert copy[3:7] == ["tpu-vm", "scp", "/tmp/isoflop.bundle", "slice:"]
    for line in (copy, install, mount):
        assert "--worker=all" in line
    assert "git clone -q isoflop.bundle isoflop" in install[-1]
    assert "uv sync -q --extra tpu" in install[-1]
    assert "gcsfuse --implicit-dirs kept bucket" in mount[-1]


def test_run_starts_one_process_a_host_whose_folder_is_in_the_bucket(capsys):
    (line,) = dry(capsys, "run", training=TRAINING)
    assert "--worker=all" in line
    command = line[-1]
    assert (
        "python -m train --config configs/text/gpt_124m.py --config.seed=1 --workdir ../bucket/gpt > train.log"
        in command
    )
    assert command.index("kill -0 $(cat train.pid)") < command.index("nohup"), "a second start finds the first"


def test_keep_is_up_run_look_down(capsys):
    lines = dry(capsys, "keep", *SLICE, training=TRAINING)
    assert lines[-2] == ["gcloud", "storage", "ls", "gs://kept/gpt/record.json"]
    assert lines[-1][4:6] == ["delete", "slice"]
    assert lines[:-3] == dry(capsys, "up", *SLICE)
    assert lines[-3:-2] == dry(capsys, "run", training=TRAINING)


def test_keep_asks_again_after_a_preemption(capsys, monkeypatch):
    """The record appears only after the second start; the slice is gone once."""
    looks, states, ran = iter([False, False, True]), iter(["ACTIVE", "SUSPENDED", "ACTIVE", "ACTIVE"]), []

    def run(cloud, line, check=True):
        ran.append(shlex.join(line))
        if "record.json" in line[-1]:
            return "there" if next(looks) else ""
        return next(states) if "describe" in line else ""

    monkeypatch.setattr(launch_tpu.Cloud, "run", run)
    monkeypatch.setattr(launch_tpu, "PAUSE", 0)
    launch_tpu.main(["keep", *WHERE, *SLICE, "--spot", *TRAINING])
    told = ("queued-resources create", "queued-resources delete", "nohup")
    verbs = [verb.split()[-1] for line in ran for verb in told if verb in line]
    assert verbs == ["create", "nohup", "delete", "create", "nohup", "delete"]


def test_down_deletes(capsys):
    (line,) = dry(capsys, "down")
    assert line[4:6] == ["delete", "slice"]
    assert {"--force", "--quiet"} < set(line)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", *WHERE], "up needs --type and --bucket"),
        (["up", *WHERE, "--type", "h100-8", "--bucket", "kept"], "--type h100-8: known are v5litepod-N"),
        (["run", *WHERE, "--", "--config", "x.py"], "run needs what to train"),
    ],
)
def test_what_is_missing_is_said(capsys, arguments, said):
    with pytest.raises(SystemExit):
        launch_tpu.main(arguments)
    assert said in capsys.readouterr().err
