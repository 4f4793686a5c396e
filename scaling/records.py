"""Finds the columns of a table that laws are fitted to.  Guesses are said; rows left out are listed with why."""

import datetime
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from scaling import readers
from scaling.flops import PETAFLOP_DAY, c_6nd
from train.errors import UserError, suggest

# The columns of any table.  A role is what a law reads: n, d, loss.

# The names of N under each convention, best first; those of one line are equally good.
CONVENTIONS = {
    "total": (
        "paramstotal totalparams totalparameters nparamstotal numparamstotal nwemb nwithemb ntotal paramswithemb",
        "n",
        "params nparams numparams parameters nparameters numparameters parametercount paramcount modelparams "
        "modelparameters modelsize numberofparameters",
    ),
    "non_embedding": (
        "paramsnonembedding nonembeddingparams nonembeddingparameters nonembparams nonembedparams nparamsnonembedding "
        "numnonembeddingparams numparamsnonembedding nnonembedding nnonemb nnoemb nnoembed paramsnoemb paramsnonemb "
        "paramsnoembed paramsnoembeds totalnonembparams parametersnonembedding noembeddingparams",
    ),
    "active": (
        "paramsactive activeparams activeparameters paramsactiveprecise nactive numactiveparams nparamsactive "
        "numparamsactive activatedparams activatedparameters parametersactive",
    ),
}

# Normalised names of every other role, best first; those of one line are equally good.
NAMES: dict[str, tuple[str, ...]] = {
    "d": (
        "d",
        "tokensseen seentokens numtokensseen numinputtokensseen trainnuminputtokensseen consumedtokens tokensconsumed "
        "tokenstrained trainedtokens tokensprocessed",
        "tokens ntokens numtokens totaltokens tokenstotal tokencount throughputtotaltokens",
        "traintokens trainingtokens ntraintokens numtraintokens datasettokens datasetsize traintokenstotal",
    ),
    "c": (
        "c",
        "flopstrain trainflops trainingflops trainingflop trainflop traincompute trainingcompute",
        "flops flop totalflops totalflop totalflos flos trainflos traintotalflos compute totalcompute",
        "flops6nd c6nd approxc",
    ),
    "loss": (
        "loss finalloss valloss validloss validationloss evalloss heldoutloss devloss finalvalloss finalvalidloss "
        "finalvalidationloss finalevalloss evaluationloss losseval lossval lossvalid lossvalidation",
        "testloss finaltestloss losstest",
        "crossentropy crossentropyloss celoss nll lmloss valcrossentropy evalcrossentropyloss",
        "trainloss trainingloss finaltrainloss losstrain traincrossentropyloss smoothedloss",
    ),
    "budget": ("budget computebudget flopbudget flopsbudget cbudget",),
    "step": ("step globalstep trainglobalstep trainstep trainingstep currentsteps currentstep", "iteration iter steps"),
    "s": ("s steps totalsteps trainsteps trainingsteps nsteps numsteps", "step globalstep currentsteps iterations"),
    "s_min": ("smin minsteps minimumsteps minimalsteps",),
    "c_min": ("cmin mincompute minimumcompute minimalcompute",),
    "added_loss": ("addedloss deltaloss lossincrease lossdegradation",),
    "x": (),  # an amount of whatever kind: only `given` says which
    "u": ("u tokensunique uniquetokens nuniquetokens numuniquetokens",),
    "p": ("p bits precisionbits trainingbits bitsofprecision bitwidth", "precision"),
    "batch": ("batch batchtokens tokensperbatch", "batchsize globalbatchsize trainbatchsize"),
    "lr": ("lr learningrate η", "peaklr maxlr peaklearningrate maxlearningrate"),
    "error": ("error errorrate", "valerror validationerror evalerror testerror top1error"),
    "accuracy": ("accuracy acc", "valaccuracy valacc validationaccuracy evalaccuracy evalacc testaccuracy top1"),
    "bpb": ("bpb bitsperbyte", "valbpb evalbpb validbpb validationbpb"),
    "t": ("t date day days releasedate publicationdate",),
    "run": ("runid", "run", "runname", "experimentname expname experiment", "name displayname"),
}  # fmt: skip
MEANINGS = {
    "n": "parameters", "d": "training tokens", "c": "training FLOPs", "loss": "loss", "budget": "FLOPs planned for",
    "step": "place within a run", "s": "training steps", "s_min": "fewest steps to the loss",
    "c_min": "least FLOPs to the loss", "added_loss": "loss added", "x": "amount that the loss is a curve of",
    "u": "unique tokens", "p": "bits of precision",
    "batch": "batch", "lr": "learning rate", "error": "error", "accuracy": "accuracy", "bpb": "bits per byte",
    "t": "date, or days", "run": "run that a row belongs to",
}  # fmt: skip
ANY_SIGN = {"t", "step", "accuracy"}  # the others go through a logarithm
COUNTED = {
    "n",
    "d",
    "c",
    "c_min",
    "u",
    "budget",
    "s",
    "s_min",
}  # roles whose columns are written in millions and billions
FACTORS = {
    **dict.fromkeys(("k", "thousand", "thousands"), 1e3), **dict.fromkeys(("m", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "bn", "billion", "billions"), 1e9), **dict.fromkeys(("t", "trillion", "trillions"), 1e12),
}  # fmt: skip
PREFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
OWN_RUNS = "all rows are runs of their own"
Columns = dict[str, np.ndarray]


class Runs(NamedTuple):
    """What laws are fitted to, and where it came from."""

    columns: Columns  # role -> float64 [rows]: the law's inputs and output; c and budget where they are known
    run: np.ndarray  # int64 [rows]: which run, 0 .. runs - 1, a row is a checkpoint of
    table: Columns  # name -> [rows]: all columns of these rows, as they were read
    where: np.ndarray  # [rows] object: as in readers.Table
    dropped: list[dict[str, str]]  # {"row": where it was, "reason": why it is not in `columns`}
    mapping: dict[str, str]  # role -> column, or how it was computed
    said: list[str]  # one sentence for each guess


class Choice(NamedTuple):
    """The column that plays a role."""

    name: str
    factor: float  # its unit: 1e9 of "tokens (B)"
    values: np.ndarray  # float64 [rows], times the factor; NaN where missing or text


def assign(
    table: readers.Table,
    *,
    inputs: Sequence[str] = ("n", "d"),
    output: str = "loss",
    given: Mapping[str, str] = MappingProxyType({}),
    count: str | None = None,
    filters: Sequence[str] = (),
    drop_outliers: int = 0,
    last: bool = False,
    best: bool = False,
) -> Runs:
    """Gives each of `inputs`, `output` and the roles in `given` its column, and keeps the rows that have them all.

    `given` maps roles to columns; all else is guessed from names.  `count` restricts n to one of `CONVENTIONS`.
    `filters` are `COL=VALUE`, `!=`, `<`, `<=`, `>`, `>=`.  `last` keeps the last row of each run,
    `best` the least output among rows of the same inputs (of several learning rates, say),
    `drop_outliers` leaves out that many rows of largest output.  c is 6 n d unless `given` names its column; where no
    column is the tokens, d is c / (6 n).

    Raises UserError where a role has no column or two that fit equally well, and where no row is left.
    """
    check(table.columns, given, count, [*inputs, output])
    said: list[str] = []
    rows = selected(table.columns, filters, said)
    columns = {name: values[rows] for name, values in table.columns.items()}
    where, dropped = table.where[rows], list(table.dropped)
    choices, mapping = choose(columns, [*dict.fromkeys([*inputs, output, *given])], given, count, said)
    values = {role: choice.values for role, choice in choices.items() if role != "run"}
    required = [role for role in dict.fromkeys([*inputs, output, *given]) if role not in ("run", "step")]
    if mapping.get("d") == "c / (6 n)":
        with np.errstate(all="ignore"):
            values["d"] = values["c"] / (6.0 * values["n"])
        required += ["c", "n"]
    elif "c" in required and "c" not in values:
        required += ["n", "d"]
    good = np.logical_and.reduce([usable_values(role, values[role]) for role in required if role in values])
    listed(dropped, where, ~good, lambda i: reason(i, required, choices, columns))
    if not good.any():
        reasons = "; ".join(f"{d['row']}: {d['reason']}" for d in dropped[len(table.dropped) :][:3])
        raise UserError(f"none of {len(good)} rows can be fitted ({reasons}); name other columns, see --help")
    kept = np.flatnonzero(good)
    run, mapping["run"] = runs(columns, values, kept, given, said)
    kept, run = reduced(kept, run, values, inputs if best else (), output, dropped, where, drop_outliers, last, said)
    taken = {role: v[kept] for role, v in values.items() if role in required or usable_values(role, v[kept]).all()}
    compute(taken, given, mapping, said)
    return Runs(
        taken, np.unique(run, return_inverse=True)[1].astype(np.int64), {n: v[kept] for n, v in columns.items()},
        where[kept], dropped, {role: name for role, name in mapping.items() if role in taken or role == "run"}, said,
    )  # fmt: skip


def check(columns: Columns, given: Mapping[str, str], count: str | None, roles: Sequence[str]) -> None:
    for role in [*given, *roles]:
        if role != "n" and role not in NAMES:
            raise UserError(f"{role!r} is no role a column can have{suggest(role, ['n', *NAMES])}")
    for role, name in given.items():
        if name not in columns:
            raise UserError(f"there is no column {name!r} ({flag(role)}){suggest(name, columns)}")
        if role != "run" and not np.isfinite(measured(columns[name], role)).any():
            seen = ", ".join(map(repr, distinct(columns[name]))) or "nothing"
            raise UserError(f"column {name!r} ({flag(role)}) holds no numbers but {seen}{near(columns, role)}")
    if count is not None and count not in CONVENTIONS:
        raise UserError(f"{count!r} is no way to count parameters{suggest(count, CONVENTIONS)}")


def flag(role: str) -> str:
    return "--flops" if role == "c" else f"--{role}"


# Which column plays which role.


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
    for role in roles:
        if role not in found and role == "d" and {"c", "n"} <= found.keys():
            mapping["d"] = "c / (6 n)"
            said.append(f"d: c / (6 n), c from column {found['c'].name!r} (no column is named like tokens; --d COL)")
        elif role not in found and not (role == "c" and {"n", "d"} <= found.keys()):
            raise UserError(nothing(columns, role))
    mapping |= {role: choice.name for role, choice in found.items()}
    for role, choice in found.items():
        factor = f" times {choice.factor:g}" if choice.factor != 1 else ""
        known = role in given or "config_hash" in columns  # isoflop's own records name their columns themselves
        guessed = "" if known else f" (guessed; {flag(role)} COL names another)"
        if (role in roles and guessed) or (factor and role in mapping):
            said.append(f"{role}: column {choice.name!r}{factor}{guessed}")
    return found, mapping


def guess(columns: Columns, role: str, count: str | None, said: list[str], wanted: bool) -> Choice | None:
    """The column whose name fits `role` best.  UserError where several do, and say different things."""
    conventions = {"n": [count] if count else list(CONVENTIONS)}.get(role, [None])
    best = {c: fits for c in conventions if (fits := fitting(columns, role, c))}
    if role == "n" and "total" not in best and best:
        said += [f"n: no column counts all parameters, so it is the {' or '.join(best)} count"] * (
            count is None and wanted
        )
        fits = [fit for fits in best.values() for fit in fits]
    else:
        fits = next(iter(best.values()), [])
    same = all(np.array_equal(fit.values, fits[0].values, equal_nan=True) for fit in fits)
    if fits and same:
        return fits[0]
    if fits and wanted:
        raise UserError(
            f"columns {' and '.join(repr(fit.name) for fit in fits)} could each be {role}, the {MEANINGS[role]}; "
            f"choose one with {flag(role)} COL"
        )
    return None


def fitting(columns: Columns, role: str, convention: str | None = None) -> list[Choice]:
    """The columns of numbers that fit a role's names best, equally well."""
    ranks = {name: r for name in columns if (r := rank(name, role, convention))}
    found = {name: r for name, r in ranks.items() if np.isfinite(measured(columns[name], role)).any()}
    best = min((r[:2] for r in found.values()), default=None)
    return [chosen(columns, role, name) for name, r in found.items() if r[:2] == best]


def chosen(columns: Columns, role: str, name: str) -> Choice:
    known = [r for c in (CONVENTIONS if role == "n" else [None]) if (r := rank(name, role, c))]
    factor = known[0][2] if known else 1.0
    return Choice(name, factor, measured(columns[name], role) * factor if role != "run" else np.empty(0))


def rank(column: str, role: str, convention: str | None = None) -> tuple[int, int, float] | None:
    """(tier of the name, how much of the column's name was left out, unit); less is better.  None: another thing."""
    tiers = CONVENTIONS[convention or "total"] if role == "n" else NAMES[role]
    spelled = list(spellings(column, role))
    found = [
        (tier, left_out, factor)
        for left_out, text, factor in spelled
        for tier, names in enumerate(tiers)
        if text in names.split()
    ]
    return min(found, default=None)


def spellings(column: str, role: str) -> Iterator[tuple[int, str, float]]:
    """(how much was left out, a normalised name, its unit): "config.Params (M)" is also params, a million each."""
    name = unicodedata.normalize("NFKC", re.sub(r" \(\d+\)$", "", column)).lower()
    plain = lambda text: "".join(filter(str.isalnum, text))
    inner = re.sub(r"^(summary|config|hparam|hparams|params|results)[./]", "", name)
    for left_out, text in enumerate(dict.fromkeys((name, inner, name.rpartition(".")[2]))):
        if left_out == 2 and role in ("loss", "error", "accuracy", "bpb"):
            continue  # train.loss is not loss
        yield left_out, plain(text), 1.0
        if role not in COUNTED:
            continue
        unit = re.search(r"(?:[(\[]\s*(?:in )?|(?<=\w\w)[ _-](?:in[ _-])?)([a-z]+)\s*[)\]]?$", text)
        if unit and unit[1] in FACTORS:
            yield left_out, plain(text[: unit.start()]), FACTORS[unit[1]]
        if role in ("c", "c_min", "budget"):
            if days := re.match(r"(.*?)(?:in)?(?:pf|pflops?|petaflops?)s?days?$", plain(text)):
                yield left_out, days[1] or "flops", PETAFLOP_DAY
            if prefixed := re.match(r"(?:throughput)?((?:total|train|training)+)([kmgtpezy])flo[ps]+$", plain(text)):
                yield left_out, "flops", PREFIXES[prefixed[2]]


def counts(columns: Columns) -> dict[str, str]:
    """convention -> its column, of every convention of counting parameters that the table has."""
    return {name: fits[0].name for name in CONVENTIONS if (fits := fitting(columns, "n", name))}


def computes(columns: Columns) -> dict[str, str | None]:
    """What may count as C: "6 n d" -> None, and each column of FLOPs -> itself."""
    ranked = sorted((r, name) for name in columns if (r := rank(name, "c")))
    usable = [name for _, name in ranked if np.isfinite(measured(columns[name], "c")).any()]
    return {"6 n d": None, **{name: name for name in usable}}


def nothing(columns: Columns, role: str) -> str:
    """That no column plays `role`, and what to do."""
    hint = ""
    if role == "loss":
        wrong = [n for n in columns if re.search(r"perplexity|(?<![a-z])ppl(?![a-z])", n.lower())]
        hint = f"; {wrong[0]!r} is a perplexity, whose logarithm would be a loss" if wrong else ""
    if role == "d":
        hint = "; with a column of FLOPs (--flops COL) it would be C / (6 N)"
    return f"no column is named like {role}, the {MEANINGS[role]}{hint}{near(columns, role)}"


def near(columns: Columns, role: str) -> str:
    """The columns to choose from, the nearest first."""
    usable = [n for n, v in columns.items() if role == "run" or np.isfinite(measured(v, role)).any()]
    names = " ".join(CONVENTIONS["total"] if role == "n" else NAMES[role]).split()
    close = [n for n in usable if any(len(x) > 3 and x in "".join(filter(str.isalnum, n.lower())) for x in names)]
    like = f", perhaps {' or '.join(map(repr, close[:5]))}" if close else ""
    listed = ", ".join(usable) or "there are none"
    return f"; name one with {flag(role)} COL{like}. Columns of numbers: {listed}"


# What a column says.


def measured(values: np.ndarray, role: str = "") -> np.ndarray:
    """float64 [rows], NaN where there is no number.  Dates, where `t` is asked for, are days since 1970."""
    if values.dtype == np.float64:
        return values
    read = [readers.number(v) for v in values]
    if role == "t":
        read = [day(v) if x is None else x for v, x in zip(values, read, strict=True)]
    return np.array([math.nan if x is None else x for x in read], np.float64)


def day(text: str) -> float | None:
    try:
        return float((datetime.date.fromisoformat(text[:10]) - datetime.date(1970, 1, 1)).days)
    except (TypeError, ValueError):
        return None


def usable_values(role: str, values: np.ndarray) -> np.ndarray:
    """bool [rows]: what a law can take."""
    return np.isfinite(values) & (True if role in ANY_SIGN else values > 0)


def reason(i: int, roles: Sequence[str], choices: Mapping[str, Choice], columns: Columns) -> str:
    """Why row `i` cannot be fitted: "loss is nan, n is 'many'"."""
    bad = []
    for role in dict.fromkeys(roles):
        if role in choices and not usable_values(role, choices[role].values[i : i + 1])[0]:
            value = columns[choices[role].name][i]
            bad.append(
                f"{role} is {'missing' if value is None else f'{value:g}' if isinstance(value, float) else repr(value)}"
            )
    return ", ".join(bad)


def listed(dropped: list[dict[str, str]], where: np.ndarray, lost: np.ndarray, why: Any) -> None:
    """Lists the rows where `lost` [rows] is true: so many one by one, then how many more there are."""
    rows = np.flatnonzero(lost)
    dropped += [{"row": str(where[i]), "reason": why(i)} for i in rows[: readers.MOST].tolist()]
    if rows.size > readers.MOST:
        dropped.append({"row": "…", "reason": f"and {rows.size - readers.MOST} more"})


def distinct(values: np.ndarray, most: int = 10) -> list[Any]:
    """The first values that are there."""
    seen = dict.fromkeys(v for v in values.tolist() if v is not None and v == v)
    return list(seen)[:most]


# Which rows are fitted.


def selected(columns: Columns, filters: Sequence[str], said: list[str]) -> np.ndarray:
    """Indices of the rows that pass every filter."""
    rows = np.arange(len(next(iter(columns.values()), ())))
    for text in filters:
        splits = [
            (text[: m.start()].strip(), m[0], text[m.end() :].strip()) for m in re.finditer(r"!=|<=|>=|==?|<|>", text)
        ]
        if not splits:
            raise UserError(f"filter {text!r} compares nothing; write COL=VALUE, or !=, <, <=, >, >= for the =")
        name, sign, value = next((s for s in splits if s[0] in columns), splits[0])
        if name not in columns:
            raise UserError(f"filter {text!r}: there is no column {name!r}{suggest(name, columns)}")
        passing = rows[passes(columns[name][rows], sign.replace("==", "="), value, text)]
        if rows.size and not passing.size:
            raise UserError(
                f"filter {text!r} leaves none of {rows.size} rows; {name!r} is "
                f"{', '.join(f'{v:g}' if isinstance(v, float) else repr(v) for v in distinct(columns[name][rows]))}"
            )
        said.append(f"filter {text} keeps {passing.size} of {rows.size} rows")
        rows = passing
    return rows


def passes(values: np.ndarray, sign: str, value: str, text: str) -> np.ndarray:
    """bool [rows].  Numbers compare as numbers, texts as texts, and what is missing equals only the empty value."""
    wanted = readers.number(value)
    if sign in ("=", "!="):
        if value == "":
            equal = np.array([v is None or v != v for v in values], bool)
        else:
            same = (
                np.array([str(v) == value for v in values], bool)
                if values.dtype == object
                else np.zeros(len(values), bool)
            )
            equal = same | (measured(values) == (math.nan if wanted is None else wanted))
        return equal if sign == "=" else ~equal
    if wanted is None or math.isnan(wanted):
        raise UserError(f"filter {text!r}: {value!r} is no number; {sign} compares numbers, = and != also texts")
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[sign]
    return compare(measured(values), wanted)


def codes(values: np.ndarray) -> np.ndarray:
    """int64 [rows]: equal where the values are; what is missing is equal to nothing."""
    seen: dict[Any, int] = {}
    missing = lambda i, v: ("", i) if v is None or v != v else v
    return np.array([seen.setdefault(missing(i, v), len(seen)) for i, v in enumerate(values.tolist())], np.int64)


def runs(
    columns: Columns, values: Columns, rows: np.ndarray, given: Mapping[str, str], said: list[str]
) -> tuple[np.ndarray, str]:
    """int64 [rows]: which run each of `rows` is of, and what says so."""
    own, name = np.arange(rows.size), given.get("run")
    if name is not None:
        return codes(columns[name][rows]), name
    hashes = columns.get("config_hash", np.full(len(columns[next(iter(columns))]), None))[rows]
    foreign = np.array([v is None or v != v for v in hashes], bool)  # a record of ours is a run, whatever its name
    guesses = sorted((r, n) for n in columns if foreign.any() and (r := rank(n, "run")))
    for _, guessed in guesses:
        found = codes(columns[guessed][rows])
        sizes = codes(values["n"][rows]) if "n" in values else np.zeros_like(found)
        # A run has one size; and a column in which every row differs names rows.
        groups = np.unique(found).size
        if np.unique(found * (sizes.max() + 1) + sizes).size == groups < rows.size:
            said.append(
                f"run: column {guessed!r}, {groups} runs of {rows.size} rows (guessed; --run COL names another)"
            )
            return np.where(foreign, found, found.max() + 1 + own), guessed
    if checkpoints(columns, values, rows):
        said.append("rows look like checkpoints of fewer runs, but each counts as a run; --run COL tells runs apart")
    return own, OWN_RUNS


def checkpoints(columns: Columns, values: Columns, rows: np.ndarray) -> bool:
    """Whether most rows go on where the one before them, alike in n and every text, stopped: later step, larger d."""
    if not {"n", "d", "step"} <= values.keys() or rows.size < 3:
        return False
    texts = [codes(v[rows]) for v in columns.values() if v.dtype == object]
    alike = np.stack([codes(values["n"][rows]), *texts])
    goes_on = (
        (np.diff(alike, axis=1) == 0).all(0) & (np.diff(values["step"][rows]) > 0) & (np.diff(values["d"][rows]) > 0)
    )
    return bool(goes_on.mean() > 0.5)


def reduced(
    rows: np.ndarray, run: np.ndarray, values: Columns, inputs: Sequence[str], output: str,
    dropped: list[dict[str, str]], where: np.ndarray, drop_outliers: int, last: bool, said: list[str],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """`rows` and `run` [rows] after `last`, the best of the same `inputs` (where named), and `drop_outliers`."""
    if last:
        by = next((role for role in ("step", "d") if role in values and np.isfinite(values[role][rows]).all()), None)
        order = np.lexsort((rows, values[by][rows], run)) if by else np.lexsort((rows, run))
        ends = np.sort(order[np.r_[run[order][1:] != run[order][:-1], True]])
        said.append(f"the last row of each run: {ends.size} of {rows.size} rows")
        rows, run = rows[ends], run[ends]
    if inputs:
        least = best_of(np.stack([values[role][rows] for role in inputs]), values[output][rows])
        said.append(f"the best row of each {', '.join(inputs)}: {least.size} of {rows.size} rows")
        rows, run = rows[least], run[least]
    if not 0 <= drop_outliers < rows.size:
        raise UserError(
            f"--drop-outliers {drop_outliers} of {rows.size} rows leaves nothing; give 0 to {rows.size - 1}"
        )
    if drop_outliers:
        largest = np.zeros(len(where), bool)
        largest[rows[np.argsort(-values[output][rows], kind="stable")[:drop_outliers]]] = True
        what = "losses" if output == "loss" else f"values of {output}"
        listed(dropped, where, largest, lambda i: f"one of the {drop_outliers} largest {what} (--drop-outliers)")
        rows, run = rows[~largest[rows]], run[~largest[rows]]
    return rows, run


def best_of(inputs: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the least output [rows] among rows of the same inputs [inputs, rows]."""
    _, which = np.unique(inputs, axis=1, return_inverse=True)
    order = np.lexsort((output, which))
    return np.sort(order[np.r_[True, which[order][1:] != which[order][:-1]]])


def compute(columns: Columns, given: Mapping[str, str], mapping: dict[str, str], said: list[str]) -> None:
    """Sets c and budget of `columns` [rows], where something says them."""
    if {"n", "d"} <= columns.keys():
        c = c_6nd(columns["n"], columns["d"])
        if "c" not in given and mapping["d"] != "c / (6 n)":
            columns["c"], mapping["c"] = c, "6 n d"
        elif mapping["d"] != "c / (6 n)":
            ratio = columns["c"] / c
            if np.maximum(ratio, 1 / ratio).max() > 1.2:
                said.append(
                    f"c: {mapping['c']!r} is {np.median(ratio):.3g} times 6 n d (median; {ratio.min():.3g} to "
                    f"{ratio.max():.3g})"
                )
    if "budget" not in columns and "c" in columns:
        columns["budget"], mapping["budget"] = budgets(columns["c"]), "c, neighbours within 20 % sharing one"


def budgets(c: np.ndarray, gap: float = 1.2) -> np.ndarray:
    """Groups FLOPs [rows] into budgets: sorted, a new one starts where a value is `gap` times the one before it.

    Runs that were not made budget by budget form chains or stand alone: where one group spans more than an octave, or
    more than a third of them have fewer than three rows, all are grouped by octaves from the largest instead.
    """
    if not len(c):
        return c
    log_c, order = np.log(c), np.argsort(c)
    group = np.zeros(len(c), np.int64)
    group[order[1:]] = np.cumsum(np.diff(log_c[order]) > math.log(gap))
    ends = [np.full(group.max() + 1, start) for start in (np.inf, -np.inf)]
    np.minimum.at(ends[0], group, log_c)
    np.maximum.at(ends[1], group, log_c)
    if (ends[1] - ends[0]).max() > math.log(2.0) or (np.bincount(group) < 3).mean() > 1 / 3:
        octave = np.floor((log_c.max() - log_c) / math.log(2.0) * (1 - 1e-12)).astype(np.int64)
        counts, merged, held = np.bincount(octave), np.zeros(octave.max() + 1, np.int64), 0
        for i, size in enumerate(counts):  # from the top, so that the largest group is enough to judge a forecast by
            merged[i], held = merged[i - 1] + (i > 0 and held >= 3), (0 if held >= 3 else held) + size
        group = np.unique(-merged[octave], return_inverse=True)[1]
    return np.exp(np.bincount(group, log_c) / np.bincount(group))[group]
