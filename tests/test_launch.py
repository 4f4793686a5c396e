"""launch_tpu against a fake gcloud on the PATH, whose one host is a folder here: commands for hosts are really run."""

import datetime
import json
import re
import shlex
import sys
import time

import pytest

from scripts import gcloud, launch_tpu, tpu
from tests.support import gcloud as fake_script

WHERE = ["--name", "slice", "--zone", "us-west4-a", "--project", "mine"]
SLICE = ["--type", "v5litepod-16", "--bucket", "kept", "--hours", "2"]
TRAINING = ["--", "--config", "markov_gpt", "--config.seed=1", "--workdir", "gpt"]
QUOTA = "TPUV5sLitepodPerProjectPerZoneForTPUAPI"
# What stands for Python on the host: writes its words, and then does what the test says.
PYTHON = '#!/bin/sh\nprintf "%s\\n" "$@" > words\necho training\n'
RECORD = "mkdir -p ../bucket/gpt\necho {} > ../bucket/gpt/record.json\n"


class Fake:
    def __init__(self, folder):
        self.folder = folder
        for name in ("states", "fails", "calls"):
            (folder / name).write_text("")
        (folder / "kept").mkdir()
        self.code = folder / "home" / "isoflop"
        (self.code / ".venv" / "bin").mkdir(parents=True)
        (folder / "home" / "bucket").symlink_to(folder / "kept")
        self.next("ACTIVE")
        self.trains(RECORD)
        self.quota(16)

    def next(self, *slices):
        """What the slices that are asked for will be, each look by look; the last look, and slice, stay."""
        (self.folder / "next").write_text("\n".join(slices))

    def trains(self, script):
        path = self.code / ".venv" / "bin" / "python"
        path.write_text(PYTHON + script)
        path.chmod(0o755)

    def quota(self, size):
        rows = [{"applicableLocations": ["us-west4-a"], "details": {"value": str(size)}}]
        (self.folder / "quota").write_text(json.dumps([{"quotaId": QUOTA, "dimensionsInfos": rows}]))

    def fails(self, *words):
        (self.folder / "fails").write_text("\n".join(words))

    def calls(self, *words):
        """Which of `words` the commands had, in order; those that run on hosts say more than they do."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [word for line in lines for word in words if word in line.partition("; sleep")[0]]


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "gcloud"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {fake_script.__file__} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setattr(tpu, "PAUSE", 0.02)
    monkeypatch.setattr(tpu, "MISSED", 3)
    monkeypatch.setattr(tpu, "ROOT", tmp_path)  # no history to bundle
    real = gcloud.started
    monkeypatch.setattr(gcloud, "started", lambda line, **pipes: real(["true"] if line[0] == "git" else line, **pipes))
    return Fake(tmp_path)


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as error:
        launch_tpu.main([*arguments])
    return f"{error.value.code}{capsys.readouterr().err}"


def test_keep_trains_and_deletes(cloud):
    cloud.next("WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
    launch_tpu.main(["keep", *WHERE, *SLICE, "--spot", *TRAINING])
    words = (cloud.code / "words").read_text().split()
    assert words == ["-m", "train", *TRAINING[1:-1], "../bucket/gpt"]
    assert cloud.calls("resources create", "clone", "gcsfuse --implicit", "guard.pid", "resources delete slice") == [
        "resources create", "clone", "gcsfuse --implicit", "guard.pid", "resources delete slice",
    ]  # fmt: skip
    assert "--spot" in cloud.calls("--spot")
    assert (cloud.folder / "states").read_text() == ""


@pytest.mark.parametrize("spelling", [["--workdir", "a b/$x"], ["--workdir=a b/$x"], ["--workdir=gs://kept/a b/$x/"]])
def test_either_spelling_of_a_work_folder_is_one_word_in_the_bucket(cloud, spelling):
    cloud.next("ACTIVE")
    cloud.trains('mkdir -p "$4"\necho {} > "$4/record.json"\n')
    launch_tpu.main(["keep", *WHERE, *SLICE, "--", *spelling, "--config=markov_gpt", "--config.mesh.data=-1"])
    assert (cloud.code / "words").read_text().splitlines() == [
        "-m",
        "train",
        "--workdir",
        "../bucket/a b/$x",
        "--config=markov_gpt",
        "--config.mesh.data=-1",
    ]
    assert (cloud.folder / "kept" / "a b" / "$x" / "record.json").exists()


def test_keep_ends_when_the_run_has_failed(cloud, capsys):
    cloud.trains("echo error: batch_size is 0\nexit 2\n")
    said = refused(capsys, "keep", *WHERE, *SLICE, *TRAINING)
    assert "the run failed: host" in said
    assert "ended with 2" in said
    assert "The slice is deleted" in said
    assert cloud.calls("resources create", "resources delete slice")[-1] == "resources delete slice"
    assert "batch_size is 0" in next((cloud.folder / "kept" / "gpt" / "exits").glob("*.log")).read_text()


def test_a_record_of_an_earlier_run_is_not_this_ones(cloud, capsys):
    (cloud.folder / "kept" / "gpt").mkdir()
    (cloud.folder / "kept" / "gpt" / "record.json").write_text("{}")
    cloud.trains("exit 3\n")
    assert "ended with 3" in refused(capsys, "keep", *WHERE, *SLICE, *TRAINING)


def test_keep_asks_again_after_a_preemption(cloud):
    """The run fails before the slice is said to be gone, as that of a preempted slice does."""
    cloud.next("ACTIVE ACTIVE SUSPENDED", "PROVISIONING ACTIVE")
    cloud.trains(f"test -e once || {{ touch once; exit 134; }}\n{RECORD}")
    launch_tpu.main(["keep", *WHERE, *SLICE, *TRAINING])
    verbs = ("create", "delete")
    assert cloud.calls(*(f"tpus queued-resources {verb} slice --zone=us-west4-a --project=mine" for verb in verbs)) == [
        f"tpus queued-resources {verb} slice --zone=us-west4-a --project=mine" for verb in verbs * 2
    ]


def test_the_limit_of_hours_saves_and_deletes(cloud, capsys):
    cloud.trains("trap 'echo saved; exit 75' TERM\nwhile true; do sleep 0.05; done\n")
    said = refused(capsys, "keep", *WHERE, *SLICE[:-1], "0.0002", *TRAINING)
    assert "the limit of 0.0002 hours is over; the same command goes on" in said
    exits = {path.name.rpartition(".")[2] for path in (cloud.folder / "kept" / "gpt" / "exits").iterdir()}
    assert exits == {"log", "75"}
    assert "resources delete slice" in cloud.calls("resources delete slice")


def test_what_was_stopped_and_has_saved_is_started_again(cloud, monkeypatch):
    monkeypatch.setattr(launch_tpu, "AGAIN", 2)
    cloud.trains(f"test -e once || {{ touch once; exit 75; }}\n{RECORD}")
    launch_tpu.main(["keep", *WHERE, *SLICE, *TRAINING])
    assert (cloud.folder / "kept" / "gpt" / "record.json").exists()


def test_a_slice_that_cannot_be_deleted_is_an_error(cloud, capsys):
    (cloud.folder / "states").write_text("ACTIVE")
    cloud.fails("resources delete")
    said = refused(capsys, "down", *WHERE)
    assert "the slice could not be deleted" in said
    assert "it is billed until it is" in said
    assert "launch_tpu down --name slice --zone=us-west4-a --project=mine" in said
    cloud.fails("resources delete slice --zone=us-west4-a --project=mine --force")
    assert "could not be deleted" in refused(capsys, "keep", *WHERE, *SLICE, *TRAINING)


def test_a_network_that_fails_for_a_while_ends_nothing(cloud, monkeypatch, capsys):
    cloud.trains(f"sleep 0.3\n{RECORD}")
    real, failed = launch_tpu.pause, []

    def pause():
        cloud.fails(*([] if len(failed) % 3 else ["storage ls"]))
        failed.append(1)
        real()

    monkeypatch.setattr(launch_tpu, "pause", pause)
    monkeypatch.setattr(tpu, "pause", pause)
    launch_tpu.main(["keep", *WHERE, *SLICE, *TRAINING])
    assert "look 1 of 3 failed" in capsys.readouterr().err


def test_a_second_start_finds_the_first(cloud):
    (cloud.folder / "states").write_text("ACTIVE")
    cloud.trains("echo again >> starts\nwhile [ ! -e end ]; do sleep 0.02; done\n")
    for _ in range(2):
        launch_tpu.main(["run", *WHERE, *TRAINING])
    deadline = time.monotonic() + 5
    while not (cloud.code / "starts").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    (cloud.code / "end").touch()
    assert (cloud.code / "starts").read_text() == "again\n"


def test_status_tells_hours_and_dollars(cloud, capfd):
    (cloud.folder / "states").write_text("ACTIVE")
    (cloud.code / "train.log").write_text("step 3\nstep 4\n")
    launch_tpu.main(["status", *WHERE, "--price", "2"])
    said = capfd.readouterr().out
    assert "slice: ACTIVE" in said
    hours = (datetime.datetime.now(datetime.UTC) - datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)).total_seconds()
    told = re.search(r"v5p-128 for ([\d.]+) h: ([\d,]+) chip-hours, \$([\d,.]+) at \$2", said)
    assert told
    numbers = [float(number.replace(",", "")) for number in told.groups()]
    assert numbers == pytest.approx([hours / 3600, 64 * hours / 3600, 128 * hours / 3600], abs=1)
    assert "does not train: step 4" in said
    (cloud.folder / "states").write_text("")
    launch_tpu.main(["status", *WHERE])
    assert "no such slice" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--type", "v5litepod-32"], "has no slice of type v5litepod-32; it has v5litepod-16"),
        (["--type", "v6e-8"], "has no runtime v2-alpha-tpuv6e"),
        (["--bucket", "other"], "there is no bucket gs://other"),
    ],
)
def test_what_the_zone_lacks_is_said_before_anything_is_asked_for(cloud, capsys, change, said):
    assert said in refused(capsys, "up", *WHERE, *SLICE, *change)
    assert not cloud.calls("resources create")


def test_a_quota_that_is_too_small_is_said(cloud, capsys):
    cloud.quota(8)
    said = refused(capsys, "keep", *WHERE, *SLICE, *TRAINING)
    assert f"the quota {QUOTA} of mine in us-west4-a is 8, and v5litepod-16 needs 16" in said
    assert not cloud.calls("resources create", "resources delete")


def test_files_that_are_not_committed_are_said(cloud, capfd, monkeypatch):
    monkeypatch.setattr(tpu, "ROOT", cloud.folder)
    tpu.subprocess.run(["git", "init", "-q"], cwd=cloud.folder, check=True)
    launch_tpu.main(["up", *WHERE, *SLICE])
    assert "not committed, so not copied: bin/, calls" in capfd.readouterr().err


def test_random_tokens_are_said_and_a_bad_config_is_refused_before_a_slice_is_asked_for(cloud, capsys):
    noise = ["--config.data.name=random:tokens", "--config.data.vocab=256"]
    launch_tpu.main(["run", *WHERE, *TRAINING, *noise])
    assert "random numbers, from which nothing can be learnt" in capsys.readouterr().err
    for flag, said in (("--config.stpes=3", "did you mean 'steps'"), ("--wrokdir=x", "did you mean '--workdir'")):
        assert said in refused(capsys, "keep", *WHERE, *SLICE, *TRAINING, flag)
    corpus = ["--", "--config", "gpt_124m", "--workdir", "gpt"]
    assert "config.data.path is not set" in refused(capsys, "keep", *WHERE, *SLICE, *corpus)
    assert not cloud.calls("resources create")


def test_a_dry_run_prints_and_runs_nothing(cloud, capsys):
    launch_tpu.main(["keep", *WHERE, *SLICE, "--dry-run", *TRAINING])
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert {"gcloud", "git"} == {line[0] for line in lines}
    assert [line[4] for line in lines if line[3] == "queued-resources" and line[4] != "describe"] == [
        "create",
        "delete",
    ]
    (bundle,) = (line[-2] for line in lines if line[0] == "git")
    (copied,) = (line[5] for line in lines if "scp" in line)
    assert bundle == copied
    assert (cloud.folder / "calls").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", *WHERE], "up needs --type and --bucket and --hours"),
        (["up", *WHERE, "--type", "h100-8", *SLICE[2:]], "--type h100-8: known are v5litepod-N"),
        (["up", *WHERE, *SLICE, "--bucket", "a;b"], "a bucket's name has"),
        (["up", *WHERE, *SLICE, "--hours", "0"], "--hours 0"),
        (["run", *WHERE, "--", "--config", "x.py"], "run needs what to train"),
        (["run", *WHERE, "--", "--workdir", "../x"], "no name of a folder in the bucket"),
    ],
)
def test_what_is_missing_is_said(capsys, arguments, said):
    assert said in refused(capsys, *arguments)
