"""Which column of a table plays which role.  A role is what a law reads: n, d, loss."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scaling.logs.cells import distinct, has_numbers, measured
from scaling.logs.numbers import spelled, unit
from scaling.logs.table import Columns, missing
from scaling.logs.vocabulary import CONVENTIONS, COUNTED, LABELS, MEANINGS, NAMES, flag, in_bytes, plain, rank
from train.errors import UserError, suggest


class Choice(NamedTuple):
    """The column that plays a role."""

    name: str
    factor: float  # its unit: 1e9 of "tokens (B)"
    values: np.ndarray  # float64 [rows], times the factor; NaN where missing or text
    ways: tuple[str, ...] = ()  # how numbers were written, where not plainly: "'53.3M' as 5.33e+07"


def check(columns: Columns, given: Mapping[str, str], count: str | None, roles: Sequence[str]) -> None:
    for role in roles:
        if role != "n" and role not in NAMES:
            raise UserError(f"{role!r} is no role a column can have{suggest(role, ['n', *NAMES])}")
    wrong = [f"{name!r} ({flag(role)})" for role, name in given.items() if name not in columns]
    if wrong:
        closest = suggest(next(name for name in given.values() if name not in columns), columns)
        raise UserError(f"there is no column {' nor '.join(wrong)}{closest}")
    for role, name in given.items():
        if role not in LABELS and not has_numbers(columns[name], role):
            seen = distinct(columns[name]) or "nothing"
            close = " or ".join(map(repr, near(columns, role)))
            listed = ", ".join(n for n, v in columns.items() if has_numbers(v, role)) or "there are none"
            raise UserError(
                f"column {name!r} ({flag(role)}) holds no numbers but {seen}; name one with {flag(role)} COL"
                f"{close and f', perhaps {close}'}. Columns of numbers: {listed}"
            )
    if count is not None and count not in CONVENTIONS:
        raise UserError(f"{count!r} is no way to count parameters{suggest(count, CONVENTIONS)}")


def choose(
    columns: Columns, roles: Sequence[str], given: Mapping[str, str], count: str | None, said: list[str]
) -> tuple[dict[str, Choice], dict[str, str]]:
    """role -> its column, and role -> what to call that; roles that nobody asked for only where the guess is clear."""
    found: dict[str, Choice] = {}
    mapping: dict[str, str] = {}
    for role in dict.fromkeys([*roles, "n", "d", "c", "budget", "step"]):
        if role in given:
            found[role] = chosen(columns, role, given[role])
        elif choice := guess(columns, role, count, said, wanted=role in roles):
            found[role] = choice
    if "c" not in given and {"n", "d"} <= found.keys():
        found.pop("c", None)  # 6 n d
    missing = [role for role in roles if role not in found]
    if "d" in missing and "n" in found and (flops := next((r for r in ("c", "budget") if r in found), None)):
        if flops == "budget":  # a run that was planned for a budget has spent it
            found["c"] = found["budget"]
        missing.remove("d")
        mapping["d"] = "c / (6 n)"
        said.append(f"d: c / (6 n), c from column {found['c'].name!r} (no column is named like tokens; --d COL)")
    if "c" in missing and {"n", "d"} <= found.keys():
        missing.remove("c")
    if "n" in missing and count is None and {"c", "d"} <= found.keys() and "flos" in found["c"].name:
        missing.remove("n")
        mapping["n"] = "c / (6 d)"
        column = found["c"].name  # which Hugging Face's Trainer counts as 6 N D
        said.append(f"n: c / (6 d), c from column {column!r} (no column is named like parameters; --n COL)")
    if "loss" in missing and (other := other_loss(columns, said)):
        missing.remove("loss")
        found["loss"] = other
    if missing:
        raise UserError(nothing(columns, missing))
    for role, choice in found.items():
        mapping[role] = choice.name
        factor = f" times {choice.factor:g}" if choice.factor != 1 else ""
        known = role in given or "config_hash" in columns  # isoflop's own records name their columns themselves
        guessed = "" if known else f" (guessed; {flag(role)} COL names another)"
        ways = "".join(f", {way}" for way in choice.ways) if role in roles else ""
        if factor or ways or (guessed and role in roles):
            said.append(f"{role}: column {choice.name!r}{factor}{ways}{guessed}")
    return found, mapping


def other_loss(columns: Columns, said: list[str]) -> Choice | None:
    """What a loss can be had from: bits per byte, which are one in their own unit, or the log of a perplexity."""
    for role, words in (("bpb", "bits per byte, not nats a token"), ("perplexity", "a perplexity: its log is taken")):
        choice = guess(columns, role, None, [], wanted=False)
        if choice is not None:
            with np.errstate(all="ignore"):
                values = choice.values if role == "bpb" else np.log(choice.values)
            said.append(f"loss: column {choice.name!r} is {words}")
            return choice._replace(values=values)
    return None


def guess(columns: Columns, role: str, count: str | None, said: list[str], wanted: bool) -> Choice | None:
    """The column whose name fits `role` best.  UserError where several do, and say different things."""
    conventions = [None] if role != "n" else [count] if count else CONVENTIONS
    best = {c: fits for c in conventions if (fits := fitting(columns, role, c))}
    fits = next(iter(best.values()), [])
    if role == "n" and best and "total" not in best:
        fits = [fit for several in best.values() for fit in several]
        if wanted and count is None:
            said.append(f"n: no column counts all parameters, so it is the {' or '.join(map(str, best))} count")
    if all(np.array_equal(fit.values, fits[0].values, equal_nan=True) for fit in fits):
        return fits[0] if fits else None
    if wanted:
        raise UserError(
            f"columns {' and '.join(repr(fit.name) for fit in fits)} could each be {role}, the {MEANINGS[role]}; "
            f"choose one with {flag(role)} COL"
        )
    return None


def fitting(columns: Columns, role: str, convention: str | None = None) -> list[Choice]:
    """The columns of numbers that fit a role's names best, equally well."""
    ranks = {n: r for n, v in columns.items() if (r := rank(n, role, convention)) and has_numbers(v, role)}
    best = min((r[:2] for r in ranks.values()), default=None)
    return [chosen(columns, role, name) for name, r in ranks.items() if r[:2] == best]


def chosen(columns: Columns, role: str, name: str) -> Choice:
    conventions = CONVENTIONS if role == "n" else [None]
    known = next((r[2] for c in conventions if (r := rank(name, role, c))), None)
    found = unit(name.lower()) if known is None and role in COUNTED else None
    factor = known or (found[1] if found else 1.0)
    if role == "d":
        factor = in_bytes(name) or factor
    if role == "run":
        return Choice(name, factor, np.empty(0))
    if role == "group":
        order = {label: float(i) for i, label in enumerate(labels(columns[name]), 1)}
        numbers = [order.get(str(v), math.nan) for v in columns[name].tolist()]
        return Choice(name, 1.0, np.array(numbers, np.float64))
    values = columns[name]
    ways = tuple(spelled(values.tolist()).ways) if values.dtype == object and role != "t" else ()
    return Choice(name, factor, measured(values, role) * factor, ways)


def labels(values: np.ndarray) -> tuple[str, ...]:
    """The distinct labels of a column, in the order in which they appear."""
    return tuple(dict.fromkeys(str(v) for v in values[~missing(values)].tolist()))


def counts(columns: Columns) -> dict[str, str]:
    """convention -> its column, of every convention of counting parameters that the table has."""
    return {name: fits[0].name for name in CONVENTIONS if (fits := fitting(columns, "n", name))}


def computes(columns: Columns) -> dict[str, str | None]:
    """What may count as C: "6 n d" -> None, and each column of FLOPs -> itself."""
    ranked = sorted((r, name) for name, v in columns.items() if (r := rank(name, "c")) and has_numbers(v, "c"))
    return {"6 n d": None, **{name: name for _, name in ranked}}


def nothing(columns: Columns, roles: Sequence[str]) -> str:
    """That no column plays these roles, and what to do."""
    heads, flags, close = [], [], []
    usable = [n for n, v in columns.items() if has_numbers(v, roles[0])] if roles != ["run"] else list(columns)
    for role in roles:
        hint = ""
        if role == "loss":
            wrong = [n for n in columns if re.search(r"perplexity|(?<![a-z])ppl(?![a-z])", n.lower())]
            hint = f"; {wrong[0]!r} is a perplexity, whose logarithm would be a loss" if wrong else ""
        if role == "d":
            hint = "; with a column of FLOPs (--flops COL) it would be C / (6 N)"
        for name in [n for n in columns if rank(n, role) and not has_numbers(columns[n], role)][:2]:
            hint += f"; column {name!r} holds no numbers but {distinct(columns[name]) or 'nothing'}"
        heads.append(f"{role}, the {MEANINGS[role]}{hint}")
        flags.append(f"{flag(role)} COL")
        close += near(columns, role)
    like = f", perhaps {' or '.join(map(repr, dict.fromkeys(close)))}" if close else ""
    written = {n: spelled(columns[n].tolist()).ways[:1] for n in usable if columns[n].dtype == object}
    listed = ", ".join(f"{n} ({w[0]})" if (w := written.get(n)) else n for n in usable) or "there are none"
    which = "one" if len(roles) == 1 else "them"
    return (
        f"no column is named like {', nor like '.join(heads)}; name {which} with {' and '.join(flags)}{like}. Columns "
        f"of numbers: {listed}"
    )


def near(columns: Columns, role: str) -> list[str]:
    """Up to five columns whose names hold a name of the role."""
    usable = [n for n, v in columns.items() if role == "run" or has_numbers(v, role)]
    names = " ".join(CONVENTIONS["total"] if role == "n" else NAMES[role]).split()
    return [n for n in usable if any(len(x) > 3 and x in plain(n.lower()) for x in names)][:5]
