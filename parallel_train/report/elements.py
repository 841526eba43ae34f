"""What a cluster was asked for and what it says, in words. Pure but for what it remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from parallel_train.core import enlist
from parallel_train.core.cluster import Element
from parallel_train.core.events import ClusterSilent, ElementsSeen, Enlisted, NotEnlisted
from parallel_train.core.facts import Claim
from parallel_train.core.roster import Roster, Terms
from parallel_train.core.situation import Situation
from parallel_train.report import words
from parallel_train.report.memory import Said, Tail

MOST_NAMED, MOST_REASONS = 5, 3


@dataclass(slots=True)
class Rollcall:
    """Says what changed, and nothing twice."""

    tail: Tail  # the last lines of a log
    said: str = ""  # how many there were, and why they waited
    refusal: str = ""
    is_silent: bool = False
    over: frozenset[str] = frozenset()

    def tell(self, event: Enlisted | NotEnlisted | ElementsSeen | ClusterSilent, s: Situation) -> Said | None:
        if s.roster is None:
            return None
        match event:
            case Enlisted():
                return _enlisted(event, s.roster.terms) if event.is_sent else None
            case NotEnlisted(text, is_final=True):
                is_known, self.refusal = text == self.refusal, text
                return None if is_known else Said(f"✗ The cluster refuses: {words.clean(text)}", "bad")
            case NotEnlisted(text) | ClusterSilent(text):
                return self._silent(text)
            case ElementsSeen():  # pragma: no branch
                return self._seen(s, s.roster)

    def _silent(self, text: str) -> Said | None:
        if self.is_silent:
            return None
        self.is_silent = True
        more = "  What is known comes from the records; it is asked again from time to time"
        return Said(f"! The cluster does not answer: {words.clean(text)}", "note", (more,))

    def _seen(self, s: Situation, r: Roster) -> Said | None:
        is_back, self.is_silent = self.is_silent, False
        over = {element.job: element for element in r.elements if element.phase == "over" and element.array in r.sent}
        fresh = [element for job, element in over.items() if job not in self.over]
        self.over = frozenset(over)
        before, self.said = self.said, strength(s, r)
        if not s.open or not (fresh or is_back or self.said != before):
            return None
        answers = "The cluster answers again: " if is_back else ""
        more = [*_over(fresh), *(self._last_words(fresh) if r.is_in_vain else ())]
        return Said(f"{answers}{self.said or 'no worker is there'}", "note", tuple(more))

    def _last_words(self, elements: Iterable[Element]) -> Iterator[str]:
        """Of one of those that came to nothing: the others are likely to say the same."""
        log = next((element.log for element in elements if element.log), "")
        last = self.tail(log) if log else []
        if last:
            yield f"  Last lines of {words.clean(log)}:"
            yield from (f"  | {text}" for text in last)


def _over(elements: Iterable[Element]) -> Iterator[str]:
    """One line for all that were over in the same way."""
    meant: dict[str, list[str]] = {}
    for element in elements:
        meant.setdefault(element.meaning or element.state, []).append(element.job)
    return (f"  {_named(jobs)}: {words.clean(meaning)}" for meaning, jobs in meant.items())


def _named(jobs: Sequence[str]) -> str:
    more = f" and {len(jobs) - MOST_NAMED} more" if len(jobs) > MOST_NAMED else ""
    return f"{', '.join(map(words.clean, jobs[:MOST_NAMED]))}{more}"


def _enlisted(event: Enlisted, terms: Terms) -> Said:
    array = event.array
    what = words.plural(array.size, "task" if array.is_each else "worker")
    later = f", in {words.span(event.delay)}: others were lost" if event.delay else ""
    each = " each" if array.size > 1 else ""
    text = f"Asked the cluster for {what} with {_width(array.gpus, terms)}{each} (array {array.number}{later})"
    return Said(text, "note")


def _width(gpus: int, terms: Terms) -> str:
    if gpus or terms.is_each:
        return words.plural(gpus, "GPU") if gpus else "no GPU"
    return words.plural(terms.slots, "CPU slot")


def asked(terms: Terms) -> str:
    """Where the tasks of a run are done."""
    if terms.is_each:
        limit = f", at most {terms.workers} at once" if terms.workers else ""
        return f"on the cluster, a job for each{limit}"
    workers = words.plural(terms.workers, "worker")
    each = " each" if terms.workers > 1 else ""
    return f"on the cluster, by up to {workers} with {_width(terms.gpus, terms)}{each}"


def place(claim: Claim, s: Situation) -> str:
    """Where an attempt runs: its slots, and on a cluster the host that they are of."""
    slot = words.slot(claim.gpus)
    return slot if s.roster is None else f"{slot} of {words.clean(claim.owner.host)}"


def strength(s: Situation, r: Roster) -> str:
    """3 of 8 workers run, 5 wait: others come first (Priority)."""
    elements = list(enlist.useful(s, r))
    waiting = [element for element in elements if element.phase == "waiting"]
    number = words.plural(len(elements), "worker")
    if not waiting:
        return f"{number} {'runs' if len(elements) == 1 else 'run'}" if elements else ""
    reasons = Counter(element.why for element in waiting if element.why)
    why = "; ".join(words.clean(reason) for reason, _ in reasons.most_common(MOST_REASONS))
    verb = "waits" if len(waiting) == 1 else "wait"
    who = f"{number} {verb}" if len(waiting) == len(elements) else _some(len(elements), number, len(waiting), verb)
    return f"{who}: {why}" if why else who


def _some(every: int, number: str, waiting: int, verb: str) -> str:
    return f"{every - waiting} of {number} {'runs' if every - waiting == 1 else 'run'}, {waiting} {verb}"


def notice(s: Situation, now: float) -> str:
    """How it stands with the workers of a cluster; empty for a run that needs none."""
    r = s.roster
    if r is None:
        return ""
    if r.refused:
        return f"The cluster refuses: {words.clean(r.refused)}"
    if r.silent:
        pause = words.span(max(0.0, enlist.ask_at(r, is_leaving=False) - now))
        return f"The cluster does not answer; it is asked again in {pause}"
    return _given_up(r) if enlist.has_given_up(s, r) else strength(s, r)


def _given_up(r: Roster) -> str:
    last = [element for element in r.elements if element.array == max(r.sent)]
    said = "".join(f"; {line.strip()}" for line in _over(last))
    return f"The last {r.repeats} times that workers were asked for, none of them started a task{said}"


def answered_for(s: Situation) -> tuple[int, str]:
    """How many tasks, or workers of a cluster, leave with this run; and the same in words."""
    number = len(s.mine) if s.roster is None else sum(1 for _ in enlist.ours(s, s.roster))
    return number, words.plural(number, "task" if s.roster is None else "worker")


def draining(s: Situation) -> str:
    """What the first Ctrl-C does: who waits in a cluster's queue is not needed, and what runs may end."""
    number, _ = answered_for(s)
    waiting = 0 if s.roster is None else sum(element.phase == "waiting" for element in enlist.ours(s, s.roster))
    kind = "task" if s.roster is None else "worker"
    on = f"Draining: {words.plural(number - waiting, kind)} {'runs' if number - waiting == 1 else 'run'} on"
    away = f"{words.plural(waiting, kind)} that {'waits is' if waiting == 1 else 'wait are'} sent away"
    if number == waiting:
        return f"Interrupted: {away}"
    return f"{on}{f', {away}' if waiting else ''}; Ctrl-C again stops them"
