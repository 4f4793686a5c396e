"""What surrounds a run never ends it: the reader of its output, the letters of a terminal, a home that is not there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from train import files, leaving
from train.cli import folder, report_errors
from train.errors import UserError
from train.screen import Lasting, lasting

ROOT = Path(__file__).parents[1]
HEAD = "import sys; sys.stdout.reconfigure(line_buffering=True)\n"


def door(code, argv=(), before=(), **options):
    """`code` defines main(argv); it runs behind the front door, in a process that the command `before` starts."""
    code = f"from train import cli\nimport os, sys\n{code}\ncli.run_command(main, sys.argv[1:])"
    return subprocess.Popen([*before, sys.executable, "-c", code, *argv], cwd=ROOT, text=True, **options)


WORK = """
def main(argv):
    for line in range(20000):
        print(f"step {line} µ → ∞")
    open(argv[0], "w").write("all done")
"""


STUCK = """
def main(argv):
    import threading
    cli.GRACE = 0.1
    threading.Thread(target=threading.Event().wait, args=[60]).start()
    raise cli.UserError("the disk is full")
"""


def test_an_error_waits_for_no_thread_of_a_save_that_failed():
    process = door(STUCK, stderr=subprocess.PIPE)
    assert process.communicate(timeout=30)[1] == "error: the disk is full\n"
    assert process.returncode == 2


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path):
    process = door(WORK, [str(tmp_path / "end")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline().startswith("step 0")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 0)
    process.stderr.close()
    assert (tmp_path / "end").read_text() == "all done"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_the_screen_lacks_are_replaced(encoding, tmp_path):
    process = door(
        WORK,
        [str(tmp_path / "end")],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding=encoding,
    )
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert output.splitlines()[7] == ("step 7 ? ? ?" if encoding == "ascii" else "step 7 µ ? ?")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_under_the_output_is_said(tmp_path):
    with open("/dev/full", "w") as full:
        process = door(WORK, [str(tmp_path / "end")], stdout=full, stderr=subprocess.PIPE)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (0, 1)
    assert "not all of the output could be written (No space left on device)" in errors
    assert (tmp_path / "end").exists()


def test_closed_output(tmp_path):
    """`>&-`: no file of the run becomes number 1, into which libraries print."""
    code = (
        'def main(argv):\n    file = open(argv[0], "w")\n    assert file.fileno() > 2\n    print(sys.stdout.isatty())'
    )
    closing = ["sh", "-c", 'exec "$@" >&-', "sh"]
    process = door(code, [str(tmp_path / "end")], closing, stderr=subprocess.PIPE)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


def test_the_streams_are_given_back(capsys):
    before = sys.stdout, sys.stderr
    with lasting():
        assert isinstance(sys.stdout, Lasting)
        print("said")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "said\n"
    with pytest.raises(SystemExit):
        report_errors(lambda argv: 0, [])
    assert (sys.stdout, sys.stderr) == before


def test_folder_of_a_flag(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder("--workdir", "~/runs/x") == tmp_path / "runs" / "x"
    assert folder("--workdir", "runs/~x") == Path("runs/~x")
    for text, message in (
        ("", r"--workdir is empty; name a folder, such as --workdir runs/x"),
        (" ", r"--workdir is empty"),
        ("s3://bucket/run", r"--workdir s3://bucket/run is an address and no folder; mount it"),
        ("s3:/bucket", r"is an address"),
        ("~nobody_of_this_name/x", r"there is no such home directory"),
    ):
        with pytest.raises(UserError, match=message):
            folder("--workdir", text)


def test_a_user_without_a_home(monkeypatch, tmp_path):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "unset")  # so that it is put back
    monkeypatch.setattr(files.pathlib.Path, "home", nowhere)
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    files.settle_home()
    assert os.environ["HOME"] == str(tmp_path / f"isoflop-{os.getuid()}")
    assert (tmp_path / f"isoflop-{os.getuid()}").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"no home directory, and .* cannot be used; set HOME"):
        files.settle_home()


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.9])
def test_ctrl_c_among_the_imports_ends_without_a_traceback(seconds):
    """Wherever among them it comes; the process may also be through with them on a fast machine."""
    command = [sys.executable, "-m", "train", "--config", "configs/text/markov_gpt.py", "--workdir", "/proc/nowhere"]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while "train" not in Path(f"/proc/{process.pid}/cmdline").read_text():
        time.sleep(0.001)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert errors.count("\n") <= 1


def test_ctrl_c_is_left_to_the_run_after_the_imports(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(leaving, "BEFORE", before)  # a shell in the background may have had it ignored at the import
    leaving.begin()
    assert signal.getsignal(signal.SIGINT) is leaving.at_once
    leaving.end()
    assert signal.getsignal(signal.SIGINT) is before
