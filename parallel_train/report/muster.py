"""What people read about workers that Slurm was asked for: how many run and where, who waits and why, what was lost.
Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from parallel_train.core.cluster import Element
from parallel_train.core.muster import Muster
from parallel_train.core.task import Task
from parallel_train.report import paste, words

_MOST_ROWS = 8
_MOST_HOSTS = 4
ADDED = "add"  # what stands for the task file of an added task


def standing(m: Muster, open_: Collection[str]) -> list[str]:
    """How those that were asked for `open_` stand, as one text below a head; none where there is nothing to tell."""
    head, *rows = told(m, open_) or [""]
    return ["\n".join([head if m.silent else f"Slurm: {head}", *(f"  {row}" for row in rows)])] if head else []


def told(m: Muster, open_: Collection[str]) -> list[str]:
    """The same in lines."""
    if m.silent:
        return [f"{_silent(m.silent)}: what stands here is what the records say"]
    rows = [*_rows(m.of("running")), *_rows(m.of("waiting")), *_rows(m.lost(open_))]
    if not rows:
        return []
    shown = rows[:_MOST_ROWS]
    width = max(len(jobs) for jobs, _ in shown)
    more = [f"… and {len(rows) - _MOST_ROWS} more such lines"] if len(rows) > _MOST_ROWS else []
    return [counted(m), *(f"{jobs:{width}}  {text}" for jobs, text in shown), *more]


def counted(m: Muster) -> str:
    """3 workers run, 2 wait."""
    running, waiting = len(m.of("running")), len(m.of("waiting"))
    if running and waiting:
        return f"{_run(running)}, {waiting} wait{_s(waiting)}"
    if running:
        return _run(running)
    return f"{words.plural(waiting, 'worker')} wait{_s(waiting)}" if waiting else "no worker runs or waits"


def _run(number: int) -> str:
    return f"{words.plural(number, 'worker')} run{_s(number)}"


def _s(number: int) -> str:
    return "s" if number == 1 else ""


def _silent(why: str) -> str:
    return f"Slurm can't be asked now ({words.clean(why)})"


def _rows(elements: Iterable[Element]) -> list[tuple[str, str]]:
    """The jobs of which the same is to be said, and that."""
    alike = defaultdict(list)
    for element in elements:
        alike[element.state, element.meaning, element.why].append(element)
    return [(_jobs(found), _said(found)) for found in alike.values()]


def _said(found: Sequence[Element]) -> str:
    """The same of each of them."""
    one = found[0]
    meaning = words.clean(one.meaning)
    match one.phase:
        case "waiting":
            return meaning + (f": {words.clean(one.why)}" if one.why else "")
        case "running":
            hosts = _hosts(found)
            return meaning + (f" on {', '.join(hosts)}" if hosts else "")
        case _:
            state = "" if one.state.lower() in one.meaning else words.clean(one.state)
            more = [text for text in (state, *_hosts(found, counted=False), words.clean(paste.path(one.log))) if text]
            return meaning + (f" ({', '.join(more)})" if more else "")


def _hosts(found: Sequence[Element], *, counted: bool = True) -> list[str]:
    """pt1, pt2 (3)."""
    counts = Counter(words.clean(element.host) for element in found if element.host)
    names = [f"{host} ({number})" if counted and number > 1 else host for host, number in counts.most_common()]
    more = len(names) - _MOST_HOSTS
    return names[:_MOST_HOSTS] + ([words.plural(more, "other")] if more > 0 else [])


def _jobs(found: Sequence[Element]) -> str:
    """812_[0-2,7], as Slurm's commands take it."""
    arrays = defaultdict(list)
    for element in found:
        arrays[element.job.rpartition("_")[0]].append(str(element.index))
    return " ".join(f"{job}_{_several(indexes)}" for job, indexes in arrays.items())


def _several(indexes: Sequence[str]) -> str:
    return indexes[0] if len(indexes) == 1 else f"[{words.ranges(indexes)}]"


# ---- who could ----


def command(m: Muster, open_: Iterable[Task]) -> str:
    """What asks Slurm for workers again; empty where no task file names what is open."""
    named = [task for task in open_ if task.source != ADDED]
    first = min(named, key=lambda task: task.number, default=None)
    if first is None:
        return ""
    return paste.command(*paste.of_source(first.source), *_as_before(m, {task.id for task in named}))


def _as_before(m: Muster, open_: Collection[str]) -> Sequence[str]:
    """The options of the newest array for some of these, or else of the newest."""
    last = max((n for n, array in m.arrays.items() if any(task in open_ for task in array.selection)), default=0)
    array = m.arrays.get(last or max(m.arrays, default=0))
    return (array and array.options) or ("--on", "slurm")  # older versions did not record them


def on_cpu(tasks: Sequence[Task], m: Muster) -> str:
    """A run does these here though Slurm serves their queue."""
    want, them = ("wants a GPU", "it") if len(tasks) == 1 else ("want GPUs", "them")
    return (
        f"{words.plural(len(tasks), 'task')} {want}, and this run does {them} on the CPU here. "
        f"Slurm serves this queue: {command(m, tasks)} has {them} done there"
    )


# ---- cancel ----


def dismissed(found: Sequence[Element]) -> str:
    them = "it" if len(found) == 1 else "them"
    waited = f"{words.plural(len(found), 'worker')} that waited"
    return f"Cancelled in Slurm, since nothing is left for {them}: {waited} ({_jobs(found)})"


def leaving(found: Sequence[Element]) -> str:
    leave = "it leaves by itself" if len(found) == 1 else "they leave by themselves"
    return f"In Slurm {_run(len(found))} ({_jobs(found)}): with nothing left to do {leave}"


def not_dismissed(why: str, asked: Sequence[str]) -> str:
    """`asked` is what the person typed."""
    again = f"Once Slurm answers: {paste.command('cancel', *asked)}"
    return f"{_silent(why)}: whoever waits there leaves at once when its turn comes. {again}"


# ---- what scripts can read ----


def muster_json(m: Muster) -> dict[str, Any]:
    """`cluster` of `status --json`."""
    return {
        "silent": m.silent or None,
        "elements": [
            {
                "job": e.job,
                "array": e.array,
                "phase": e.phase,
                "state": e.state,
                "reason": e.reason or None,
                "meaning": e.meaning,
                "why": e.why or None,
                "host": e.host or None,
            }
            for e in m.elements
        ],
    }
