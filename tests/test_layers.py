"""Who may import whom, and what only one place may do. A new module must be given its layer here."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bams3"

LAYERS = (
    "errors regions progress pipeline columns slices variants",
    "format store kernels",
    "bam htslib files sam panel tables count_tables genotype_counts outputs coverage stats ld tiles cutting"
    " filters fields rowgroups reader spans bai starts cuts arrow_files",
    "chi2 ingest query chunkfile depth selection price estimate planned plots verify leftovers resume"
    " converter slice_notes slicing",
    "work",
    "cli __init__",
    "__main__",
)
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names.split()}

#: Third-party or system modules that one module alone may import.
ALONE = {"ctypes": "kernels", "matplotlib": "plots"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def label_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


each_source = pytest.mark.parametrize("path", SOURCES, ids=label_of)


def module_of(path: Path) -> str:
    """Top-level module that a file belongs to: ``format`` for format/chunk.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def nodes_of(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level modules of the package that a file imports, with the lines."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (
                (a.name.split(".")[1], node.lineno) for a in node.names if a.name.startswith("bams3.")
            )
        elif isinstance(node, ast.ImportFrom):
            names = [a.name for a in node.names]
            if node.level == 0 and (node.module or "").split(".")[0] == "bams3":
                inner = (node.module or "").split(".")[1:]
            elif node.level == depth:
                inner = node.module.split(".") if node.module else []
            else:
                continue  # another package, or a neighbour in the same folder
            found = inner[:1] or [name for name in names if name != "__version__"]
            yield from ((name if name in LAYER or inner else "__init__", node.lineno) for name in found)


@each_source
def test_every_module_has_a_layer(path):
    assert module_of(path) in LAYER, f"add {module_of(path)} to LAYERS, and to design and ARCHITECTURE.md"


@each_source
def test_imports_point_downwards(path):
    mine = module_of(path)
    for name, line in imports_of(path):
        assert LAYER[name] <= LAYER[mine], f"{path}:{line} imports {name}, which lies above {mine}"


def test_no_modules_import_each_other():
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        graph.setdefault(module_of(path), set()).update(
            name for name, _ in imports_of(path) if name != module_of(path)
        )
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the ring


@each_source
def test_some_libraries_have_one_door(path):
    for node in nodes_of(path):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            owner = ALONE.get(name.split(".")[0], module_of(path))
            assert owner == module_of(path), f"{path}:{node.lineno} imports {name}, which only {owner} may"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if module_of(path) not in ("cli", "__main__")], ids=label_of
)
def test_only_the_command_line_prints_exits_or_reads_the_environment(path):
    for node in nodes_of(path):
        assert not is_for_the_command_line(node), f"{path}:{node.lineno} does what only cli/ may"


def is_for_the_command_line(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in ("print", "exit", "quit", "SystemExit")
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}" in (
            "sys.exit",
            "os._exit",
            "os.environ",
            "os.getenv",
            "sys.argv",
        )
    if isinstance(node, ast.ImportFrom) and node.module in ("os", "sys"):
        return any(a.name in ("exit", "_exit", "environ", "getenv", "argv") for a in node.names)
    return False


@pytest.mark.parametrize(
    "line",
    [
        "print('x')",
        "sys.exit(2)",
        "raise SystemExit(1)",
        "os.environ['HOME']",
        "os.getenv('HOME')",
        "from os import environ",
    ],
)
def test_what_belongs_to_the_command_line_is_seen(line):
    assert any(is_for_the_command_line(node) for node in ast.walk(ast.parse(line)))


@pytest.mark.parametrize(
    ("folder", "line", "found"),
    [
        ("", "from .errors import InputError", ["errors"]),
        ("", "from . import work", ["work"]),
        ("", "from . import __version__", []),
        ("format", "from ..errors import InputError", ["errors"]),
        ("format", "from .spec import COLUMNS", []),
        ("cli", "from .. import open", ["__init__"]),
        ("", "import bams3.query", ["query"]),
        ("", "from bams3.query import Store", ["query"]),
        ("", "import os", []),
    ],
)
def test_imports_are_read_in_all_their_forms(tmp_path, monkeypatch, folder, line, found):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    path = tmp_path / folder / "module.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(line, encoding="utf-8")
    assert [name for name, _ in imports_of(path)] == found
