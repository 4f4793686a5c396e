"""Which column of a table plays which role.  A role is what a law reads: n, d, loss."""

import datetime
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.counting import PETAFLOP_DAY
from scaling.logs.numbers import common, spelled, unit
from scaling.logs.table import Columns, absent, missing
from train.errors import UserError, suggest

# The names of N under each convention, best first; names in one string tie.
CONVENTIONS = {
    "total": (
        "paramstotal totalparams totalparameters nparamstotal numparamstotal nwemb nwithemb ntotal paramswithemb",
        "n",
        "params nparams numparams parameters nparameters numparameters parametercount paramcount modelparams "
        "modelparameters modelsize numberofparameters modelnumparameters nummodelparameters",
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

# Normalised names of every other role, best first; names in one string tie.
NAMES: dict[str, tuple[str, ...]] = {
    "d": (
        "d",
        "tokensseen seentokens numtokensseen numinputtokensseen trainnuminputtokensseen consumedtokens tokensconsumed "
        "tokenstrained trainedtokens tokensprocessed traintokensseen totaltokensseen consumedtraintokens",
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
        "finalvalidationloss finalevalloss evaluationloss losseval lossval lossvalid lossvalidation evaluationavgloss "
        "evalavgloss lmlossvalidation lmlossvalidationlmlossvalidation",
        "testloss finaltestloss losstest",
        "crossentropy crossentropyloss celoss nll lmloss valcrossentropy evalcrossentropyloss ce xent xentropy "
        "xentloss nllloss negativeloglikelihood valce evalce validce valceloss evalceloss valnll evalnll validnll "
        "testnll valxent evalxent testce evalcrossentropy valcrossentropyloss testcrossentropy",
        "trainloss trainingloss finaltrainloss losstrain traincrossentropyloss smoothedloss smoothloss learningloss "
        "trainceloss trainnll trainxent traince traincrossentropy lmlosstraining lmlosstraininglmloss trainlossmean",
        "l",  # or layers
    ),
    "budget": ("budget computebudget flopbudget flopsbudget cbudget",),
    "step": (
        "step globalstep trainglobalstep trainstep trainingstep currentsteps currentstep",
        "iteration iter steps trainingiteration", "epoch",
    ),
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
    "perplexity": ("perplexity ppl", "valppl evalppl validppl validationppl testppl valperplexity evalperplexity "
                   "validperplexity validationperplexity testperplexity"),
    "t": ("t date day days releasedate publicationdate",),
    "seed": ("seed randomseed rngseed trainseed initseed modelseed dataseed shuffleseed",),
    "group": (),  # a label of whatever kind: only `given` says which
    "run": (
        "runid runhash experimentkey", "run", "runname", "experimentname expname experiment", "name displayname",
        "origin",  # the file that a row is in
    ),
}  # fmt: skip
# D in bytes instead of tokens: a column that is so named is taken only where `given` names it.
BYTES = (
    "bytes bytesseen seenbytes trainbytes trainingbytes bytestrained trainedbytes nbytes numbytes totalbytes "
    "consumedbytes bytesconsumed ntrainbytes numtrainbytes utf8bytes"
)
MEANINGS = {
    "n": "parameters", "d": "training tokens", "c": "training FLOPs", "loss": "loss", "budget": "FLOPs planned for",
    "step": "place within a run", "s": "training steps", "s_min": "fewest steps to the loss",
    "c_min": "least FLOPs to the loss", "added_loss": "loss added", "x": "amount that the loss is a curve of",
    "u": "unique tokens", "p": "bits of precision",
    "batch": "batch", "lr": "learning rate", "error": "error", "accuracy": "accuracy", "bpb": "bits per byte",
    "t": "date, or days", "run": "run that a row belongs to", "group": "group that a run is compared as",
    "seed": "random seed",
}  # fmt: skip
KEPT = {  # rows that are left out unless they are asked for
    "unfinished": "runs that crashed, were killed, are still running or diverged",
    "copies": "rows that say again what others say in every column",
    "seeds": "each run of a setting that was run with several seeds, instead of their mean",
}
LABELS = ("run", "group")  # roles whose columns may be text
COUNTED = {
    "n",
    "d",
    "c",
    "c_min",
    "u",
    "budget",
    "s",
    "s_min",
    "batch",
    "x",
}  # whose columns are in millions and billions
PREFIX = r"^(summary|config|hparam|hparams|params|results|metrics)[./]"  # of a column's name, where tools group them
# A loss on one of several texts: "eval/c4_en-validation/CrossEntropyLoss".
ON_A_TEXT = re.compile(
    r"(?:eval|evaluation|val|valid|validation|test|heldout|dev)[\w-]*[/.].*[/.]"
    r"(?:loss|(?:cross[ _-]?entropy|ce|lm)[ _-]?loss|cross[ _-]?entropy|nll|ce|xent)"
)
PREFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}


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


def flag(role: str) -> str:
    return "--flops" if role == "c" else f"--{role}"


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


def in_bytes(column: str) -> float | None:
    """The unit of a column that counts bytes by its name: 1e9 of "bytes (B)"; None of any other."""
    return next((factor for _, text, factor in spellings(column, "d") if text in BYTES.split()), None)


def labels(values: np.ndarray) -> tuple[str, ...]:
    """The distinct labels of a column, in the order in which they appear."""
    return tuple(dict.fromkeys(str(v) for v in values[~missing(values)].tolist()))


@functools.lru_cache(maxsize=1 << 14)
def rank(column: str, role: str, convention: str | None = None) -> tuple[int, int, float] | None:
    """(tier of the name, how much of the column's name was left out, unit), smaller is a better match; None if none."""
    tiers = CONVENTIONS[convention or "total"] if role == "n" else NAMES[role]
    found = [
        (tier, left_out, factor)
        for left_out, text, factor in spellings(column, role)
        for tier, names in enumerate(tiers)
        if text in names.split()
    ]
    if not found and role == "loss" and ON_A_TEXT.fullmatch(re.sub(PREFIX, "", column.lower())):
        return 2, 1, 1.0
    return min(found, default=None)


def ranked(columns: Columns, role: str) -> list[str]:
    """The columns that are named like a role, best first."""
    found = {name: rank(name, role) for name in columns}
    return sorted((name for name, r in found.items() if r), key=lambda name: (found[name], name))


def plain(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def spellings(column: str, role: str) -> Iterator[tuple[int, str, float]]:
    """(how much was left out, a normalised name, its unit): "config.Params (M)" is also params, a million each."""
    name = common(re.sub(r" \(\d+\)$", "", column)).lower()
    inner = re.sub(PREFIX, "", name)
    for left_out, text in enumerate((name, inner, name.rpartition(".")[2])):
        if left_out == 2 and role in ("loss", "error", "accuracy", "bpb"):
            continue  # train.loss is not loss
        yield left_out, plain(text), 1.0
        if role == "loss" and (nats := re.search(r"\W*\b(nats?|bits?)(\s*(/|per)\s*tok(en)?)?\W*$", text)):
            yield left_out, plain(text[: nats.start()]), math.log(2.0) if nats[1].startswith("bit") else 1.0
        if role not in COUNTED:
            continue
        if what := re.search(r"\s*[(\[](params|parameters|tokens|flops?)[)\]]$", text):
            yield left_out, plain(text[: what.start()]), 1.0
        if found := unit(text):
            yield left_out, plain(found[0]), found[1]
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


# What a column says.


def measured(values: np.ndarray, role: str = "") -> np.ndarray:
    """float64 [rows], NaN where there is no number.  Dates, where `t` is asked for, are days since 1970."""
    if values.dtype == np.float64:
        return values
    found = spelled(values.tolist()).values
    if role == "t":
        days = [day(v) if isinstance(v, str) else None for v in values.tolist()]
        return np.array([x if d is None else d for x, d in zip(found, days, strict=True)], np.float64)
    return found


def day(text: str) -> float | None:
    try:
        return float((datetime.date.fromisoformat(text[:10]) - datetime.date(1970, 1, 1)).days)
    except (TypeError, ValueError):
        return None


def has_numbers(values: np.ndarray, role: str) -> bool:
    return bool(np.isfinite(measured(values, role)).any())


def distinct(values: np.ndarray) -> str:
    """The first ten values that are there."""
    return ", ".join(map(shown, [*dict.fromkeys(values[~missing(values)].tolist())][:10]))


def shown(value: Any) -> str:
    """A cell as messages show it."""
    if value is None or (isinstance(value, float) and absent(np.array([value]))[0]):
        return "missing"
    if isinstance(value, str) and len(value) > 80:
        value = f"{value[:77]}..."
    return f"{value:g}" if isinstance(value, float) else repr(value)
