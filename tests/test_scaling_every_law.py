"""Every law by the command, from rows that it made: its constants lie inside their intervals."""

import json

import numpy as np
import pytest

from scaling import analyse
from scaling.__main__ import main
from scaling.laws import LAWS
from scaling.report import page
from tests.test_scaling_laws import PLANTED, design, rng_of
from train.errors import UserError

NOISE = 1e-3  # standard deviation of the output's logarithm, or of the output where a law is compared with that
UNNAMED = ("x", "group")  # roles that no column's name says


def rows(law):
    columns = design(law)
    error = NOISE * rng_of(law).standard_normal(columns[law.output].size)
    columns[law.output] = columns[law.output] * np.exp(error) if law.space == "log" else columns[law.output] + error
    if "group" in columns:
        columns["group"] = np.where(columns["group"] == 1, "first", "second")
    return columns


def leave_out(monkeypatch):
    """What has tests of its own, and is no part of constants and their intervals: forecasts, choices, drawing."""

    def none(*_, **__):
        raise UserError("left out")

    monkeypatch.setattr(analyse, "backtest", none)
    monkeypatch.setattr(analyse, "FEW", 0)
    monkeypatch.setattr(analyse, "kaplan", lambda *_: {})
    monkeypatch.setattr(page, "write", lambda *_: None)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_planted_constants_are_inside_their_intervals(law, tmp_path, capsys, monkeypatch):
    leave_out(monkeypatch)
    columns = rows(law)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    named = [text for role in UNNAMED if role in columns for text in (f"--{role}", role)]
    main(["fit", str(tmp_path / "runs.csv"), "--law", law.name, *named, "--draws", "400", "--level", "0.995", "--json",
          "--out", str(tmp_path)])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert set(found["params"]) == set(PLANTED[law.name])
    outside = {}
    for name, truth in PLANTED[law.name].items():
        low, high = (np.nan if v is None else v for v in found["interval"][name])
        if not low <= truth <= high:
            outside[name] = (truth, found["params"][name], low, high)
    assert not outside
