"""The product's own code, taken apart into steps that others may come in between."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType
from typing import Any

PORTS = ("queue", "runner")


def again(module: ModuleType, tree: ast.Module | None = None, **instead: Any) -> dict[str, Any]:
    """The names of `module`, made once more from its source, with `instead` for some that it imports."""
    names: dict[str, Any] = {"__name__": module.__name__}
    code = compile(tree or ast.parse(inspect.getsource(module)), str(module.__file__), "exec")
    exec(code, names)  # our own source
    names.update(instead)
    return names


def stepped(module: ModuleType, name: str) -> Any:
    """Class `name` of `module`, its methods generators wherever they, or those they call, use a port.

    A loop that never ends says `("top", self)` each time round.
    """
    tree = ast.parse(inspect.getsource(module))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    methods = {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}
    waiting: set[str] = set()
    while True:
        more = {n for n, method in methods.items() if any(_waits(each, waiting) for each in ast.walk(method))}
        if more == waiting:
            break
        waiting = more
    for method in (methods[n] for n in waiting):
        _Steps(waiting).visit(method)
    return again(module, ast.fix_missing_locations(tree))[name]


def _waits(node: ast.AST, waiting: set[str]) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=port))):
            return port in PORTS
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=called)):
            return called in waiting
    return False


class _Steps(ast.NodeTransformer):
    def __init__(self, waiting: set[str]) -> None:
        self.waiting = waiting

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return ast.YieldFrom(node) if _waits(node, self.waiting) else node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            node.body.insert(0, ast.parse('yield ("top", self)').body[0])
        return node
