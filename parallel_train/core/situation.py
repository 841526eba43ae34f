"""All that is known now, with what follows from it. Only `core.apply` changes a situation."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from parallel_train.core.events import Company, OpenRound
from parallel_train.core.facts import Claim, LostBy, Request, Round, Why
from parallel_train.core.limit import Limit
from parallel_train.core.roster import Roster
from parallel_train.core.slots import Pool
from parallel_train.core.state import Around, Ended, Line, Ready, Running, State, Waiting, derive
from parallel_train.core.task import Task

Key = tuple[int, int, str]  # (-priority, number, id): the order in which ready tasks start
Template = tuple[str, int]  # the task file, and which of its templates


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one run was asked for. `asked` maps each task that should run again to the round it asks for."""

    worker: str = ""
    selection: frozenset[str] = frozenset()
    asked: tuple[tuple[str, int], ...] = ()  # -B, --no-skip-existing: with the old output aside
    repeat: frozenset[str] = frozenset()  # tasks that had failed when the run began, to be run once more
    max_failures: int = 0  # nothing more is started after so many failures; 0: whatever fails
    ignore_failures: bool = False  # -i: a failed need counts as met, and the exit code is 0
    canaries: Mapping[Template, str] = field(default_factory=dict)  # the task of each template that must succeed first
    everything: bool = False  # whatever is submitted is worked on too
    at_once: int = 0  # -j; 0: as many as there are slots
    options: tuple[str, ...] = ()  # the words that have its tasks done on a cluster: --on slurm …
    is_lent: bool = False  # its slots are an allocation's: it leaves as soon as they are of no use here
    is_alone: bool = False  # and nobody asks for another worker when what waits for its needs becomes ready
    patient_until: float = 0.0  # until then it waits all the same for what runs elsewhere (monotonic seconds)
    calls: bool = False  # it makes calls itself, and launches nothing; all others launch tasks, and make no calls


@dataclass(slots=True)
class Situation:
    """Tasks with their lines of attempts, this worker's slots, and what follows from both, kept up to date."""

    wishes: Wishes
    pool: Pool
    lines: dict[str, Line] = field(default_factory=dict)
    dependents: dict[str, list[str]] = field(default_factory=dict)
    named: dict[str, frozenset[str]] = field(default_factory=dict)  # task file -> the tasks it names now
    joined: set[str] = field(default_factory=set)  # worked on beside the selection: added or retried by others
    company: Company = Company(0, 1)  # noqa: RUF009  a frozen value
    pause: Request | None = None  # the newest pause or resume of the whole queue
    heard: int = 0  # the number of the newest request
    began: int = 0  # what it was when this run began
    # Derived from the lines, so that deciding costs by the slots and not by the tasks:
    to_open: dict[str, OpenRound] = field(default_factory=dict)
    ready: list[Key] = field(default_factory=list)  # sorted
    ready_cpu: list[Key] = field(default_factory=list)  # the same for tasks that want no GPU
    delayed: list[tuple[float, str]] = field(default_factory=list)  # sorted (until, task)
    open: set[str] = field(default_factory=set)  # tasks worked on that have not ended for this run
    counts: Counter[str] = field(default_factory=Counter)  # tasks worked on by state name or ending
    followers: dict[str, list[str]] = field(default_factory=dict)  # canary -> the others of its template
    filed: dict[str, Key] = field(default_factory=dict)  # under which key a line is in one of the lists of ready ones
    # What this process does and knows, no records:
    asked: dict[str, int] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)  # tasks whose round this run has opened already
    mine: dict[tuple[str, int], Claim | None] = field(default_factory=dict)  # attempts this worker answers for
    unwatched: dict[tuple[str, int], Claim] = field(default_factory=dict)
    vanished: dict[tuple[str, int], LostBy] = field(default_factory=dict)  # left no end
    told: dict[tuple[str, int], int] = field(default_factory=dict)  # the level at which an attempt was stopped
    failures: int = 0  # of tasks worked on, as this run saw them happen
    stopping: int = 0
    exit_code: int = 0
    paused_until: float = 0.0
    not_started: int = 0  # attempts of ours in a row that were claimed and not started
    is_behind: bool = False
    limit: Limit = field(default_factory=Limit)  # until when this worker may work
    roster: Roster | None = None  # where workers are asked of a cluster; nothing is launched here then
    is_brief: bool = False  # of attempts that succeeded only the least is kept: see Line.forget

    def __post_init__(self) -> None:
        self.asked = dict(self.wishes.asked)

    @property
    def is_paused(self) -> bool:
        return self.pause is not None and self.pause.kind == "pause"

    def works_on(self, task: str) -> bool:
        is_ours = task in self.wishes.selection or task in self.joined
        return is_ours and self.lines[task].task.is_call == self.wishes.calls

    def carries(self, gpus: int) -> bool:
        """Whether a task that wants `gpus` GPUs fits into a worker of this run."""
        return (self.pool if self.roster is None else self.roster.terms).carries(gpus)

    def canary(self, task: Task) -> str:
        return self.wishes.canaries.get((task.source, task.template), "")

    def readers(self, task: str) -> tuple[str, ...]:
        return tuple(d for d in self.dependents.get(task, ()) if isinstance(self.lines[d].state, Running))

    def to_start(self) -> Iterator[Line]:
        """What is ready, and what is once its back-off is over."""
        names = chain((name for *_, name in chain(self.ready, self.ready_cpu)), (name for _, name in self.delayed))
        return (self.lines[name] for name in names)

    def running(self) -> Iterator[Line]:
        """The lines worked on that run now, on whichever worker."""
        return (self.lines[i] for i in self.open if isinstance(self.lines[i].state, Running))


def rebuild(s: Situation) -> None:
    """Derive every state from the records, needs first. `apply` keeps to what this would give."""
    for derived in (s.to_open, s.ready, s.ready_cpu, s.delayed, s.open, s.counts, s.filed):
        derived.clear()
    for line in s.lines.values():
        is_live = line.launching or (line.attempts and line.attempts[-1].end is None)
        line.state = Running(line.next_attempt) if is_live else Waiting()
    s.followers.clear()
    for name in _needs_first(s):
        line = s.lines[name]
        canary = s.canary(line.task)
        if canary and canary != name:
            s.followers.setdefault(canary, []).append(name)
        _derive(s, line)
        _file(s, line, add=True)
    for followers in s.followers.values():  # a canary may be derived later than they
        refresh(s, followers)


def load(situation: Situation, tasks: Iterable[Task]) -> None:
    """Add tasks that are not there yet, or take their newest wording. The caller rebuilds."""
    for task in tasks:
        line = situation.lines.get(task.id)
        if line is None:
            situation.lines[task.id] = Line(task)
        else:
            line.task = task
    situation.dependents.clear()
    for line in situation.lines.values():
        for need in line.task.needs:
            situation.dependents.setdefault(need, []).append(line.task.id)


def begin(s: Situation, wishes: Wishes) -> None:
    """Take up what a run was asked for."""
    s.wishes = wishes
    s.asked = dict(wishes.asked)
    s.began = s.heard
    rebuild(s)


def abridge(s: Situation) -> None:
    """Forget all that nothing is decided by, now and from now on: a worker may see a million attempts."""
    s.is_brief = True
    for line in s.lines.values():
        line.forget()


def join(s: Situation, tasks: Iterable[str]) -> list[str]:
    """Work on these tasks too; those that are new. Their states stay to be derived."""
    new = [name for name in tasks if not s.works_on(name)]
    s.joined.update(new)
    for name in new:
        _file(s, s.lines[name], add=True)
    return new


def _derive(s: Situation, line: Line) -> None:
    name = line.task.id
    canary = s.canary(line.task)
    around = Around(s.lines, s.to_open, s.readers(name), s.wishes.ignore_failures, canary if canary in s.lines else "")
    line.state = derive(line, around)
    wish = _wish(s, line)
    if wish is None:
        s.to_open.pop(name, None)
    else:
        s.to_open[name] = wish


def refresh(s: Situation, tasks: Iterable[str]) -> None:
    """Derive the states of `tasks` again, and of all whose state hangs on theirs, in waves."""
    wave = dict.fromkeys(tasks)
    while wave:
        following: dict[str, None] = {}
        for name in wave:
            line = s.lines[name]
            before = (line.state, name in s.to_open)
            _file(s, line, add=False)
            _derive(s, line)
            _file(s, line, add=True)
            if name_of(line.state) == "failed" and isinstance(before[0], Running):
                s.failures += s.works_on(name)
            if before != (line.state, name in s.to_open):
                following.update(dict.fromkeys(_affected(s, line, was_running=isinstance(before[0], Running))))
        wave = following


def _affected(s: Situation, line: Line, *, was_running: bool) -> Iterator[str]:
    """Whose state may change now that this line's has."""
    name = line.task.id
    has_closed = isinstance(line.state, Ended) and name not in s.to_open
    for dependent in s.dependents.get(name, ()):
        state = s.lines[dependent].state
        if has_closed and isinstance(state, Waiting) and state.why == "needs" and name not in state.on:
            continue  # it waits for another need still
        yield dependent
    yield from s.followers.get(name, ())
    if was_running != isinstance(line.state, Running):
        yield from (need for need in line.task.needs if s.lines[need].is_aside_due)


def _needs_first(s: Situation) -> list[str]:
    """All tasks, each after its needs (the graph has no cycle: the task file's reader saw to it)."""
    order: list[str] = []
    missing = {name: sum(n in s.lines for n in line.task.needs) for name, line in s.lines.items()}
    order.extend(name for name, number in missing.items() if number == 0)
    for name in order:  # grows while it is walked
        for dependent in s.dependents.get(name, ()):
            missing[dependent] -= 1
            if missing[dependent] == 0:
                order.append(dependent)
    return order


def _wish(s: Situation, line: Line) -> OpenRound | None:
    """The round that this run should open for `line`, if any."""
    why = _why_again(s, line)
    if why is None:
        return None
    is_aside = why != "failed before"
    return OpenRound(Round(line.task.id, line.round + 1, line.task.identity, why, is_aside, s.wishes.worker))


def _why_again(s: Situation, line: Line) -> Why | None:
    name = line.task.id
    if not s.works_on(name) or name in s.opened or isinstance(line.state, Running):
        return None
    if s.asked.get(name, 0) > line.round and not (line.cancel and line.cancel.number > s.began):
        return "asked for"
    match line.state:
        case Ended(stale=str(why)):
            return why
        case Ended("failed") if name in s.wishes.repeat:
            return "failed before"
    return None


def name_of(state: State) -> str:
    """The word that people read: waiting, ready, running, how it ended, or stale: it would have to run again."""
    if isinstance(state, Ended):
        return "stale" if state.stale else state.ending
    return type(state).__name__.lower()


def _file(s: Situation, line: Line, *, add: bool) -> None:
    """Enter `line` into the derived lists that its state puts it in, or take it out of them."""
    task, state = line.task, line.state
    if not s.works_on(task.id):
        return
    s.counts[name_of(state)] += 1 if add else -1
    if add:
        if isinstance(state, Ended) and task.id not in s.to_open:
            s.open.discard(task.id)
        else:
            s.open.add(task.id)
    if task.id in s.to_open:
        return
    match state:
        case Ready():
            # Its priority may have changed since it was entered.
            key = (-line.priority, task.number, task.id) if add else s.filed.pop(task.id)
            if add:
                s.filed[task.id] = key
            _put(s.ready if task.gpus else s.ready_cpu, key, add=add)
        case Waiting(_, "back-off", until):
            _put(s.delayed, (until, task.id), add=add)


def _put(entries: list, entry: tuple, *, add: bool) -> None:  # type: ignore[type-arg]
    if add:
        insort(entries, entry)
    else:
        del entries[bisect_left(entries, entry)]
