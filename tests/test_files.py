"""A run's files: written whole whatever happens, and never read for other than what was written."""

import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import pytest

from train import children, record
from train.files import Damaged, append_row, read_json, read_rows, write_json, write_whole
from train.writer import Mark, Writer, wandb_id

ROOT = pathlib.Path(__file__).parents[1]
ROW = {"step": int, "split": str}


def heard(call, *arguments):
    with pytest.raises(Damaged) as damage:
        call(*arguments)
    return str(damage.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"step": 1, "split": "a"}\n{"st\n{"step": 3, "split": "a"}\n', "line 2 is not readable JSON"),
        (b'{"step": 1, "split": "a"}\n\n', "line 2 is not readable JSON"),
        (b'{"step": 1, "split": "a"}\n[3]\n', "line 2 holds a list instead of an object"),
        (b"null\n", "line 1 holds null instead of an object"),
        (b'{"split": "a"}\n', "line 1 has no 'step'"),
        (b'{"step": "1", "split": "a"}\n', 'line 1 has step="1", which is not a whole number'),
        (b'{"step": true, "split": "a"}\n', "line 1 has step=true, which is not a whole number"),
        (b"\xff\xfe\n", "line 1 is not readable JSON"),
        (b"[" * 100_000 + b"\n", "line 1 is not readable JSON"),
    ],
)
def test_rows_that_cannot_be_are_a_sentence_with_file_line_and_remedy(tmp_path, content, said):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    sentence = heard(read_rows, path, ROW, "put it back")
    assert sentence.startswith(f"{path}, {said}")
    assert sentence.endswith("; put it back")
    assert "\n" not in sentence


def test_only_a_last_line_that_was_cut_short_is_left_out_and_said(tmp_path):
    path, said = tmp_path / "x.jsonl", []
    whole = '{"step": 1, "split": "a"}\n{"step": 2, "split": "b"}'
    for end in range(len(whole) + 1):
        path.write_text(whole[:end])
        rows = read_rows(path, ROW, "", said.append)
        assert [row["step"] for row in rows] == [1, 2][: (end >= 25) + (end == len(whole))]
    assert f"{path}: line 2, the last, was cut short when the run ended; it is left out" in said
    assert read_rows(tmp_path / "none", ROW, "") == []


def test_a_pipe_or_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in heard(read_json, tmp_path / "pipe", {}, "remove it")


def test_a_row_after_a_torn_one_is_whole(tmp_path):
    path = tmp_path / "x.jsonl"
    for text in ("", '{"step": 1, "split": "a"}\n', '{"step": 1, "split": "a"}\n{"step": 9, "sp'):
        path.write_text(text)
        append_row(path, {"step": 2, "split": "b"})
        assert [row["step"] for row in read_rows(path, ROW, "")] == ([1, 2] if text else [2])


def test_many_writers_of_one_file_share_no_part(tmp_path, monkeypatch):
    """Every part is there at once, each under a name of its own; afterwards none is left."""
    path, count = tmp_path / "x.json", 16
    meet, names, replace = threading.Barrier(count), set(), pathlib.Path.replace

    def wait(part, target):
        meet.wait()
        names.add(part.name)
        return replace(part, target)

    monkeypatch.setattr(pathlib.Path, "replace", wait)
    writers = [threading.Thread(target=write_json, args=(path, {"by": i})) for i in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(names) == count
    assert os.listdir(tmp_path) == ["x.json"]
    assert read_json(path, {"by": int}, "")["by"] in range(count)


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def full(part, content):
        with open(part, "wb") as file:
            file.write(content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "much more")
    assert os.listdir(tmp_path) == ["x.json"]
    assert json.loads(path.read_text()) == {"a": 1}


# The log of a run, and what its checkpoints know of it.


@pytest.fixture
def logged(tmp_path):
    """A work folder with a log of three steps, and what a checkpoint at step 2 saw of it."""
    writer = Writer(tmp_path, (), 0, {})
    for step in (1, 2):
        writer.write(step, "train", {"loss": 1 / step})
    mark = writer.mark()
    writer.write(3, "train", {"loss": 0.25})
    writer.close()
    return tmp_path, mark


def test_a_log_goes_on_where_its_checkpoint_was(logged):
    folder, mark = logged
    assert mark.bytes == len((folder / "metrics.jsonl").read_text().rpartition('{"step": 3')[0])
    with open(folder / "metrics.jsonl", "a") as log:
        log.write('{"step": 4, "spl')
    writer = Writer(folder, (), 2, {}, mark)
    assert [row["step"] for row in writer.rows] == [1, 2]
    assert writer.mark() == mark
    writer.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace("1.0", "1.5"), "is not what the run had written by step 2"),
        (lambda text: text.partition("\n")[2], "is not what the run had written by step 2"),
        (lambda text: "", "is not what the run had written by step 2"),
        (lambda text: text.replace("step", "st\x00p", 1), ", line 1 is not readable JSON"),
    ],
)
def test_a_log_that_is_not_what_its_checkpoint_saw_is_a_sentence(logged, damage, said):
    folder, mark = logged
    path = folder / "metrics.jsonl"
    path.write_text(damage(path.read_text()))
    sentence = heard(Writer, folder, (), 2, {}, mark)
    assert sentence.startswith(f"{path}{said}" if said.startswith(",") else f"{path} {said}")
    assert "put it back from a copy, or begin anew: remove" in sentence
    Writer(folder, (), 0, {}).close()  # which is what a run without checkpoints does
    assert path.read_text() == ""


def test_a_mark_is_plain_numbers_and_text():
    assert Mark(**json.loads(json.dumps(Mark(3, "abc")._asdict()))) == Mark(3, "abc")


# The record of a finished run.

RECORD = {"name": "x", "steps": 2, "tokens_seen": 8, "params_total": 3, "loss": 0.5, "metrics": {"loss": 0.5}}
RECORD |= {"wall_seconds": 1.0, "git_commit": "", "config_hash": "abc"}


@pytest.mark.parametrize("name", ["record.json", "metrics.jsonl", "metrics.csv", "sums.json"])
@pytest.mark.parametrize("change", [lambda text: text.replace("5", "6", 1), lambda text: "", lambda text: '{"a": 1}\n'])
def test_a_finished_run_is_what_it_wrote(tmp_path, name, change):
    said = []
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "split": "train", "loss": 0.5}\n')
    (tmp_path / "metrics.csv").write_text("step,train/loss\n2,0.5\n")
    record.write(tmp_path, RECORD)
    assert record.read_whole(tmp_path, said.append) == RECORD
    before = (tmp_path / name).read_text()
    if change(before) == before:
        return
    (tmp_path / name).write_text(change(before))
    assert record.read_whole(tmp_path, said.append) is None
    (sentence,) = said
    assert str(tmp_path / name) in sentence
    assert sentence.endswith("the end of the run is made again from its last checkpoint")


def test_a_record_without_sums_is_of_an_older_run(tmp_path):
    write_json(tmp_path / "record.json", RECORD)
    assert record.read(tmp_path) == RECORD


def test_a_wandb_id_is_the_folders_own(tmp_path):
    """Two folders of one name in two places are two runs, and each goes on as the one it was."""
    a, b = tmp_path / "a" / "seed0", tmp_path / "b" / "seed0"
    for folder in (a, b):
        folder.mkdir(parents=True)
    assert wandb_id(a) != wandb_id(b)
    assert wandb_id(a) == wandb_id(a)


# Parents and children.


def test_a_child_whose_parent_is_gone_ends_before_it_imports_anything_heavy():
    environment = children.as_child(0, 1) | {children.SHARE: f"0/1/{os.getppid()}"}  # not the one that starts it
    code = "import runpy, sys; sys.argv = ['train']; runpy.run_module('train', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 128 + signal.SIGTERM
    assert "the process that started this one is gone; ended before the start" in done.stderr
    assert not {"jax", "numpy"} & {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_a_child_is_ended_with_its_parent():
    """The parent dies without a word; the grandchild hears of it although nobody tells it."""
    sleeper = "from train import children; children.settle(); import time; print('up', flush=True); time.sleep(60)"
    code = (
        "import subprocess, sys, os, signal; from train import children\n"
        f"child = subprocess.Popen([sys.executable, '-c', {sleeper!r}], env=children.as_child(0, 1), stdout=-1)\n"
        "child.stdout.readline(); print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    stat = pathlib.Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(500):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("it lives on")


def test_files_are_read_and_written_in_one_room():
    """No other module parses a file of a run, or writes one as it stands there."""
    wild = re.compile(r"json\.loads?\(.*(read_text|read_bytes|open)\(|json\.dump\(|\.write_(text|bytes)\(")
    modules = [*(ROOT / "train").rglob("*.py"), *(ROOT / "scaling" / "sweep").rglob("*.py")]
    found = {path.name for path in modules if wild.search(path.read_text())}
    assert found == {"files.py", "runtime.py"}  # which resets a counter of the kernel


def test_a_kill_in_the_midst_of_any_operation_leaves_the_old_file_or_the_new(tmp_path):
    """The writes of scripts/check/kill.py: the last one is torn."""
    path, old, new = tmp_path / "config.json", {"step": 1}, {"step": 2, "text": "x" * 1000}
    code = "import sys; from scripts.check.operations import kill_at; from train.files import write_json\n"
    code += (
        "kill_at(int(sys.argv[1]), sys.argv[2]); write_json(__import__('pathlib').Path(sys.argv[2], 'config.json'), "
    )
    code += f"{new})"
    ends = []
    for operation in range(1, 5):
        write_json(path, old)
        command = [sys.executable, "-c", code, str(operation), str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
        ends.append((done.returncode, done.stderr.split(" config")[0], json.loads(path.read_text()) == new))
    sizes = sorted(part.stat().st_size for part in tmp_path.glob("*.part"))
    killed = -signal.SIGKILL
    assert ends == [
        (killed, "killed: open", False),
        (killed, "killed: half of a write to", False),
        (killed, "killed: os.rename", False),
        (0, "", True),
    ]
    assert sizes == [len(json.dumps(new, indent=1) + "\n") // 2, len(json.dumps(new, indent=1) + "\n")]
