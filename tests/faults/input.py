"""Bad input of every kind, changed from good and bad examples or made up: is it refused or set aside, and said once?

Each call happens within this process (`probe.py`), now and then in one of its own as well. A piece keeps each
input that brought a fault in its folder `found`, as a case for tests/corpus.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests.faults import garble, probe
from tests.faults.damaged import LIVING, Queue
from tests.faults.frame import ROOT, Piece, Plan, Verdict
from tests.faults.probe import Answer, Call
from tests.support import corpus

CASES = {"smoke": 300, "full": 900}  # of a piece: about 15 s at full scale, and all of them an hour
PIECES = 240
OWN_PROCESS = 300  # every so many cases
FILE, CONFIG, CARDS = "tasks/default.yaml", "configs/parallel-train.yaml", "cards.json"
LOOKING = ("status", "logs", "results", "explain", "gpus", "wait", "attach", "config")
ASKING = ("add", "cancel", "retry", "pause", "resume", "priority", "init", "gc")
OPTIONS = (
    *("--gpus", "-j", "--at-once", "--cpu-slots", "--check-interval", "--lease", "--max-failures", "--only", "-f"),
    *("--data-root", "--output-base", "--log-dir", "--python", "--trainer", "--custom-tasks", "--failed", "--json"),
    *("-B", "-k", "-S", "-i", "--canary", "--no-skip-existing", "--all", "--running", "--err", "--raw", "--lines"),
    *("--best", "--csv", "--priority", "--env", "--schema", "--yes", "--help", "--version", "--", "-n", "--detach"),
    *("--shared", "--shared-group"),
)
WORDS = (
    *("a", "b", "c", "d", "e", "1", "2", "99", "all", "none", "lr=1", "epochs=2", "a*", "output/e", "tasks", FILE),
    *("fake:2", "cpu:1", "0", "0,1", "0-3", f"fake:{CARDS}", "auto", "5", "0.5", "X=1", "X_TOKEN=1", "echo"),
)
VARIABLES = (
    *("PARALLEL_TRAIN_GPUS", "PARALLEL_TRAIN_AT_ONCE", "PARALLEL_TRAIN_LEASE", "PARALLEL_TRAIN_LOG_DIR"),
    *("PARALLEL_TRAIN_PYTHON", "PARALLEL_TRAIN_CPU_SLOTS", "PARALLEL_TRAIN_CHECK_INTERVAL", "PARALLEL_TRAIN_NONE"),
    *("CUDA_VISIBLE_DEVICES", "COLUMNS", "LINES", "NO_COLOR", "TERM", "VIRTUAL_ENV", "CONDA_PREFIX", "PATH", "TZ"),
)
CARD = {"index": 0, "uuid": "GPU-1", "name": "A100", "memory_total_mib": 81920, "memory_used_mib": 400, "state": "ok"}
CARDS_GOOD = {"gpus": [{**CARD, "processes": [{"pid": 42, "user": "bob", "memory_mib": 9}]}, {"index": 1}]}


@dataclass(frozen=True)
class Input:
    """What somebody gives: files, and what is typed. `is_read_only` where nothing may be written."""

    call: Call
    files: Mapping[str, bytes] = field(default_factory=dict)
    is_read_only: bool = True

    def as_case(self) -> str:
        """An entry for tests/corpus: `says` is for a person to fill in."""
        files = {path: {"bytes": content.decode("latin-1")} for path, content in self.files.items()}
        argv = [word.encode(errors="backslashreplace").decode() for word in self.call.argv]
        entry = {"run": argv, "gpus": False, "files": files, "env": dict(self.call.variables), "says": "?"}
        return f"- {json.dumps(entry)}\n"


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_piece, smoke=1, full=PIECES)


def one_piece(piece: Piece) -> None:
    yard = Yard(piece)
    for number in range(CASES[piece.scale]):
        kind = piece.chance.choices(KINDS, WEIGHTS)[0]
        if kind is None:
            yard.queue.one(piece.chance, runs=number % (40 if piece.is_full else 30) == 0, report=yard.report)
        else:
            yard.give(kind(yard), also_in_a_process=number % OWN_PROCESS == OWN_PROCESS - 1)
        piece.count(cases=1)


class Yard:
    """A project with a finished queue, a copy of it to spoil, and what was found."""

    def __init__(self, piece: Piece) -> None:
        self.piece, self.chance = piece, piece.chance
        self.queue = Queue(piece.folder)
        self.root = piece.folder / "given"
        self._seen: set[str] = set()
        self._fresh()

    def _fresh(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(
            self.queue.root, self.root, symlinks=True, ignore=shutil.ignore_patterns(LIVING)
        )  # attach waits

    @cached_property
    def examples(self) -> list[bytes]:
        """Task files, good and bad ones; none so large that it takes long to change."""
        good = [path.read_bytes() for path in sorted(ROOT.glob("tasks/*.yaml"))]
        bad = [c.files[FILE] for n in ("yaml_text", "yaml_keys", "yaml_meaning", "yaml_search") for c in corpus.read(n)]
        return [each for each in good * 8 + bad if len(each) < 20_000 and b"00000" not in each]  # many tasks take long

    @cached_property
    def configs(self) -> list[bytes]:
        found = [c.files[CONFIG] for c in corpus.read("settings") if CONFIG in c.files]
        good = b"gpus: 0-3\nat_once: 4\ncpu_slots: 2\nlease: 30\nlog_dir: logs\ndata_root: ~/data\nfail_fast: true\n"
        return [each for each in [good] * 20 + found if len(each) < 20_000]

    def give(self, given: Input, *, also_in_a_process: bool) -> None:
        for path, content in given.files.items():
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_bytes(content)
        answer = probe.ask(self.root, given.call)
        found = list(probe.wrong(answer))
        if also_in_a_process and not found:
            found += _differs(answer, probe.ask_process(self.root, given.call))
            self.piece.count(processes=1)
        if not (given.is_read_only or found):
            found += self._damaged_by_us()
        for path, content in given.files.items():
            if not (self.root / path).exists() or (self.root / path).read_bytes() != content:
                found.append(f"{path} was changed")
        self.report(found, given.as_case())
        self.piece.count(**{f"code_{answer.code}": 1})
        self._put_back(given, is_spoilt=bool(found) or not given.is_read_only)

    def _put_back(self, given: Input, *, is_spoilt: bool) -> None:
        for path in given.files:
            if (self.queue.root / path).exists():
                shutil.copy(self.queue.root / path, self.root / path)
            else:
                (self.root / path).unlink(missing_ok=True)
        if is_spoilt:
            self._fresh()

    def _damaged_by_us(self) -> Iterator[str]:
        """What we write ourselves must be good, whatever it was made from."""
        answer = probe.ask(self.root, Call(("status", "--all"), self.queue.variables))
        yield from probe.wrong(answer)
        if "is damaged" in answer.out + answer.err:
            yield f"it wrote a damaged record: {answer.err[-500:]}"

    def report(self, found: list[str], case: str) -> None:
        """One fault of each sort is told, and what brought it is kept."""
        for what in found:
            sort = _sort(what)
            self.piece.count(faulty=1)
            if sort not in self._seen:
                self._seen.add(sort)
                kept = self.piece.folder / "found" / f"{len(self._seen)}.yaml"
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(case, errors="backslashreplace")
                self.piece.fault(f"{what.rstrip()}\n  brought by: {case.strip()[:1500]}\n  kept in {kept}")


def _sort(what: str) -> str:
    """The same for faults that have one cause: where it was raised, or the sentence without its particulars."""
    places = re.findall(r'File "([^"]+parallel_train[^"]+)", line (\d+)', what)
    return (
        f"{places[-1]} {what.rstrip().splitlines()[-1].split(':')[0]}" if places else re.sub(r"\W.*|\d", "", what[:40])
    )


def _differs(here: Answer, there: Answer) -> Iterator[str]:
    yield from probe.wrong(there)
    if here.code != there.code:
        yield f"a process of its own answers {there.code}, not {here.code}: {there.err[-300:]!r} {here.err[-300:]!r}"


# ---- what is given ----


def a_task_file(yard: Yard) -> Input:
    chance = yard.chance
    is_made_up = chance.random() < 0.4
    content = (
        garble.task_file(chance) if is_made_up else garble.data(chance, chance.choice(yard.examples), yard.examples)
    )
    words = [garble.word(chance, ("lr=1", "seed=2", "model=x", "a=1")) for _ in range(chance.choice((0, 0, 0, 1, 2)))]
    if chance.random() < 0.1:
        return Input(Call(("add", FILE), yard.queue.variables), {FILE: content}, is_read_only=False)
    argv = ("-n", *["--json"] * (chance.random() < 0.3), FILE, "--", *words)
    return Input(Call(argv, yard.queue.variables), {FILE: content})


def a_python_file(yard: Yard) -> Input:
    """Nothing but literals is changed in it: it is executed."""
    tasks = [garble.changed(yard.chance, {"command": "echo {lr}", "params": {"lr": 1}, "output": "o/x"})]
    made = garble.changed(yard.chance, tasks)
    content = f"nan, inf = float('nan'), float('inf')\ndef tasks():\n    return {made!r}\n"
    if yard.chance.random() < 0.3:
        values = {"dataset": "d", "shots": 16, "noise_rate": 0.5, "noise_type": "sym", "num_classes": 10}
        given = garble.changed(yard.chance, values)
        content = f"nan, inf = float('nan'), float('inf')\ndef tasks():\n    return [TaskConfig(**{given!r})]\n"
    return Input(
        Call(("-n", "tasks/custom.py"), yard.queue.variables), {"tasks/custom.py": content.encode(errors="replace")}
    )


def a_config(yard: Yard) -> Input:
    content = garble.data(yard.chance, yard.chance.choice(yard.configs), yard.configs)
    argv = yard.chance.choice((("config",), ("config", "--json"), ("-n",), ("status",), ("gpus",)))
    return Input(Call(argv, {**yard.queue.variables, "PARALLEL_TRAIN_GPUS": ""}), {CONFIG: b"gpus: fake:1\n" + content})


def some_cards(yard: Yard) -> Input:
    content = garble.text(garble.changed(yard.chance, CARDS_GOOD)).encode(errors="surrogatepass")
    if yard.chance.random() < 0.3:
        content = garble.data(yard.chance, content)
    if b'"hang"' in content:
        content = b"{}"  # it would hang as asked
    argv = yard.chance.choice((("gpus",), ("gpus", "--json"), ("-n",), ("-n", "--json")))
    return Input(Call((*argv, "--gpus", f"fake:{CARDS}"), yard.queue.variables), {CARDS: content})


def a_command_line(yard: Yard) -> Input:
    chance = yard.chance
    name = chance.choice(("run", "run", "run", "doctor", *LOOKING, *ASKING))
    known = [option for option in OPTIONS if name == "run" or option not in {"--detach", "-n"}]
    words = [garble.word(chance, known if chance.random() < 0.5 else WORDS) for _ in range(chance.randrange(6))]
    words = [word for word in words if not re.match(r"-[^-]*[wC]|--(w|di)", word)]  # for ever, or elsewhere
    variables = dict(yard.queue.variables)
    if chance.random() < 0.25:
        text = garble.word(chance, WORDS)
        variables[chance.choice(VARIABLES)] = text
    always = {"run": ["-n"], "doctor": ["--shared"]}  # what asks for the torch of its Python takes seconds
    return Input(Call((name, *always.get(name, ()), *words), variables), is_read_only=False)


Maker = Callable[[Yard], Input]
KINDS: tuple[Maker | None, ...] = (a_task_file, a_python_file, a_config, some_cards, a_command_line, None)
WEIGHTS = (35, 1, 7, 7, 25, 25)  # None: something in the queue
