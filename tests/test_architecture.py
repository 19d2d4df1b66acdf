"""The rules that keep the library small: who may import whom, where names of methods stand, what an import costs."""

from __future__ import annotations

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import gense

PACKAGE = Path(gense.__file__).parent
FILES = sorted(p for p in PACKAGE.rglob("*.py"))

# Layer by layer: a module may import its own layer's folder and what lies in lower layers. `types` and `losses` are
# plain data and functions that the middle uses; `pretrained` finds models of `transformers`, `ssl` reads such networks.
LAYERS: list[list[str]] = [
    ["samplers", "version"],
    ["types", "pretrained", "limits"],
    ["ssl", "opening"],
    ["representations", "backbones", "processes", "losses"],
    ["heads", "vocoders"],
    ["audio", "blocks", "chunking", "signals", "text", "metrics"],
    ["enhancer", "core", "pipe", "streaming"],
    ["check", "clips", "ensemble", "recordings"],
    ["configs", "weights", "checkpoints"],
    ["choices", "api", "transcripts", "files"],
    ["data", "spectrogram"],
    ["evaluation"],
    ["training", "sweeps", "scale", "report", "demo", "serve", "stream_command"],
    ["cli"],
]
SIBLINGS = {"representations", "backbones", "processes"}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# A folder's face may hold a function that calls what lies above, imported when it is called: (file, what it imports)
FACES = {("gense/vocoders/__init__.py", "gense.checkpoints.vocoder")}


def part_of(module: str) -> str:
    """The folder or top-level module of the package in which a module lies: "heads" for gense.heads.path."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute module, line) of every import in a file; for `from a import b` also a.b where that is a module."""
    package = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1]]) if node.level else ""
            module = ".".join(filter(None, [base, node.module or ""]))
            yield module, node.lineno
            for name in node.names:
                inner = PACKAGE.parent.joinpath(*module.split("."), name.name)
                if module.startswith("gense") and (inner.is_dir() or inner.with_suffix(".py").exists()):
                    yield f"{module}.{name.name}", node.lineno


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {part_of(".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts)) for p in FILES} - {"__init__"}
    assert parts <= set(LEVEL), f"say in LAYERS where {sorted(parts - set(LEVEL))} belong"


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py" or p.parent != PACKAGE], ids=relative)
def test_imports_point_downwards(path: Path) -> None:
    own = part_of(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    for module, line in imports(path):
        other = part_of(module)
        if not module.startswith("gense.") or other == own or (relative(path), module) in FACES:
            continue
        where = f"{relative(path)}:{line} imports {module}"
        assert LEVEL[other] <= LEVEL[own], f"{where}, which lies above"
        assert not {own, other} <= SIBLINGS, f"{where}: these folders know nothing of each other"
        if own in SIBLINGS and other == "samplers":
            assert own == "processes", f"{where}: only processes may"
            assert module in ("gense.samplers", "gense.samplers.types"), f"{where}: only its types"


def test_nothing_imports_the_package_as_a_whole() -> None:
    """`import gense` or `from gense import Enhancer` inside the package would run in a circle; submodules are named."""
    for path in FILES:
        if path == PACKAGE / "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "gense" and not node.level:
                for name in node.names:
                    inner = PACKAGE / name.name
                    assert inner.is_dir() or inner.with_suffix(".py").exists(), f"{relative(path)}:{node.lineno}"
            if isinstance(node, ast.Import):
                assert "gense" not in [name.name for name in node.names], f"{relative(path)}:{node.lineno}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent == PACKAGE / "samplers"], ids=relative)
def test_samplers_stand_alone(path: Path) -> None:
    """They can be lifted out as a library of their own: relative imports, torch, torchdiffeq, the standard library."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1
    for module, line in imports(path):
        top = module.split(".")[0]
        allowed = top in {"torch", "torchdiffeq"} | sys.stdlib_module_names or module.startswith("gense.samplers")
        assert allowed, f"{relative(path)}:{line} imports {module}"


def test_the_link_at_the_top_shows_the_samplers() -> None:
    link = PACKAGE.parent / "samplers"
    if not (PACKAGE.parent / "pyproject.toml").exists():
        pytest.skip("not a working copy")
    assert link.is_symlink()
    assert link.resolve() == PACKAGE / "samplers"


METHODS = sorted({m.name.split("/")[0] for m in gense.methods()} | {"flowse", "sgmse", "storm", "flowmse", "pase"})


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_names_of_methods_stand_in_data_and_not_in_code(path: Path) -> None:
    """What a method is lies in its YAML. Allowed: converters, the default of `method=`, prose, and the references of
    published pickles."""
    if path.name.startswith("convert_") or path.name == "pickled.py":
        return
    tree = ast.parse(path.read_text())
    allowed = {id(node) for node in docstrings(tree)} | {id(node) for node in defaults_of_method(tree)}
    for node in ast.walk(tree):
        found = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in allowed:
            found = node.value
        elif isinstance(node, (ast.Name, ast.Attribute, ast.FunctionDef, ast.ClassDef, ast.arg)):
            found = getattr(node, "id", "") or getattr(node, "attr", "") or getattr(node, "name", "")
            found = found or getattr(node, "arg", "")
        words = found.lower().replace("-", "_").replace("/", "_").replace(".", "_").replace(" ", "_").split("_")
        named = (set(METHODS) - {"bridge", "gense"}) & set(words)
        if named and not (path.name == "formats.py" and found.startswith("convert_")):
            raise AssertionError(f"{relative(path)}:{node.lineno}: {found!r} names the method {', '.join(named)}")


def docstrings(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def defaults_of_method(tree: ast.AST) -> Iterator[ast.AST]:
    """The "flowse" of `method: ... = "flowse"`, and of a parser's `add_argument("--method", default="flowse")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            bare = [None] * (len(node.args.args) - len(node.args.defaults))
            values = [*bare, *node.args.defaults, *node.args.kw_defaults]
            yield from (value for name, value in zip(arguments, values, strict=True) if name.arg == "method" and value)
        if isinstance(node, ast.Call) and node.args and getattr(node.args[0], "value", None) == "--method":
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "default")


FORBIDDEN_CALLS = {
    "torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.set_rng_state",
    "torch.random.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed", "os.chdir",
    "warnings.simplefilter", "torch.set_default_dtype", "torch.set_default_device", "torch.set_num_threads",
    "torch.use_deterministic_algorithms",
}  # fmt: skip


# A training owns its process: it seeds every batch, so that a resumed run draws what an uninterrupted one would
SEEDS = {"gense/training/randomness.py"}


@pytest.mark.parametrize("path", [p for p in FILES if relative(p) not in SEEDS], ids=relative)
def test_nobody_touches_the_state_of_the_process(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS, f"{relative(path)}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_modules_do_nothing_when_imported(path: Path) -> None:
    """No downloads, warning filters or work at the top level: definitions, imports, constants."""
    allowed = (
        ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    )  # fmt: skip
    for node in ast.parse(path.read_text()).body:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        assert isinstance(node, allowed) or text or types, f"{relative(path)}:{node.lineno}: {ast.unparse(node)[:60]}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_function_swallows_unknown_arguments(path: Path) -> None:
    """`**options` of `enhance` is checked against the sampler; a placeholder takes anything because it does nothing."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.args.kwarg is not None:
            where = (path.name, node.name)
            passed_on = any(
                isinstance(inner, ast.keyword) and inner.arg is None and ast.unparse(inner.value) == node.args.kwarg.arg
                for inner in ast.walk(node)
            )
            known = [("api.py", "enhance"), ("pickled.py", "__init__")]
            assert passed_on or where in known, f"{relative(path)}: {where}"


def public_things() -> Iterator[tuple[str, object]]:
    """Every public class, function, method and property that the package defines."""
    for info in pkgutil.walk_packages([str(PACKAGE)], "gense."):
        if part_of(info.name) == "training":
            pytest.importorskip("lightning")
        if part_of(info.name) == "serve":
            pytest.importorskip("fastapi")
            pytest.importorskip("prometheus_client")
        module = import_module(info.name)
        if len(Path(module.__file__).read_text().splitlines()) > 1:
            yield info.name, module
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != info.name:
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{info.name}.{name}", thing
            if inspect.isclass(thing):
                for inner, member in vars(thing).items():
                    if not inner.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                        yield f"{info.name}.{name}.{inner}", getattr(thing, inner)


def test_everything_public_has_a_docstring() -> None:
    """Overrides take theirs from the base class."""
    bare = [name for name, thing in public_things() if not (inspect.getdoc(thing) or "").strip()]
    assert not bare, f"without docstring: {', '.join(bare)}"


def test_files_stay_small() -> None:
    long = {relative(p): len(p.read_text().splitlines()) for p in FILES}
    assert not {name: lines for name, lines in long.items() if lines > 300}


PROBE = """
import json, sys, time
start = time.process_time()
import torch
middle = time.process_time()
import gense
end = time.process_time()
print(json.dumps([middle - start, end - middle, sorted({name.split(".")[0] for name in sys.modules})]))
"""
HEAVY = [
    "lightning", "pytorch_lightning", "transformers", "librosa", "matplotlib", "ray", "scipy", "jsonargparse",
    "torchdiffeq", "huggingface_hub", "soundfile", "soxr", "onnxruntime", "pesq", "pystoi", "pandas", "torchaudio",
    "pypinyin", "gradio", "pyarrow", "fastapi", "uvicorn", "prometheus_client",
]  # fmt: skip


def test_importing_is_quick_and_brings_nothing_heavy() -> None:
    seconds = []
    for _ in range(3):  # the best of several, in processor time, because other work on the machine only ever adds
        run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
        _, own, modules = json.loads(run.stdout)
        assert not set(HEAVY) & set(modules)
        seconds.append(own)
        if own < 0.3:
            break
    assert min(seconds) < 0.3


def test_the_face_is_small() -> None:
    assert len(gense.__all__) <= 10
    assert {"enhance", "load", "methods", "Enhancer", "Sampling", "samplers", "__version__"} <= set(gense.__all__)
    assert all(hasattr(gense, name) for name in gense.__all__)
