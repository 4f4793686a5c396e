"""Numbers as people read them, against a table of right values; and files that are written whole."""

import math

import pytest

from train import numbers
from train.files import write_whole

NAN, INF = math.nan, math.inf
TABLE = {
    numbers.digits: [
        (2271.4, "2,270"), (62.25, "62.2"), (0.01426, "0.0143"), (9.999, "10.0"), (0.0, "0"), (1.746e5, "175,000"),
        (999.9, "1,000"), (999_999.0, "1.00e6"), (-0.5, "-0.500"), (1e-12, "1.00e-12"), (9.996e-4, "0.00100"),
        (6e18, "6.00e18"), (NAN, "–"), (None, "–"), (INF, "∞"), (-INF, "-∞"),
    ],
    numbers.si: [
        (0.0, "0"), (1.2e10, "12B"), (1e18, "1e18"), (1.68e19, "1.7e19"), (9.99e18, "1e19"), (512, "512"),
        (999.9, "1k"), (999_960.0, "1M"), (1.5e6, "1.5M"), (-5e9, "-5B"), (9.999e12, "10T"), (-1e18, "-1e18"),
        (0.25, "0.25"), (1e-12, "1e-12"), (2.5e-5, "2.5e-5"), (NAN, "–"), (INF, "∞"),
    ],
    numbers.metric: [
        (1234567, "1.23 M"), (0.0, "0"), (999.9, "1 k"), (5.5e20, "550 E"), (3e21, "3.00e21"), (1e-12, "1.00e-12"),
        (-2e9, "-2 G"), (NAN, "–"), (INF, "∞"),
    ],
    numbers.seconds: [
        (0.0, "0 s"), (0.01426, "0.0143 s"), (62.25, "62.2 s"), (119.0, "119 s"), (750, "12.5 min"), (10800, "3.0 h"),
        (181_440, "2.1 days"), (1e-12, "1.00e-12 s"), (NAN, "– s"), (INF, "∞ s"),
    ],
    numbers.clock: [
        (0.0, "0:00"), (59.7, "1:00"), (90.0, "1:30"), (150.0, "2:30"), (3605.0, "60:05"), (-1.0, "0:00"),
        (NAN, "?"), (INF, "?"),
    ],
    numbers.percent: [
        (0.0899, "+8.99%"), (-0.001, "-0.10%"), (0.0, "0.00%"), (-1e-12, "0.00%"),
        (9.5, "+950.00%"), (174.1, "+17,400%"), (-2.1e6, "-2.10e8%"), (NAN, "–"), (INF, "∞%"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("write", "value", "shown"), [(write, *row) for write, rows in TABLE.items() for row in rows])
def test_numbers_read_as_people_write_them(write, value, shown):
    assert write(value) == shown


def test_units_follow_their_prefix():
    assert numbers.metric(4.68e9, "B") == "4.68 GB"
    assert numbers.metric(12, "B") == "12 B"


def test_an_interval_without_bounds_says_so():
    assert numbers.interval(0.46571, 0.47149) == "[0.466, 0.471]"
    assert numbers.interval(NAN, NAN) == "no interval"
    assert numbers.interval(0.1, INF) == "[0.100, ∞]"


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "log.txt"
    write_whole(path, "α\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")  # cannot be encoded
    assert path.read_bytes() == "α\n".encode()
    write_whole(path, b"\x89PNG")
    assert path.read_bytes() == b"\x89PNG"
    assert [p.name for p in tmp_path.iterdir()] == ["log.txt"]
