"""What people read about workers: who works here, where a run went on, and how to see it again. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from parallel_train.core.machine import Disk
from parallel_train.core.muster import Muster
from parallel_train.core.situation import Situation
from parallel_train.core.task import Task
from parallel_train.report import muster, paste, words
from parallel_train.report.memory import Said, live_claim
from parallel_train.report.view import ORDER

_TRIAL = re.compile(r"trial-(\d+)")


def nobody(open_: Collection[Task], m: Muster | None = None) -> str:
    """That nobody works on these, and who could. `m`: what Slurm says, where it was asked for workers."""
    if all(task.is_call for task in open_):
        return "No process makes these calls now: start their script again"
    again = muster.command(m, open_) if m else ""
    if m is None or not again:
        return f"No scheduler works here: {paste.command('worker')} does what is open"
    if m.silent:
        return f"No worker has begun here that lives: {again} asks Slurm for those that are missing"
    return f"No worker of these runs or waits in Slurm: {again} asks for some"


@dataclass(frozen=True, slots=True)
class Seen:
    """A living worker. `lines` is the file that its lines go to, empty where it has a terminal."""

    name: str
    pid: int
    host: str
    words: tuple[str, ...] = ()  # what it was started with
    seconds: float | None = None
    lines: str = ""
    program: str = "parallel-train"  # or what runs a script that makes calls itself
    job: str = ""  # of Slurm's, that it runs in

    @property
    def command(self) -> str:
        if self.job:
            return f"in Slurm, {words.clean(self.job)}"
        return words.clean(shlex.join([self.program, *self.words]))

    def __str__(self) -> str:
        return f"{words.clean(self.name)} (process {self.pid} on {words.clean(self.host)})"


def worked_on(found: Seen) -> str:
    since = f", for {words.span(found.seconds)}" if found.seconds is not None else ""
    lines = f"\n  its lines: {words.clean(paste.path(found.lines))}" if found.lines else ""
    return f"Worked on by {found}{since}\n  {found.command}{lines}"


def listed(found: Sequence[Seen]) -> str:
    return "\n".join(f"  {worker}: {worker.command}" for worker in found)


def several(found: Sequence[Seen], again: str) -> str:
    """That one of them has to be named. `again`: what shows all of those that Slurm lends, where only such live."""
    first = found[0].job or found[0].name
    named = f"name one, as in {paste.command('attach', first)}"
    if again and all(worker.job for worker in found):
        named = f"{again} shows the run of them all, and asks for no more than are missing; or {named}"
    return f"several workers live here: {named}\n{listed(found)}"


def tally(counts: Mapping[str, int], shown: int | None = None) -> str:
    """300 tasks: 4 running, 296 ready. `shown`: how many of them stand in the table, where it is not all."""
    every = ", ".join(f"{counts[name]} {name}" for name in ORDER if counts.get(name))
    total = words.plural(sum(counts.values()), "task")
    if shown is None or shown == sum(counts.values()):
        return f"{total}: {every}"
    return f"{shown} of {total} shown; all: {every}"


def of_search(points: int, tasks: Iterable[Task]) -> str:
    """How much of a search stands in the queue; empty where these are no trials of one."""
    there = {found[1] for task in tasks if (found := _TRIAL.match(task.name))}
    return f"{len(there):,} of {points:,} points of the search are in the queue" if points and there else ""


# ---- detach, attach ----


def departed(found: Seen, opening: Sequence[str], hint: str) -> Iterator[str]:
    """What the foreground says when the run goes on without it; `hint`: why it may not live on."""
    yield from opening
    yield f"Goes on in the background: {found}"
    ways = {
        paste.command("attach"): "see it again (Ctrl-C there only leaves it)",
        paste.command("status"): "where every task stands",
        f"kill -INT {found.pid}": "as Ctrl-C: let what runs end, and leave",
        f"kill {found.pid}": "stop what runs, and leave",
    }
    width = max(map(len, ways))
    yield from (f"  {way:{width}}  {what}" for way, what in ways.items())
    yield f"Its lines: {words.clean(paste.path(found.lines))}"
    if hint:
        yield f"! {hint}"


def attached(found: Seen) -> Said:
    since = f", for {words.span(found.seconds)} by now" if found.seconds is not None else ""
    return Said(f"Attached to {found}{since}; Ctrl-C leaves it running", "note")


def running(s: Situation) -> Iterator[Said]:
    for line in s.lines.values():
        claim = live_claim(line)
        if claim is not None and s.works_on(line.task.id):
            since = claim.at.replace("T", " ").replace("Z", " UTC")
            yield Said(
                f"[{words.slot(claim.gpus)}] Runs: {words.name(line.task)} (attempt {claim.attempt}, since {since})"
            )


def left(found: Seen) -> str:
    return f"Left {found}; it goes on ({paste.command('attach')} shows it again)"


def died(found: Seen, again: str) -> str:
    """`again`: what asks Slurm for workers again, where it was asked."""
    if again and not found.job:
        return f"{found} has died; its workers in Slurm go on. {again} asks for those that are missing"
    return f"{found} has died; what it started may run on. {again or paste.command('worker')} does what is open"


# ---- worker ----


def nothing_to_do(counts: Mapping[str, int], calls: int) -> str:
    """`calls` of these are open, and no task that a worker could launch."""
    if not counts:
        return f"Nothing to do: the queue holds no task ({paste.command('add')} puts one in)"
    again = f"; {paste.command('retry', '--failed')} runs what failed again" if counts.get("failed") else ""
    theirs = f"; {words.plural(calls, 'call')} {'is' if calls == 1 else 'are'} for their own script to make"
    return f"Nothing to do here ({tally(counts)}){theirs if calls else again}"


def too_wide(tasks: Sequence[Task], others: int, slots: str) -> str:
    """What a worker leaves to others because it has not the slots for it."""
    shown = [words.name(task) for task in tasks[:3]] + ([f"{len(tasks) - 3} more"] if len(tasks) > 3 else [])
    with_them = f", and {words.plural(others, 'task')} that need{'s' if others == 1 else ''} them" if others else ""
    return f"Left to others, since they want more than {slots}: {', '.join(shown)}{with_them}"


# ---- worker --array ----


def another_turn(job: str) -> str:
    return f"There is more to do than time: asking for another turn of {words.clean(job)}"


def no_other_turn(job: str, why: str) -> str:
    return f"{words.clean(job)} gets no other turn: {words.clean(why)}"


def no_time_at_all() -> str:
    return (
        "There was not time to start anything: --time must be longer than the end of it that `drain` keeps free"
        " (configs/slurm.yaml)"
    )


# ---- disks for one host ----


def looks_for_a_sign(strangers: Collection[str], seconds: float) -> str:
    named = ", ".join(sorted(map(words.clean, strangers)))
    return words.remark(
        f"this disk is for one host: looking for {words.span(seconds)} whether {named} of another one lives"
    )


def for_one_host(disk: Disk, host: str, name: str) -> str:
    """`name` is what its beat is called: a worker, or an attempt."""
    return (
        f"{words.clean(host)} works on this queue ({words.clean(name)}), and its disk ({disk.kind} at"
        f" {words.clean(disk.mount)}) is for one host at a time: nothing there is known to keep two off one task."
        " Wait for that host, or move the project to NFS"
    )


# ---- wait ----


def nobody_works(open_: Collection[Task], m: Muster | None = None) -> str:
    kind = "call" if all(task.is_call for task in open_) else "task"
    has = "has" if len(open_) == 1 else "have"
    waiting = f"waiting for {words.plural(len(open_), kind)} that {has} not ended."
    if m is not None and m.present:
        return "\n".join([words.remark(waiting), *muster.standing(m, [task.id for task in open_])])
    return words.remark(f"{waiting} {nobody(open_, m)}")
