"""The product's own code, taken apart into steps that others may come in between."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def again(module: ModuleType, tree: ast.Module | None = None, **instead: Any) -> dict[str, Any]:
    """The names of `module`, made once more from its source, with `instead` for some that it imports."""
    names: dict[str, Any] = {"__name__": module.__name__}
    code = compile(tree or ast.parse(inspect.getsource(module)), str(module.__file__), "exec")
    exec(code, names)  # our own source
    known = {*names, *sys.stdlib_module_names, "records"}  # what is given to all of them alike
    strangers = instead.keys() - known
    assert not strangers, f"{module.__name__} knows no {strangers} any more: the simulation must follow it"
    names.update(instead)
    return names


def stepped(modules: Iterable[ModuleType], steps: Iterable[str], top: str = "") -> dict[str, ast.Module]:
    """The sources of `modules`, every function a generator that makes one of `steps`, or calls one that does.

    Steps are written as they are called: `os.listdir`, or `self.queue.*` for whatever is asked of a port. They must be
    generators too. The loop of function `top` says `("top", self)` each time round.
    """
    trees = {module.__name__: ast.parse(inspect.getsource(module)) for module in modules}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    functions = [function for function in functions if function.name != "__init__"]
    wanted, waiting = frozenset(steps), frozenset[str]()
    while True:
        more = frozenset(f.name for f in functions if any(_waits(node, wanted, waiting) for node in ast.walk(f)))
        if more == waiting:
            break
        waiting = more
    for function in functions:
        if function.name in waiting:
            _Steps(wanted, waiting).visit(function)
        for node in function.body if function.name == top else ():
            if isinstance(node, ast.While):
                node.body.insert(0, ast.parse('yield ("top", self)').body[0])
    return {name: ast.fix_missing_locations(tree) for name, tree in trees.items()}


def _waits(node: ast.AST, steps: frozenset[str], waiting: frozenset[str]) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    head, _, last = called.rpartition(".")
    return called in steps or f"{head}.*" in steps or last in waiting


class _Steps(ast.NodeTransformer):
    def __init__(self, steps: frozenset[str], waiting: frozenset[str]) -> None:
        self.steps = steps
        self.waiting = waiting

    def visit_Call(self, node: ast.Call) -> ast.AST:
        is_step = _waits(node, self.steps, self.waiting)
        self.generic_visit(node)
        return ast.YieldFrom(node) if is_step else node
