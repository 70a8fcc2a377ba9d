"""Nothing that is read can run: no pickle, no YAML with objects, no eval, no shell; by the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ws3d_ros"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {"os.system", "os.popen", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}
HARMLESS = {("pickle", "UnpicklingError")}


def offences(tree: ast.AST) -> Iterator[str]:
    """What could run something out of data, with its line."""
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            found = [alias.name for alias in part.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(part, ast.ImportFrom):
            module = part.module or ""
            taken = module.split(".")[0] in MODULES
            found = [a.name for a in part.names if taken and (module, a.name) not in HARMLESS]
        elif isinstance(part, ast.Call):
            found = list(_in_call(part))
        else:
            continue
        yield from (f"line {part.lineno}: {what}" for what in found)


def _in_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {key.arg: ast.unparse(key.value) for key in call.keywords}
    if name in NAMES | CALLS:
        yield name
    if name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
        yield "np.load that may unpickle"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if (
        name.startswith(("subprocess.", "asyncio.create_subprocess"))
        and given.get("shell", "False") != "False"
    ):
        yield f"{name} through a shell"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_of_the_package_runs_what_it_reads(path: Path) -> None:
    assert list(offences(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, yaml.Loader)",
        "eval(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_offences_are_noticed(text: str) -> None:
    assert len(list(offences(ast.parse(text)))) == 1


@pytest.mark.parametrize(
    "text",
    ["model.eval()", "np.load(path)", "torch.load(path, 'cpu', weights_only=True)", "yaml.safe_load(text)"],
)
def test_what_is_harmless_is_no_offence(text: str) -> None:
    assert list(offences(ast.parse(text))) == []
