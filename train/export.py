"""A trained network for other programs: as a public class reads it, or as a program of XLA.

    python -m train export --workdir runs/x --out DIR                        config.json and safetensors (Hugging Face)
    python -m train export --workdir runs/x --out DIR --format stablehlo     model.stablehlo, for jax.export

A Hugging Face folder is of a network with a public class (models/weights/), and has the run's tokenizer as
tokenizer.json.  The program is the network's outputs for inputs as it was trained on them, for any number of them, on
CPUs, NVIDIA GPUs and TPUs; its parameters are in it, or with --parameters beside in parameters.safetensors, for

    program = jax.export.deserialize(pathlib.Path("DIR/model.stablehlo").read_bytes())
    program.call(x)                   # or program.call(parameters, x), a dict of arrays by their names

Adapters (models/lora.py) are merged into the weights.  `export.json` says what was written.
"""

import pathlib
import secrets
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from train.cli import folder, of_a_run, parser, read_of_a_run
from train.errors import UserError
from train.files import write_json, write_whole

if TYPE_CHECKING:
    from models.api import Model
    from train.saved import Saved

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, PARAMETERS, ABOUT = "model.stablehlo", "parameters.safetensors", "export.json"
MOST_INSIDE = 10**9  # bytes of parameters in a program, which is read as a whole


def main(argv: list[str]) -> None:
    flags = parser("python -m train export", __doc__ or "")
    of_a_run(flags)
    flags.add_argument("--out", metavar="DIR", required=True, help="a folder that is not there yet, or is empty")
    flags.add_argument(
        "--format", metavar="NAME", choices=("huggingface", "stablehlo"), default="huggingface",
        help="huggingface (default) or stablehlo",
    )  # fmt: skip
    flags.add_argument(
        "--dtype", metavar="NAME", choices=("float32", "bfloat16", "float16"), default="float32",
        help="of the weights in a Hugging Face folder: float32 (default), bfloat16, float16",
    )  # fmt: skip
    flags.add_argument(
        "--parameters", metavar="WHERE", choices=("inside", "beside"), default="inside",
        help="of a program: inside (default), or beside, in a file of their own",
    )  # fmt: skip
    options = read_of_a_run(flags, argv)
    public = options.format == "huggingface"
    if public and options.parameters != "inside":
        raise UserError("--parameters is of programs; leave it out, or add --format stablehlo")
    if not public and options.dtype != "float32":
        raise UserError("--dtype is of Hugging Face folders; a program computes as the run did (config.precision)")

    from train import saved
    from train.devices import runtime

    runtime.set_up()
    step = "best" if options.best else "last" if options.step is None else options.step
    workdir = folder("--workdir", options.workdir)
    run = saved.load(workdir, options.code, step)
    if public:
        make = lambda place: to_huggingface(run, place, options.dtype)
    else:
        make = lambda place: to_stablehlo(run, place, options.parameters == "beside")
    out = folder("--out", options.out)
    about = written(out, make)
    print(f"in {out}: {', '.join(sorted(each.name for each in out.iterdir()))}\n{about['said']}")


def written(out: pathlib.Path, make: Callable[[pathlib.Path], dict[str, Any]]) -> dict[str, Any]:
    """What `make` says of the files that it writes into a folder, which appears as `out` when it is whole."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is there and not empty; name another folder, or remove it")
    part = out.with_name(f"{out.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        about = make(part)
        write_json(part / ABOUT, about)
        if out.exists():
            out.rmdir()
        part.replace(out)
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); choose another --out") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return about


def network_of(run: "Saved") -> tuple["Model", Any]:
    """The run's network and its parameters, into which adapters are merged."""
    from models import lora
    from train.experiment import network

    spec = run.config.model.to_dict()
    if "name" not in spec:
        raise UserError(
            f"this run has several networks, {', '.join(spec)}, which no format here holds together; read them with "
            "train.saved.load, and write one with models.pretrained.save or jax.export"
        )
    adapters, params = spec.pop("lora", None), run.params
    if adapters:
        params = lora.merged(params, **({} if adapters.get("alpha") is None else {"alpha": adapters["alpha"]}))
    return network(spec, "model", run.config.precision, labelled=False), params


def about_run(run: "Saved", kind: str, said: str) -> dict[str, Any]:
    from train import record

    config = record.resolved(run.config)
    code = {"versions": record.versions(), "git_commit": record.git_commit()}
    return {"format": kind, "said": said, "model": config["model"], "data": config["data"], **code}


def to_huggingface(run: "Saved", out: pathlib.Path, dtype: str) -> dict[str, Any]:
    """A folder that the network's public class loads."""
    from data.tokenize import as_json
    from models import pretrained

    model, params = network_of(run)
    shape, network = run.experiment.batch["x"].shape[1:], model.network
    images = {"size": shape[:2], "colours": shape[-1]} if len(shape) == 3 else {}
    unset = {name: value for name, value in images.items() if getattr(network, name, value) is None}
    model = model._replace(network=network.clone(**unset)) if unset else model  # what its data left open
    try:
        pretrained.save(out, model, params, run.model_state, dtype=dtype)
    except ValueError as error:
        raise UserError(f"no Hugging Face folder: {error}; --format stablehlo takes most networks") from error
    tokenizer = run.experiment.dataset.tokenizer
    if tokenizer is not None:
        write_whole(out / "tokenizer.json", as_json(tokenizer))
        write_json(out / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    said = f"with the run's tokenizer, {tokenizer.spec}" if tokenizer else "without a tokenizer"
    kind = pretrained.tensors.json_of(out / "config.json")["architectures"][0]
    return about_run(run, "huggingface", f"{kind} in {dtype}; {said}")


def to_stablehlo(run: "Saved", out: pathlib.Path, beside: bool) -> dict[str, Any]:
    """The network's outputs for a batch of inputs, as a program for `PLATFORMS`."""
    import jax
    import numpy as np

    from models.weights.tensors import Saved as Tensor
    from models.weights.tensors import write_file
    from train import paths

    model, params = network_of(run)
    variables = {"params": params, "state": run.model_state}
    named = paths.leaves(variables)
    size = sum(leaf.nbytes for leaf in named.values())
    if not beside and size > MOST_INSIDE:
        raise UserError(
            f"a program with {size / 1e9:.1f} GB of parameters inside is too large; add --parameters beside"
        )
    x = run.experiment.batch["x"]

    def outputs(named: dict[str, jax.Array], x: jax.Array) -> Any:
        given = paths.replaced(variables, named)
        found, _ = model.apply(given["params"], given["state"], x)
        return found._asdict() if hasattr(found, "_asdict") else found

    def one_by_one(named: dict[str, jax.Array], x: jax.Array) -> Any:
        return jax.vmap(lambda row: jax.tree.map(lambda leaf: leaf[0], outputs(named, row[None])))(x)

    shape = lambda rows: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype)
    try:
        told = jax.eval_shape(outputs, named, shape(3))
        if any(leaf.shape[:1] != (3,) for leaf in jax.tree.leaves(told)):
            raise ValueError("its outputs are not one for each input")
    except Exception as error:  # whatever the network's code raises
        raise UserError(
            f"no program: the network {run.config.model.name} does not work on a batch's x alone "
            f"({str(error).strip().splitlines()[0]}); --format huggingface may take it"
        ) from error
    given = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in named.items()}

    def export(outputs: Callable) -> Any:
        rows = shape(jax.export.symbolic_shape("batch")[0])
        if beside:
            return jax.export.export(jax.jit(outputs), platforms=PLATFORMS)(given, rows)
        return jax.export.export(jax.jit(lambda x: outputs(named, x)), platforms=PLATFORMS)(rows)

    try:
        program = export(outputs)
    except Exception:  # of a network that computes with the size of its batch: it sees one input at a time
        program = export(one_by_one)
    try:
        blob = program.serialize()
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"no program: what the network returns cannot be stored ({reason})") from error
    write_whole(out / PROGRAM, bytes(blob))
    if beside:
        arrays = {name: np.asarray(leaf) for name, leaf in named.items()}
        make = lambda name: lambda: arrays[name]
        write_file(out / PARAMETERS, [Tensor(n, a.dtype, a.shape, make(n)) for n, a in arrays.items()])
    shapes = {
        "inputs": {"x": {"shape": [str(n) for n in program.in_avals[-1].shape], "dtype": str(x.dtype)}},
        "outputs": [{"shape": [str(n) for n in each.shape], "dtype": str(each.dtype)} for each in program.out_avals],
        "parameters": PARAMETERS if beside else "inside",
        "platforms": list(program.platforms),
    }
    said = f"for any number of inputs, {x.dtype}{list(x.shape[1:])} each, on {', '.join(program.platforms)}"
    return about_run(run, "stablehlo", said) | shapes


if __name__ == "__main__":
    raise SystemExit("write python -m train export")
