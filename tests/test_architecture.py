"""Who may import whom, read off the source; and what no committed file may hold."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"configs", "models", "data", "train", "scaling", "tests", "scripts"}
STANDARD = set(sys.stdlib_module_names)
TOOLS = {"numpy", "jaxtyping"}
DATA_TOOLS = TOOLS | {"grain", "tensorflow_datasets", "PIL", "tokenizers", "absl", "pyarrow", "etils", "array_record"}
TRAIN_TOOLS = TOOLS | {"jax", "flax", "optax", "orbax", "ml_collections", "rich", "tensorboardX", "wandb"}
TRAIN_TOOLS |= {"matplotlib", "jinja2", "markupsafe"}  # curves
TRAIN_TOOLS |= {"etils", "gcsfs", "google", "requests"}  # buckets
SCALING_TOOLS = TOOLS | {
    "jax",
    "ml_collections",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "scipy",
    "pyarrow",
    "yaml",
    "tensorboardX",
    "rich",
    "ray",
    "submitit",
}
MAY_IMPORT = {
    "configs": {"configs", "ml_collections"},
    "models": {"models", "jax", "flax", "jaxtyping", "numpy"},
    "data": {"data", *DATA_TOOLS},
    "train": {"train", "models", "data", *TRAIN_TOOLS},
    "scaling": {"scaling", "train", "models", "data", *SCALING_TOOLS},
}
DEVICE_CALLS = r"jax\.(local_)?device(s|_count)\b|(?<!\w)Mesh\(|NamedSharding|PartitionSpec|AxisType|jax\.make_mesh"


def files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def tree(file):
    return ast.parse(file.read_text())


def imports(file):
    """Top-level names of every module that `file` imports, anywhere in it."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module.split(".")[0]


def committed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder):
    allowed = MAY_IMPORT[folder] if folder == "configs" else MAY_IMPORT[folder] | STANDARD
    assert files(folder)
    wrong = {f"{file.relative_to(ROOT)}: {name}" for file in files(folder) for name in imports(file)} - {
        f"{file.relative_to(ROOT)}: {name}" for file in files(folder) for name in allowed
    }
    assert not wrong, f"{folder}/ may import {sorted(MAY_IMPORT[folder] & OURS)} and its libraries only"


def bound(file):
    """Names that a module has: bound anywhere but inside of a function or class."""
    todo, names = list(tree(file).body), set()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        todo += ast.iter_child_nodes(node)
    return names


def test_what_is_imported_from_another_file_is_there():
    """Of scripts too, which nothing here runs, and of imports inside of functions."""
    missing = []
    for file in (file for folder in sorted(OURS) for file in files(folder)):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS:
                path = ROOT.joinpath(*node.module.split("."))
                module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
                there = bound(module) if module.exists() else set()
                there |= {each.stem for each in path.glob("*") if each.suffix == ".py" or each.is_dir()}
                missing += [
                    f"{file.relative_to(ROOT)}: {node.module} has no {a.name}"
                    for a in node.names
                    if a.name not in there
                ]
    assert not missing


def test_networks_compute_with_jax_alone():
    """Only what reads and writes checkpoints holds numbers that are no arrays of JAX."""
    with_numpy = {str(file.relative_to(ROOT)) for file in files("models") if "numpy" in set(imports(file))}
    assert {name for name in with_numpy if not name.startswith("models/weights/")} == {"models/pretrained.py"}


def test_only_models_know_the_library_that_builds_networks():
    inside = {file for file in files("models") if "flax" in set(imports(file))}
    assert ROOT / "models" / "api.py" in inside
    outside = [file for folder in ("train", "scaling", "data", "configs") for file in files(folder)]
    assert not [
        f for f in outside if re.search(r"flax import linen|flax\.linen|flax import nnx|flax\.nnx", f.read_text())
    ]


def test_only_the_mesh_knows_devices():
    """Laws are fitted on the CPU in float64 wherever networks train: the one other place that asks for a device."""
    everywhere = [file for folder in MAY_IMPORT for file in files(folder)]
    knowing = {str(f.relative_to(ROOT)) for f in everywhere if re.search(DEVICE_CALLS, f.read_text())}
    assert knowing == {"train/devices/mesh.py", "scaling/fit/solver.py"}
    assert len(re.findall(DEVICE_CALLS, (ROOT / "scaling/fit/solver.py").read_text())) == 1


def test_there_is_one_train_step():
    found = [
        str(file.relative_to(ROOT))
        for folder in ("train", "models", "data", "scaling", "scripts")
        for file in files(folder)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Attribute) and node.attr == "value_and_grad" and ast.unparse(node.value) == "jax"
    ]
    assert found == ["train/step.py"]
    steps = [
        f
        for folder in ("train", "scaling")
        for f in files(folder)
        if "optax.apply_updates(learnt, updates)" in f.read_text()
    ]
    assert steps == [ROOT / "train" / "step.py"]


def test_every_loss_is_typed_as_the_protocol_says_and_wrapped_in_one_file():
    """Of `Task(init, loss, …)` and `task._replace(loss=loss)`."""
    nodes = lambda file, kind: [node for node in ast.walk(tree(file)) if isinstance(node, kind)]
    written = lambda annotation: "untyped" if annotation is None else ast.unparse(annotation)

    def types(function):
        arguments = [*function.args.posonlyargs, *function.args.args]
        return [written(a.annotation) for a in arguments if a.arg != "self"], written(function.returns)

    def losses(file):
        calls = [(ast.unparse(call.func), call) for call in nodes(file, ast.Call)]
        made = [ast.unparse(call.args[1]) for name, call in calls if name == "Task"]
        made += [
            ast.unparse(k.value) for name, c in calls if name == "task._replace" for k in c.keywords if k.arg == "loss"
        ]
        found = [function for function in nodes(file, ast.FunctionDef) if function.name in made]
        assert len(found) == len(made), file
        return found

    (protocol,) = [f for f in nodes(ROOT / "train/step.py", ast.FunctionDef) if f.name == "__call__"]
    found = [loss for file in files("train") for loss in losses(file)]
    assert len(found) >= 13
    assert all(types(loss) == types(protocol) for loss in found)
    assert [file.name for file in files("train") if "task._replace(" in file.read_text()] == ["wrap.py"]


def test_config_pages_are_data():
    """A page defines get_config (and sweep), says what it is and how it is run, and is imported by no code."""
    for page in files("configs"):
        if page.stem == "base":
            continue
        doc = ast.get_docstring(tree(page)) or ""
        assert re.search(rf"python -m (train|scaling).*{page.stem}|python -m scaling demo", doc), f"{page}: no command"
    importing = [
        f for folder in ("models", "data", "train", "scaling") for f in files(folder) if "configs" in imports(f)
    ]
    assert not importing


def test_committed_files_name_no_machine():
    """No home folders, work folders, private package registries or host names."""
    machine = re.compile(
        r"(?<![\w.~])/(home|root|Users|work|mnt|private)/\w"  # an absolute path of somebody's machine
        r"|https?://(?!localhost)[\w.-]*(artifact|nexus|jfrog|mirror|proxy|internal|corp)[\w.-]*"
        r"|(index-url|extra-index-url|registry)\s*=\s*\S*https?://(?!pypi\.org)"
        r"|\b(10|192\.168|172\.(1[6-9]|2\d|3[01]))(\.\d{1,3}){2,3}\b:\d+"
    )
    found = []
    for file in committed():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {hit.group()}" for hit in machine.finditer(text)]
    assert len(committed()) > 50
    assert not found
