"""What setup.py compiles is there, and nothing interpreted derives from it: a compiled class refuses that."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


def compiled() -> set[str]:
    """Return the names of the modules on the list in setup.py."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED":
            return {"edgewise." + module.replace("/", ".") for module in ast.literal_eval(node.value)}
    raise AssertionError("setup.py has no list of modules to compile")


def bases(node: ast.ClassDef) -> set[str]:
    """Return the names a class derives from, without type parameters."""
    return {ast.unparse(base).partition("[")[0] for base in node.bases}


def native_classes(tree: ast.Module) -> set[str]:
    """Return the classes that become native when compiled: not those made by NamedTuple, Enum, Protocol or the like."""
    native: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and bases(node) <= native | {"dict", "Generic"}:
            native.add(node.name)
    return native


def derived(tree: ast.Module, native: dict[str, set[str]]) -> list[str]:
    """Return the classes of a module that derive from a native class of another."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in native.get(node.module or "", set())
    }
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and imported & bases(node)]


def test_every_module_to_compile_exists() -> None:
    assert [name for name in compiled() if not (SOURCE / (name.replace(".", "/") + ".py")).exists()] == []


def test_no_interpreted_class_derives_from_a_compiled_one() -> None:
    trees = {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts): ast.parse(path.read_text())
        for path in SOURCE.rglob("*.py")
    }
    native = {name: native_classes(tree) for name, tree in trees.items() if name in compiled()}
    found = {name: derived(tree, native) for name, tree in trees.items() if name not in compiled()}
    assert {name: classes for name, classes in found.items() if classes} == {}
