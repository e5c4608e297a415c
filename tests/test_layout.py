"""Rules of the layout that import-linter cannot check; docs/architecture.md has them all."""

import ast
import importlib
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import resnet_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "resnet_jax"
MOST_FILES = 12
EXAMPLE = "resnet_jax/data/sources/files/tar.py"  # of docs/architecture.md


def imported(path):
    """Lists the modules that a file imports, names of `from` imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_operations_touch_the_internals_of_jax():
    # A contract cannot say this: import-linter takes packages from outside as a whole.
    internal = ("jax.extend", "jax.interpreters")
    users = {
        path.relative_to(PACKAGE).parent.as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(f"{name}.".startswith(f"{part}.") for name in imported(path) for part in internal)
    }
    assert users == {"layers/ops"}


def test_no_folder_has_more_than_a_dozen_files():
    for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        if folder.name in ("cli", "__pycache__"):  # `cli` has a file a command
            continue
        files = [path for path in folder.iterdir() if path.is_file() and path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, folder


def public_names(path):
    """Lists the classes and functions of a module that others may use; overloads count once."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = (node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds))
    return {name for name in names if not name.startswith("_")}


def test_no_public_name_stands_twice():
    homes = {}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "cli":  # its modules have the same functions, a command each
            for name in public_names(path):
                homes.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_the_package_offers_what_it_says():
    public = {name: getattr(resnet_jax, name) for name in resnet_jax.__all__}
    assert sorted(resnet_jax.__all__) == list(resnet_jax.__all__)
    assert public.keys() <= set(dir(resnet_jax))
    for name in ("Backbone", "WeightsError", "grow", "load_torch", "to_torch"):
        assert name in public
    # What a type checker sees is what the names stand for.
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    typed = next(node for node in tree.body if isinstance(node, ast.If)).body
    homes = {alias.name: node.module for node in typed for alias in node.names}
    assert homes.keys() == public.keys()
    for name, module in homes.items():
        assert getattr(importlib.import_module(module), name) is public[name]


def undocumented(path):
    """Lists the public classes, functions and methods of a module without a docstring."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(path.read_text()).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    for node in [*body, *(member for one in classes for member in one.body)]:
        if not isinstance(node, kinds) or node.name.startswith("_"):
            continue
        overloads = "overload" in [ast.unparse(decorator) for decorator in node.decorator_list]
        if ast.get_docstring(node) is None and not overloads:
            yield node.name


def test_every_public_name_has_a_docstring():
    without = {str(path): list(undocumented(path)) for path in PACKAGE.rglob("*.py")}
    assert {path: names for path, names in without.items() if names} == {}
    for name in resnet_jax.__all__:
        assert inspect.getdoc(getattr(resnet_jax, name)), name


def test_the_page_on_the_architecture_names_what_there_is():
    text = (ROOT / "docs" / "architecture.md").read_text()
    _, tree, _ = text.split("```", 2)
    for folder in (path.parent for path in PACKAGE.rglob("__init__.py")):
        assert re.search(rf"\b{folder.name}/", text), folder
        own = re.search(rf"^ *{folder.name}/ +(.*(?:\n {{20,}}.*)*)", tree, re.MULTILINE)
        words = set(re.findall(r"\w+", own[1])) if own else set()
        modules = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
        # A folder is described by its modules, by all of them, or in words.
        if own and len(words & modules) * 2 > len(modules):
            assert modules <= words, (folder, modules - words)
    places = [*ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md")]
    for folder in ("resnet_jax", "tests", "benchmarks", "configs"):
        places += (ROOT / folder).rglob("*.py")
    existing = [path.relative_to(ROOT).as_posix() for path in places]
    for name in set(re.findall(r"[\w/]+\.(?:py|md|toml)\b", text)) - {EXAMPLE}:
        assert any(f"/{path}".endswith(f"/{name}") for path in existing), name


@pytest.mark.parametrize(
    "statement",
    [
        "from resnet_jax import ResidualBlock, functional",
        "from resnet_jax.linen import to_linen",
        "import resnet_jax; resnet_jax.create_model('resnet8'); resnet_jax.list_models()",
    ],
)
def test_a_network_loads_what_jax_and_flax_load_and_nothing_else(statement):
    program = f"""
import sys
import jax.experimental.xla_metadata
from flax import linen, nnx
before = set(sys.modules)
{statement}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(new - set(sys.stdlib_module_names) - {{"jax", "jaxlib", "flax"}}))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "['resnet_jax']"
