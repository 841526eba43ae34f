"""The deliberate faults: for each what to replace in which files of the package, and who should find it."""

from __future__ import annotations

from dataclasses import dataclass

Patch = tuple[str, str, str]  # file in the package, what stands there once, what shall stand there


@dataclass(frozen=True)
class Mutant:
    name: str
    patches: tuple[Patch, ...]
    campaigns: tuple[str, ...]


_CLAIM_OF_THE_SCHEDULER = """
        names = ("task", "attempt", "round", "identity", "slots", "gpus", "made_with")
        claim = {
            **{name: wanted[name] for name in names},
            "needs": {name: seen[1] for name, seen in wanted["needs"].items()},
            "owner": process.this_process(self._around.worker),
            **{"log": wanted["log"] + ".log", "err": wanted["log"] + ".err", "cookie": "", "at": ""},
        }
        records.publish(str(self._around.queue / "claims" / "{}.{}".format(*key)), [claim])
        data = json.dumps(wanted).encode()
"""
_REMEMBER = """
    if line.attempts and line.attempts[-1].end is None:
        _SEEN.add((line.task.id, line.attempts[-1].number))"""
_LOOK = "\n        found.observe(counter, asked, self.clock())\n"
_SILENT_BY_MTIME = """        if counter is not None:
            found.moved = found.read - (time.time() - os.stat(self.folder / "beats" / name).st_mtime)
"""

_LATE = """    for late in watch.LATER:
        late._sweep()"""

# Two of them break what a control group does as well: they count where there is none.
_NO_GROUPS = ("procs/fence.py", 'return "" if obstacle() else _own("/")[0]', 'return ""')

MUTANTS = (
    Mutant(
        "overwrite instead of link",
        (
            (
                "store/records.py",
                "os.link(temporary, path)",
                'os.replace(temporary, path), open(temporary, "x").close()',
            ),
        ),
        ("crashpoints",),
    ),
    Mutant(
        "claim by the scheduler before the shim",
        (
            ("procs/runner.py", "\n        data = json.dumps(wanted).encode()\n", _CLAIM_OF_THE_SCHEDULER),
            (
                "procs/shim.py",
                'if records.exists(_path(order, "claims", task, attempt)) or records',
                "if records",
            ),
            (
                "procs/shim.py",
                'if not records.publish(_path(order, "claims", ',
                'if not (lambda *_: True)(_path(order, "claims", ',
            ),
        ),
        ("crashpoints", "kill"),
    ),
    Mutant(
        "no start time in the pid check",
        (("procs/process.py", "is_it = start_time(pid) == start", "is_it = True"),),
        ("simulate", "reuse"),
    ),
    Mutant(
        "stealing by mtime",
        (("store/presence.py", _LOOK, _LOOK + _SILENT_BY_MTIME),),
        ("simulate", "workers"),
    ),
    Mutant(
        "done means that the folder exists",
        (
            ("project/reading.py", "if not (line.is_untouched or line.has_succeeded):", "if False:"),
            (
                "core/state.py",
                '\n    if found == "succeeded":',
                '\n    if found == "succeeded" or line.output == "there":',
            ),
        ),
        ("crashpoints", "kill"),
    ),
    Mutant(
        "attempts counted in memory",
        (
            (
                "core/state.py",
                "\n    if line.attempts and line.attempts[-1].end is None:",
                _REMEMBER + "\n    if line.attempts and line.attempts[-1].end is None:",
            ),
            (
                "core/state.py",
                'failures = count(line, "failed")',
                "failures = sum((line.task.id, a.number) in _SEEN for a in line.tries)",
            ),
            ("core/state.py", "\ndef count(", "\n_SEEN: set[tuple[str, int]] = set()\n\n\ndef count("),
        ),
        ("crashpoints",),
    ),
    Mutant(
        "no subreaper",
        (_NO_GROUPS, ("procs/process.py", "_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)", "return")),
        ("contain", "crashpoints"),
    ),
    Mutant(
        "no second look after the claim",
        (("procs/shim.py", " or disagreement(order, beat)", ""),),
        ("simulate", "crashpoints"),
    ),
    Mutant(
        "no fsync before the end",
        (("store/records.py", "\n            if durable:\n                os.fsync(descriptor)", ""),),
        ("crashpoints",),
    ),
    Mutant(
        "slot freed when the leader exits",
        (
            _NO_GROUPS,
            ("procs/watch.py", "\n        self._sweep()\n", "\n        LATER.append(self)\n"),
            ("procs/watch.py", "\nLADDER = (", "\nLATER: list[Any] = []\nLADDER = ("),
            (
                "procs/shim.py",
                'report({"ended": end if is_ours else None, "is_free": is_free})',
                'report({"ended": end if is_ours else None, "is_free": False})\n' + _LATE,
            ),
            ("procs/shim.py", "os.set_inheritable(descriptor, True)", "pass"),
        ),
        ("crashpoints", "contain"),
    ),
    Mutant(
        "another order after a stop",
        (("procs/shim.py", 'is_ours and not end.get("stopped") and', "is_ours and"),),
        ("simulate",),
    ),
    Mutant(
        "the next attempt of a process is not watched",
        (("procs/others.py", "known.claims[key] = claim", "pass"),),
        ("simulate",),
    ),
    Mutant(
        "another order with the last slot still held",
        (("procs/shim.py", "    try:\n        os.close(descriptor)\n", "    try:\n        pass\n"),),
        ("sharedfs",),
    ),
    Mutant(
        "an idle shim outlives its scheduler",
        (
            (
                "procs/launcher.py",
                "    order = receive(line)\n",
                "    while (order := receive(line)) is None:\n        time.sleep(0.1)\n",
            ),
        ),
        ("crashpoints",),
    ),
)
