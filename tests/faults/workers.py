"""Several hosts on one queue, each with its own name, boot, pids, slots and clocks; their processes are killed, and
paused for longer than the lease. What is lost, run twice, or written to by two at once?

Struck are the scheduler, its launcher, a shim, the child that beats for a shim, and whole hosts: killed as by a power
loss, stopped and continued as a machine that is suspended. Most tasks take 20 to 200 ms; one in twenty-five takes
seconds, so that there are beats to miss. They come in stages: none ends before the strikes of its stage were made.

What may follow a strike: an attempt that was shot, that died with its host, or that was silent for a lease runs again.
Nothing else does. A pause of a scheduler costs nothing, nor does one of a shim alone, whose child goes on beating.

Two things are counted apart, since no program can prevent them. An attempt that nobody struck may be silent for a lease
on a machine that starves it: then it is taken over rightly ("starved"; that it was silent is checked by our own eyes,
see lookout.py), and a rerun more is allowed. And a task that was stopped with its whole host runs on at the same moment
as the shim which has to stop it: what it still writes then, while a later attempt is at work, is a "late write", and
how late it came is told. It is a fault where it came in any other way, or a second after the host came back.

Not tried: to stop a shim and its child, and to let their task run on. Nothing is left then that could halt it; its end
would not count, but it would write. And a stopped process has a clock that goes on: a virtual machine that was
suspended without knowing it learns only from its next beat that time has passed.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from parallel_train.procs import process
from tests.faults.checker import Expected, faults, history, survivors
from tests.faults.frame import Piece, Plan, Verdict
from tests.faults.hosts import LAUNCHER, PROGRAMS, StandingHost, send, skewing_library, words_of
from tests.faults.lookout import Judge, Lookout, Strike, clock
from tests.support.host import is_possible
from tests.support.sweep import FAST_PYTHON, QUEUE, Project
from tests.support.sweep import project as project_in
from tests.support.wait import wait_until

LEASE = 2.0
PAUSE = 0.02  # seconds between two looks
HOUR = 3600
PATIENCE = 180  # seconds for one step of the story on a busy machine
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
Deed = tuple[Literal["kill", "pause"], Literal["scheduler", "launcher", "shim", "beat", "host"]]
Shim = tuple[int, int]  # its pid on its host, and its start time
KILLS: tuple[Deed, ...] = (("kill", "scheduler"), ("kill", "launcher"), ("kill", "shim"), ("kill", "host"))
QUICK: tuple[Deed, ...] = (
    *(("kill", "scheduler"), ("kill", "shim"), ("kill", "host")),
    *(("pause", "scheduler"), ("pause", "beat"), ("pause", "host")),
)
PAUSES: tuple[Deed, ...] = (("pause", "scheduler"), ("pause", "shim"), ("pause", "beat"), ("pause", "host"))


def run(plan: Plan) -> Verdict:
    if not is_possible():
        plan.say("  no namespaces to make hosts of")
        return Verdict()
    return plan.in_pieces(one_story, smoke=1, full=20)


def one_story(piece: Piece) -> None:
    count, tasks = (8, 500) if piece.is_full else (3, 42)
    deeds = [*QUICK]
    if piece.is_full:
        deeds = [*piece.chance.choices(KILLS, (8, 3, 7, 7), k=25), *piece.chance.choices(PAUSES, (4, 3, 2, 6), k=15)]
    piece.chance.shuffle(deeds)
    root = piece.folder / "project"
    root.mkdir()
    with project_in(root) as project:
        codes = write_tasks(piece, project, tasks, len(deeds) + 1)
        library = skewing_library(piece.folder)
        hosts = [StandingHost(project, name, library=library) for name in NAMES[:count]]
        for host in hosts:
            host.slots = piece.chance.choice([1, 2]) if piece.is_full else 2
            host.skew = piece.chance.randrange(-HOUR, HOUR)
        fleet = Fleet(piece, project, hosts, Lookout(root / QUEUE))
        tell(fleet, deeds, width=tasks // (len(deeds) + 1))
        judge(fleet, codes)


def write_tasks(piece: Piece, project: Project, count: int, stages: int) -> dict[str, int]:
    """The exit code of each task by its name. So few fail that no slot looks sick."""
    (project.root / "effects").mkdir()
    (project.root / "gates").mkdir()
    codes, templates = {}, []
    for number in range(count):
        is_long = number % 25 == 5 or (not piece.is_full and number % 7 == 5)
        name = f"{'long' if is_long else 't'}{number}"
        seconds = piece.chance.uniform(1.0, 3.0) if is_long else piece.chance.uniform(0.02, 0.2)
        codes[name] = piece.chance.randrange(1, 6) if number % 40 == 11 else 0
        wishes = (f"seconds={seconds:.3f}", f"code={codes[name]}", f"gate=gates/{number * stages // count}")
        command = [*FAST_PYTHON, str(PROGRAMS / "writer.py"), "effects", name, *wishes]
        needs = {"needs": [templates[-1]["name"]]} if number % 10 == 9 else {}
        templates.append({"name": name, "command": command, "output": f"output/{name}", **needs})
    project.tasks(*templates)
    return codes


@dataclass
class Fleet:
    piece: Piece
    project: Project
    hosts: list[StandingHost]
    lookout: Lookout
    strikes: list[Strike] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)  # by their pids there
    later: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)  # what ends the trouble of a host
    away: set[str] = field(default_factory=set)  # hosts on which no scheduler works now
    joined: list[subprocess.Popen[str]] = field(default_factory=list)  # schedulers that were seen among the workers

    def begin(self, host: StandingHost) -> None:
        host.boot_up()
        host.run("--lease", str(LEASE))

    def is_joined(self, host: StandingHost) -> bool:
        """Whether its scheduler is one of the workers."""
        if host.scheduler in self.joined:
            return True
        pids = set()
        for path in self.project.queue("workers"):
            with suppress(FileNotFoundError, ValueError, IndexError):
                owner = json.loads(path.read_text().splitlines()[0])["owner"]
                pids |= {owner["pid"]} if owner["boot"] == host.boot else set()
        pid = host.scheduler_pid() if pids else None
        if pid is not None and host.scheduler is not None and any(host.pid_here(inner) == pid for inner in pids):
            self.joined.append(host.scheduler)
        return host.scheduler in self.joined

    def tick(self) -> bool:
        """Look, and end what trouble is over; False where that was done just before."""
        if clock() - self.lookout.looked < PAUSE:
            return False
        self.lookout.look()
        for host in self.hosts:
            when, end = self.later.get(host.name, (float("inf"), None))
            if end is not None and clock() >= when:
                del self.later[host.name]
                end()
                self.away.discard(host.name)
            elif end is None:
                host.nudge()
        return True

    def until(self, fact: Callable[[], object], what: str) -> None:
        def look() -> object:
            if not self.tick():
                return None
            stolen = [key for key, seen in self.lookout.attempts.items() if seen.was_stolen(LEASE)]
            assert not stolen, f"taken over before a lease of silence was over: {stolen}"
            return fact()

        wait_until(look, f"{what}", seconds=PATIENCE)

    # ---- strikes ----

    def strike(self, deed: Deed) -> bool:
        """Do it to some host that is in no trouble, the busiest if all of it; False where that can't be now."""
        free = [host for host in self.hosts if host.name not in self.later]
        self.piece.chance.shuffle(free)
        if deed[1] == "host":
            busy = Counter(seen.owner["boot"] for _, seen in self.lookout.living())
            free.sort(key=lambda host: -busy[host.boot])
        takes_away = deed[1] in {"host", "scheduler"}
        if takes_away and len(self.away) >= len(self.hosts) - (2 if self.piece.is_full else 1):
            return False
        return any(getattr(self, f"_{deed[0]}_{deed[1]}")(host) for host in free)

    def _note(self, deed: Deed, host: StandingHost, shim: Shim | None = None) -> None:
        self.strikes.append(Strike(*deed, host.boot, clock(), shim=shim))

    def _kill_scheduler(self, host: StandingHost) -> bool:
        pid = host.scheduler_pid()
        if pid is None:
            return False
        self._kill(("kill", "scheduler"), host, pid)
        self._until_later(host, self.piece.chance.uniform(0, LEASE / 2), lambda: host.run("--lease", str(LEASE)))
        return True

    def _kill_launcher(self, host: StandingHost) -> bool:
        pid = host.launcher_pid()
        return pid is not None and self._kill(("kill", "launcher"), host, pid)

    def _kill_shim(self, host: StandingHost) -> bool:
        for shim, pid in self._shims(host):
            return self._kill(("kill", "shim"), host, pid, shim)
        return False

    def _kill(self, deed: Deed, host: StandingHost, pid: int, shim: Shim | None = None) -> bool:
        self.killed |= {inner for inner, outer in host.inside().items() if outer == pid}
        self._note(deed, host, shim)
        send([pid], signal.SIGKILL)
        return True

    def _kill_host(self, host: StandingHost) -> bool:
        self._note(("kill", "host"), host)
        host.suspend()  # nothing is born between the look and the kill
        self.killed |= host.inside().keys()
        host.lose_power()
        self._until_later(host, self.piece.chance.uniform(0, 2 * LEASE), lambda: self.begin(host))
        return True

    def _pause_scheduler(self, host: StandingHost) -> bool:
        pids = [host.scheduler_pid(), host.launcher_pid()][: self.piece.chance.choice([1, 2])]
        found = [pid for pid in pids if pid is not None]
        if host.scheduler_pid() is None:
            return False
        self._pause(("pause", "scheduler"), host, found)
        self.away.add(host.name)
        return True

    def _pause_shim(self, host: StandingHost) -> bool:
        for shim, pid in self._shims(host):
            return self._pause(("pause", "shim"), host, [pid], shim)
        return False

    def _pause_beat(self, host: StandingHost) -> bool:
        for shim, pid in self._shims(host):
            children = [child for child, parent in process.parents() if parent == pid]
            beats = [child for child in children if any(LAUNCHER in word for word in words_of(child))]
            if beats:
                return self._pause(("pause", "beat"), host, beats, shim)
        return False

    def _pause_host(self, host: StandingHost) -> bool:
        self.away.add(host.name)
        return self._pause(("pause", "host"), host, host.suspend)

    def _pause(self, deed: Deed, host: StandingHost, whom: Any, shim: Shim | None = None) -> bool:
        began = clock()
        if callable(whom):
            whom = whom()
        send(whom, signal.SIGSTOP)
        place = len(self.strikes)
        self.strikes.append(Strike(*deed, host.boot, began, shim=shim))

        def go_on() -> None:
            self.piece.chance.shuffle(whom)
            send(whom, signal.SIGCONT)
            self.strikes[place] = Strike(*deed, host.boot, began, clock(), shim)
            host.nudge()

        self.later[host.name] = (
            clock() + self.piece.chance.uniform(1.1, 3.0 if self.piece.is_full else 1.3) * LEASE,
            go_on,
        )
        return True

    def _until_later(self, host: StandingHost, seconds: float, end: Callable[[], None]) -> None:
        self.away.add(host.name)
        self.later[host.name] = (clock() + seconds, end)

    def _shims(self, host: StandingHost) -> list[tuple[Shim, int]]:
        """(who, pid here) of those that had an attempt there at the last look, by chance, but rather a long one."""
        mine = [seen for _, seen in self.lookout.living() if seen.owner["boot"] == host.boot]
        self.piece.chance.shuffle(mine)
        mine.sort(key=lambda seen: seen.beat is None)
        inside = host.inside()
        owners = [seen.owner for seen in mine if seen.owner["pid"] in inside]
        return [((owner["pid"], owner["start"]), inside[owner["pid"]]) for owner in owners]


def tell(fleet: Fleet, deeds: list[Deed], width: int) -> None:
    """The first host works alone for a while; the last stage is for all of them together."""
    first, *others = fleet.hosts
    fleet.begin(first)
    fleet.until(lambda: fleet.lookout.attempts, "the first host works")
    for host in others:
        fleet.begin(host)
    fleet.until(lambda: all(map(fleet.is_joined, fleet.hosts)), "all hosts work")
    for number, deed in enumerate(deeds):
        due = number * width + fleet.piece.chance.uniform(0, width / 3)
        fleet.until(lambda due=due: len({task for task, _ in fleet.lookout.attempts}) > due, f"stage {number} begins")
        fleet.until(lambda deed=deed: fleet.strike(deed), f"{deed} can be done")
        (fleet.project.root / "gates" / str(number)).touch()
    fleet.until(lambda: not fleet.later and all(map(fleet.is_joined, fleet.hosts)), "all hosts work again")
    (fleet.project.root / "gates" / str(len(deeds))).touch()
    fleet.until(lambda: all(host.scheduler.poll() is not None for host in fleet.hosts if host.scheduler), "all is done")
    for host in fleet.hosts:
        fleet.until(lambda host=host: not host.inside(), f"nothing is left on {host.name}")
        host.lose_power()


def judge(fleet: Fleet, codes: dict[str, int]) -> None:
    """Judge the story when it is over."""
    piece, root = fleet.piece, fleet.project.root
    told = history(root / QUEUE)
    for claim in told.claims.values():  # pids and start times may be the same on two hosts
        claim["owner"]["start"] = f"{claim['owner']['start']} of {claim['owner']['boot']}"
    fleet.lookout.look()
    found = Judge(told, fleet.lookout.attempts, fleet.strikes, LEASE)
    found.on_ends()
    for path in root.glob("output/*/written"):
        found.on_output(path.parent.name, path.read_text())
    effects = list(found.on_effects(fleet.project.effects()))
    owners = [told.claims[key]["owner"] for key in found.struck]
    expected = Expected(codes, {(owner["pid"], owner["start"]) for owner in owners}, fleet.killed)
    piece.fault(*found.faults, *faults(told, effects, expected), *survivors(root))
    piece.fault(*_complaints(fleet))
    done = Counter(strike.deed for strike in fleet.strikes)
    reruns = len(effects) - len(codes)
    if reruns > len(fleet.strikes) + found.starved:
        piece.fault(f"{reruns} reruns for {len(fleet.strikes)} strikes and {found.starved} starved attempts")
    lost = Counter(end["outcome"]["lost"] for end in told.ends.values() if "lost" in end["outcome"])
    piece.count(tasks=len(codes), kills=done["kill"], pauses=done["pause"])
    piece.count(hosts_struck=sum(strike.what == "host" for strike in fleet.strikes))
    piece.count(attempts_lost=sum(lost.values()), taken_over=lost["expired"], starved=found.starved, reruns=reruns)
    given_up = fleet.project.said.count("ended by somebody else: its result")
    piece.count(given_up=given_up, late_writes=found.late_writes, most_late_ms=round(1000 * found.most_late, 1))


def _complaints(fleet: Fleet) -> Iterator[str]:
    """What no program may say, whatever is done to others."""
    root = fleet.project.root
    left = [host.scheduler.returncode for host in fleet.hosts if host.scheduler]
    if set(left) != {1}:  # some tasks fail
        yield f"the schedulers exit with {left}:\n{fleet.project.said[-4000:]}"
    for path in (root / "said", *(root / QUEUE / "journal").glob("*.err")):
        text = path.read_text()
        if "Traceback" in text or "this is a bug" in text:
            yield f"{path}: {text[-4000:]}"
