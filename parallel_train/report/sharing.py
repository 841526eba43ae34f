"""Whether several workers may share a disk, by what two processes found there. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from parallel_train.core.machine import Disk, Sharing
from parallel_train.report import words
from parallel_train.report.doctor import Finding, Health
from parallel_train.report.doctor import disk as of_disk

_TOO_LATE = 30.0  # seconds: what was said half a lease ago must have been heard
_LATE = 2.0
_SKEW = 2.0  # seconds
_ELSEWHERE = "keep the project on a local disk, on NFS or on a cluster's disk"


def waiting(place: Path, seconds: float) -> str:
    command = shlex.join(["parallel-train", "doctor", "--shared", str(place)])
    return f"Waits {seconds:.0f} s for another host: run there now: {words.clean(command)}"


def findings(disk: Disk, found: Sharing) -> list[Finding]:
    return list(_findings(disk, found))


def _findings(disk: Disk, found: Sharing) -> Iterator[Finding]:
    yield _disk(disk)
    if not disk.is_writable:
        return
    if not found.has_links:
        yield Finding("wrong", "links", "it makes no hard links, which keep two workers off one task", _ELSEWHERE)
        return
    if found.trouble:
        yield Finding("wrong", "answer", found.trouble, "see whether the disk works at all, and try again")
    if not found.races:
        return  # it broke off before
    yield _hosts(disk, found)
    yield _links(found)
    if found.both_created:
        text = f"{found.both_created} files were made by both (O_EXCL)"
        yield Finding("wrong", "files", text, _ELSEWHERE)
    if found.rename:
        yield Finding("wrong", "renames", found.rename, _ELSEWHERE)
    if not found.trouble:
        yield _delays(found)
        yield from _rest(found)


def _disk(disk: Disk) -> Finding:
    if not disk.is_writable:
        return Finding(
            "wrong", "disk", f"the folder {disk.folder} ({disk.kind}) can't be written", "choose another one"
        )
    told = of_disk("the folder", disk)
    if disk.is_for_one_host:
        return Finding("wrong", "disk", told.text, _ELSEWHERE)
    return told


def _hosts(disk: Disk, found: Sharing) -> Finding:
    if found.host:
        return Finding("ok", "hosts", f"tried together with {words.clean(found.host)}")
    text = "tried by two processes of this host"
    if disk.is_network:
        return Finding("note", "hosts", text, "run the same command on two hosts within a few seconds")
    return Finding("ok", "hosts", text)


def _links(found: Sharing) -> Finding:
    wrong = {
        "both won": found.both_won,
        "nobody won": found.none_won,
        "the record was half there": found.half_read,
    }
    if any(wrong.values()):
        told = ", ".join(f"{number} times {what}" for what, number in wrong.items() if number)
        return Finding("wrong", "links", f"of {found.races} races for a name: {told}", _ELSEWHERE)
    lies = f" ({found.wrong_answers} wrong answers were seen through)" if found.wrong_answers else ""
    return Finding("ok", "links", f"{found.races} races for a name, each with one winner{lies}")


def _delays(found: Sharing) -> Finding:
    delays = {
        "a new name by listing": found.by_listing,
        "by opening its folder": found.by_anew,
        "a beat by reading": found.by_content,
    }
    worst = max((_TOO_LATE if delay is None else delay) for delay in delays.values())
    seen = ", ".join(f"{what} {_after(delay)}" for what, delay in delays.items())
    text = f"{seen}; a name alone {_after(found.by_name)}"
    if worst >= _TOO_LATE:
        return Finding("wrong", "delay", text, "mount it without long caches: actimeo=10, and not nocto")
    if worst >= _LATE:
        return Finding("note", "delay", text, "others are seen late; mount it with a smaller actimeo")
    return Finding("ok", "delay", text)


def _after(delay: float | None) -> str:
    if delay is None:
        return "not at all while it was waited for"
    return "at once" if delay < 0.1 else f"after {delay:.1f} s"


def _rest(found: Sharing) -> Iterator[Finding]:
    if found.sync is None:
        yield Finding("wrong", "sync", "fsync is refused: nothing outlives a power loss for certain", _ELSEWHERE)
    else:
        yield Finding("ok", "sync", f"a record is on the disk in {found.sync * 1000:.0f} ms")
    yield Finding(
        "ok", "locks", f"flock {'holds' if found.has_flock else 'does not hold'} between them; it is not needed"
    )
    health: Health = "note" if abs(found.clock) > _SKEW else "ok"
    sign = "ahead of" if found.clock > 0 else "behind"
    text = f"its times are {abs(found.clock):.1f} s {sign} this clock; nothing here goes by them"
    yield Finding(health, "clock", text, "set the clocks by NTP, for other programs" if health == "note" else "")


def summary(disk: Disk, findings: Sequence[Finding]) -> str:
    wrong = sum(finding.health == "wrong" for finding in findings)
    if wrong:
        return f"Not fit to be shared: {words.plural(wrong, 'thing')} {'stands' if wrong == 1 else 'stand'} against it"
    whom = "workers of several hosts" if disk.is_network else "several workers of this host"
    return f"Fit to be shared by {whom}"
