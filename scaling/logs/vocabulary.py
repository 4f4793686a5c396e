"""What columns are called: the names of every role, and how well a column's name fits one.

A role is what a law reads: n, d, loss.
"""

import functools
import math
import re
from collections.abc import Iterator

from scaling.counting import PETAFLOP_DAY
from scaling.logs.numbers import common, unit
from scaling.logs.table import Columns

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


def flag(role: str) -> str:
    return "--flops" if role == "c" else f"--{role}"


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


def in_bytes(column: str) -> float | None:
    """The unit of a column that counts bytes by its name: 1e9 of "bytes (B)"; None of any other."""
    return next((factor for _, text, factor in spellings(column, "d") if text in BYTES.split()), None)
