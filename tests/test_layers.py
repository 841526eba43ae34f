"""Do imports go one way, is the core pure, and is what must never be written nowhere?"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import parallel_train
from parallel_train.commands.app import COMMANDS

ROOT = Path(parallel_train.__file__).parent
PACKAGE = "parallel_train"
MODULES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))
# These, and what stands behind them, may import torch.
FACES = ("agents/checkpoints.py", "agents/ranks.py", "caller.py", "finder.py", "held.py", "multirunner.py", "training/")
# `{python} -m` programs of their own, started as processes and never imported.
PROGRAMS = ("demo/",)
# Where any error whatever is caught: one for people, and one for what a person's own model raises.
GATE = "commands/app.py"
GATES = {GATE, "multirunner.py", "training/worker.py"}

# Who may import whom. A module's layer is its folder, or its own name at the top.
ALLOWED = {
    "core": {"core", "errors"},
    "errors": set(),
    "ports": {"core", "errors"},
    "store": {"core", "errors", "ports", "store"},
    "procs": {"core", "errors", "ports", "procs"},  # and store.records
    "report": {"core", "errors", "ports", "report"},
    "scheduler": {"core", "errors", "ports"},
    "results": {"core", "errors", "ports", "results", "store"},
    "cluster": {"core", "errors", "ports", "store", "procs", "report", "results", "scheduler", "cluster"},
    "demo": {"demo"},
    "project": {"core", "errors", "ports", "store", "procs", "report", "project"},
    "training": {"errors", "procs", "training"},
    "finder": {"errors", "training"},
    "held": {"core", "errors", "procs"},
    "caller": {"core", "errors", "held", "procs", "store", "project", "report"},
    "multirunner": {"caller", "held", "core", "errors", "procs", "project", "report", "results", "store"},
    "agents": {"agents", "caller", "core", "errors", "held", "results", "store"},
    "search": {"agents"},
    # Not the faces: what they cost only their own callers pay.
    "commands": {
        *("core", "errors", "ports", "store", "procs", "report", "project", "results", "scheduler", "cluster"),
        "commands",
    },
    "__init__": set(),
    "__main__": {"commands"},
}
OFFERED = {n: m.partition(".")[2] for n, m in parallel_train._FACES.items()}
EXCEPTIONS = {("procs", "store.records"), ("__init__", "core.taskconfig"), ("__init__", "finder")}


@cache
def tree(name):
    return ast.parse((ROOT / name).read_text())


def layer(name):
    head, _, rest = name.partition("/")
    return head if rest else head.removesuffix(".py")


def imported(name):
    """(line, full name) of everything imported anywhere in a module, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = [PACKAGE, *name.removesuffix(".py").split("/")][: -node.level]
                base = ".".join([*parts, base]).rstrip(".")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def own_imports(name):
    """The same for our own modules, as layer and name below the package."""
    for line, full in imported(name):
        parts = full.split(".")
        if parts[0] == PACKAGE and parts[1:] != ["__version__"]:
            below = OFFERED.get(parts[1], ".".join(parts[1:]))  # what `parallel_train` itself offers
            yield line, below.partition(".")[0], below


def calls(name):
    """(line, text of the callee) of every call in a module."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def is_program(name):
    return name.startswith(PROGRAMS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    mine = layer(name)
    allowed = ALLOWED[mine]
    wrong = []
    for line, theirs, full in own_imports(name):
        exceptions = any(f"{full}.".startswith(f"{e}.") for who, e in EXCEPTIONS if who == mine)
        if theirs not in allowed and not exceptions:
            wrong.append(f"{name}:{line} imports {full}")
    assert wrong == []


def test_no_two_modules_import_each_other():
    known = {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): name for name in MODULES}
    needs = {}
    for dotted, name in known.items():
        found = set()
        for _, _, full in own_imports(name):
            parts = full.split(".")
            found |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & set(known)
        needs[dotted] = found - {dotted}
    for start in needs:
        seen, pending = set(), [start]
        while pending:
            for need in needs[pending.pop()]:
                assert need != start, f"{start} is in a circle of imports"
                if need not in seen:
                    seen.add(need)
                    pending.append(need)


CORE = [name for name in MODULES if name.startswith("core/")]
PURE = {
    *("__future__", "bisect", "collections", "dataclasses", "difflib", "enum", "fnmatch", "functools", "hashlib"),
    *("heapq", "itertools", "json", "math", "operator", "re", "string", "types", "typing", "numbers", "posixpath"),
    *("statistics", "decimal", "fractions", "textwrap", "shlex", "unicodedata", "datetime", "contextlib", "copy"),
    "glob",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint", "vars", "globals"}
IMPURE_PARTS = {"now", "today", "utcnow", "glob", "iglob"}  # datetime's clocks; of glob only `escape` is pure


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_nothing_that_acts(name):
    outside = [(line, full) for line, full in imported(name) if full.split(".")[0] not in {*PURE, PACKAGE}]
    pathlib = [(line, full) for line, full in outside if full.startswith("pathlib.Pure")]  # names only, no disk
    assert [found for found in outside if found not in pathlib] == []


@pytest.mark.parametrize("name", CORE)
def test_the_core_calls_nothing_that_acts(name):
    wrong = [(line, callee) for line, callee, _ in calls(name) if callee in IMPURE_CALLS]
    wrong += [(line, callee) for line, callee, _ in calls(name) if callee.rpartition(".")[2] in IMPURE_PARTS]
    assert wrong == []


WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
COMPARES_CLOCKS = "procs/sharing.py"  # it tells how far a disk's clock is off


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith(("store/", "procs/")) or m == "scheduler.py"])
def test_nothing_that_acts_goes_by_the_wall_clock(name):
    """Time-outs, leases and back-offs: somebody may set it, and hosts differ. Stamps are for people, and strftime's."""
    wrong = [(line, callee) for line, callee, _ in calls(name) if callee in WALL_CLOCKS]
    assert wrong == [] or name == COMPARES_CLOCKS


@pytest.mark.parametrize("name", CORE)
def test_the_core_keeps_no_state_of_its_own(name):
    """At the top of a module: functions, classes and constants, which are written in capitals."""
    wrong = []
    for node in tree(name).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            written = ast.unparse(target)
            is_alias = isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)
            makes = isinstance(
                node.value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.Call)
            )
            is_type = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in {"TypeVar", "NewType"}
            if makes and not is_alias and not is_type and written.lstrip("_") != written.lstrip("_").upper():
                wrong.append(f"{name}:{node.lineno} {written}")
    wrong += [f"{name}:{n.lineno} global" for n in ast.walk(tree(name)) if isinstance(n, (ast.Global, ast.Nonlocal))]
    assert wrong == []


# It writes results for the user that JSON can't hold; what would load one is nowhere.
PICKLES = "multirunner.py"
NAMES_AN_ERROR = "pickle.UnpicklingError"  # which loads nothing
BANNED_IMPORTS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "click", "imp"}
BANNED_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
BANNED_CALLS |= {"subprocess.getoutput", "subprocess.getstatusoutput", "torch.load"}


ASKS_FIRST = "agents/checkpoints.py"  # weights_only=False must be asked for, and takes only a private file


@pytest.mark.parametrize("name", MODULES)
def test_what_must_never_be_written_is_not(name):
    banned = BANNED_IMPORTS - ({"pickle"} if name == PICKLES else set())
    imports = [(line, full) for line, full in imported(name) if full != NAMES_AN_ERROR]
    wrong = [f"{name}:{line} {full}" for line, full in imports if full.split(".")[0] in banned]
    for line, callee, call in calls(name):
        if callee.startswith("pickle.") and callee != "pickle.dumps":
            wrong.append(f"{name}:{line} {callee}")
        is_safe = callee == "torch.load" and any(ast.unparse(k) == "weights_only=True" for k in call.keywords)
        is_safe |= callee == "torch.load" and (is_program(name) or name == ASKS_FIRST)
        if callee in BANNED_CALLS and not is_safe:
            wrong.append(f"{name}:{line} {callee}")
        for keyword in call.keywords:
            is_off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            if keyword.arg == "shell" and callee.startswith(("subprocess.", "Popen", "run")) and not is_off:
                wrong.append(f"{name}:{line} shell=")
            if keyword.arg == "allow_pickle" and not is_off:
                wrong.append(f"{name}:{line} allow_pickle")
    assert wrong == []


@pytest.mark.parametrize("name", [n for n in MODULES if not n.startswith(FACES) and not is_program(n)])
def test_only_the_faces_import_torch(name):
    assert [full for _, full in imported(name) if full.split(".")[0] in {"torch", "numpy", "optuna"}] == []


def test_the_command_line_imports_what_is_heavy_only_where_it_is_used():
    """Loading the command line loads neither torch nor the faces nor optional extras."""
    code = "import sys, parallel_train.commands.app; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    faces = {f"parallel_train.{face.removesuffix('.py').rstrip('/')}" for face in FACES}
    heavy = {"torch", "numpy", "optuna", "pynvml"} | faces
    assert heavy & set(found) == set()


@pytest.mark.parametrize("command", ["run", "status", "results", "gpus"])
def test_who_writes_to_a_pipe_does_not_wait_for_what_draws_on_a_terminal(command):
    code = f"import sys, parallel_train.commands.{command}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rich.console" not in found


@pytest.mark.parametrize("name", MODULES)
def test_only_the_gate_and_who_calls_a_function_of_the_user_catch_everything(name):
    broad = []
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type).strip("()").split(", ") if node.type else [""]
            if set(caught) & {"", "Exception", "BaseException"}:
                broad.append(node.lineno)
    assert broad == [] or name in GATES, f"{name}: {broad}"


PASTE = "report/paste.py"  # puts together what a person can type
TYPED = re.compile(rf"parallel-train ({'|'.join(c.__name__ for group in COMMANDS.values() for c in group)})\b")


@pytest.mark.parametrize("name", [m for m in MODULES if m != PASTE])
def test_every_command_that_is_printed_is_put_together_in_one_place(name):
    """Else it would lack the folder where the reader gave -C. Docstrings are help, or for who reads the code."""
    wrong = []
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    notes = {
        id(n.body[0].value)
        for n in ast.walk(tree(name))
        if isinstance(n, documented) and n.body and isinstance(n.body[0], ast.Expr)
    }
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
            wrong += [f"{name}:{node.lineno} {found[0]}" for found in TYPED.finditer(node.value)]
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            filled = any(str(one).endswith("parallel-train ") and other is None for one, other in pairwise(parts))
            wrong += [f"{name}:{node.lineno} {ast.unparse(node)}"] if filled and name != GATE else []
    assert wrong == []


LONGEST_FUNCTION, LONGEST_MODULE = 50, 320
# A signature with one line per option, and what is said or done of each.
LISTS = {("commands/cli/run.py", "run"), ("finder.py", "find")}


@pytest.mark.parametrize("name", MODULES)
def test_functions_and_modules_stay_readable(name):
    number = len((ROOT / name).read_text().splitlines())
    long = [f"{number} lines"] if number > LONGEST_MODULE else []
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION and (name, node.name) not in LISTS:
                long.append(f"{node.name}: {length} lines")
    assert long == []
