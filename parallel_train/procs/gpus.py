"""Which devices a worker uses: `--gpus SPEC` and `--cpu-slots N`, with what to tell the user about them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from parallel_train.core.machine import Card, GpuProcess
from parallel_train.core.slots import Device
from parallel_train.errors import UsageError
from parallel_train.procs.cards import QUERY_LIMIT, NoDriverError, Provider, ProviderError
from parallel_train.procs.cores import usable_cores
from parallel_train.procs.driver import DriverProvider, NvmlProvider
from parallel_train.procs.fake_gpus import FileProvider
from parallel_train.procs.gpu_ids import Pick, existing, find, parse_ids
from parallel_train.procs.grant import HIDDEN, Grant, grant_of

__all__ = [
    "QUERY_LIMIT",
    "Card",
    "Choice",
    "FileProvider",
    "GpuProcess",
    "Host",
    "NoDriverError",
    "NoneFreeError",
    "NvmlProvider",
    "Provider",
    "ProviderError",
    "choose",
    "cpu_slots",
    "provider_of",
]

_WITHOUT = "without a GPU: --gpus cpu:2; to try things out: --gpus fake:2"
_FALLBACK_SLOTS = 4
_NAMED_PROCESSES = 3  # a crashed run may leave a hundred


@dataclass(frozen=True, slots=True)
class Choice:
    """The devices to use, in the order given, and where to ask for their cards again."""

    devices: tuple[Device, ...]
    remarks: tuple[str, ...] = ()  # lines to show the user
    provider: Provider | None = None  # None where no cards are behind the devices
    left_out: Mapping[int, str] = field(default_factory=dict)  # why, by the index of the card

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks, and before them what was left out."""
        together: dict[str, list[str]] = {}
        for index, why in self.left_out.items():
            together.setdefault(why, []).append(str(index))
        told = (f"left out GPU {', '.join(indexes)}: {why}" for why, indexes in together.items())
        return (*told, *self.remarks)


class NoneFreeError(UsageError):
    """There are cards, and `auto` takes none of them; `left_out` as in Choice, `short` is the text without it."""

    def __init__(self, left_out: Mapping[int, str], advice: str) -> None:
        reasons = "".join(f"\n  GPU {index}: {why}" for index, why in left_out.items())
        super().__init__(f"no GPU is free:{reasons}\n({advice})")
        self.short = f"no GPU is free ({advice})"
        self.left_out = left_out


@dataclass(frozen=True, slots=True)
class Host:
    """What a choice depends on besides its words. `queue` is the queue's folder."""

    queue: str
    ours: Callable[[int], bool]  # is this pid one of our own attempts?
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    provider: Provider = field(default_factory=DriverProvider)
    limit: float = QUERY_LIMIT  # seconds that the cards of fake:FILE may hang

    @property
    def grant(self) -> Grant | None:
        return grant_of(self.environ)


def choose(spec: str, host: Host, provider: Provider | None = None) -> Choice:
    """The devices that `--gpus SPEC` means here. Raises UsageError.

    `provider` is asked in the place of the one that SPEC means.
    """
    kind, colon, rest = spec.strip().partition(":")
    asked = provider or provider_of(spec, host)
    if asked is None:
        slots = cpu_slots if kind == "cpu" else _fakes
        return Choice(slots(_count(spec, rest), host))
    host = replace(host, provider=asked)
    if kind == "fake" and rest:
        return _from_file(rest, host)
    if host.grant is not None and host.grant.cards:
        return _granted(spec, host, host.grant)
    if kind != "auto" or colon:
        return _explicit(spec, host)
    choice = _auto(host)
    if host.grant is not None and not host.grant.is_here:
        there = f"this is no machine of job {host.grant.job}: to work there, put srun before parallel-train"
        choice = replace(choice, remarks=(*choice.remarks, there))
    return choice


def provider_of(spec: str, host: Host) -> Provider | None:
    """Who knows the cards that `--gpus SPEC` speaks of; None where it speaks of none."""
    kind, colon, rest = spec.strip().partition(":")
    if (kind == "cpu" and colon) or (kind == "fake" and re.fullmatch(r"-?[0-9]+", rest)):
        return None
    return FileProvider(rest, host.limit) if kind == "fake" and rest else host.provider


def cpu_slots(count: int, host: Host, first: int = 0) -> tuple[Device, ...]:
    """CPU slots numbered from `first`, so that those of `--cpu-slots` can follow those of `cpu:N`."""
    if count < 0:
        raise UsageError(f"--cpu-slots {count}: must be 0 or more")
    mark = _hash(host.queue)
    return _owned((Device("cpu", str(nr), "", f"cpu-{mark}-{nr}") for nr in range(first, first + count)), host)


def _fakes(count: int, host: Host) -> tuple[Device, ...]:
    mark = _hash(host.queue)
    made = (Device("gpu", str(nr), str(nr), f"fake-{mark}-{nr}", name="fake GPU") for nr in range(count))
    return _owned(made, host)


def _owned(devices: Iterable[Device], host: Host) -> tuple[Device, ...]:
    """Under the names that their locks have: each allocation has such slots of its own."""
    return tuple(host.grant.owns(device) if host.grant else device for device in devices)


def _hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:12]


def _count(spec: str, digits: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,3}", digits, re.ASCII):
        raise UsageError(f"--gpus {spec}: needs a number from 1 to 9999 after the colon")
    return int(digits)


# The cards nobody else uses


def _auto(host: Host) -> Choice:
    value = host.environ.get("CUDA_VISIBLE_DEVICES")
    if value is not None and value.strip() in HIDDEN:
        return _instead(host, f'CUDA_VISIBLE_DEVICES="{value.strip()}" hides every GPU')
    try:
        cards = host.provider.cards()
    except NoDriverError:
        cards = ()
    if not cards:
        return _instead(host, "no GPU here")
    if value is None:
        return _free([Pick(card) for card in cards], {}, host)
    picks = _inherited(value, cards)
    shown = {pick.card.index for pick in picks}
    hidden = [card.index for card in cards if card.index not in shown]
    return _free(picks, dict.fromkeys(hidden, f"CUDA_VISIBLE_DEVICES is {value}"), host)


def _inherited(value: str, cards: tuple[Card, ...]) -> list[Pick]:
    """What an inherited CUDA_VISIBLE_DEVICES names; for CUDA, too, an entry that names nothing ends it."""
    picks: list[Pick] = []
    for item in value.split(","):
        try:
            pick = find(item.strip(), cards)
        except UsageError:
            break
        if pick not in picks:
            picks.append(pick)
    if not picks:
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES={value} names no GPU here: {existing(cards)}. "
            f"Unset it or name GPUs with --gpus ({_WITHOUT})"
        )
    return picks


def _free(picks: list[Pick], hidden: Mapping[int, str], host: Host) -> Choice:
    against = {pick: _against(pick, host) for pick in picks}
    free = [pick for pick in picks if not against[pick]]
    left_out = {**hidden, **{pick.card.index: why for pick, why in against.items() if why}}
    if not free:
        shareable = [f"to share one, name it: --gpus {_visible(pick)}; " for pick in picks if _is_ok(pick)]
        raise NoneFreeError(left_out, f"{''.join(shareable[:1])}{_WITHOUT}")
    devices = tuple(pick.device(_visible(pick)) for pick in free)
    return Choice(devices, tuple(_about_mig(free)), host.provider, left_out)


def _visible(pick: Pick) -> str:
    return pick.part or str(pick.card.index)  # an instance has no index that CUDA knows


def _is_ok(pick: Pick) -> bool:
    return pick.card.state == "ok"


def _against(pick: Pick, host: Host) -> str:
    """Why `auto` leaves it out, or nothing."""
    if not _is_ok(pick):
        return _STATES[pick.card.state]
    # An instance was cut out and handed to us; who computes on the others is no concern of ours.
    return "" if pick.part else _others(pick.card, host)


_STATES = {
    "gone": "it is gone (the driver has lost it)",
    "sick": "it is sick (the driver answers with an error for it)",
}


def _others(card: Card, host: Host) -> str:
    foreign = [process for process in card.processes if not host.ours(process.pid)]
    if not foreign:
        return ""
    told = [f"{one.user} computes on it (pid {one.pid}, {one.memory_mib} MiB)" for one in foreign]
    rest = len(told) - _NAMED_PROCESSES
    return ", ".join(told[:_NAMED_PROCESSES]) + (f" and {rest} more" if rest > 0 else "")


def _about_mig(picks: list[Pick]) -> Iterator[str]:
    for pick in picks:
        if pick.card.mig and not pick.part:
            every = f"--gpus {','.join(pick.card.mig)}"
            yield f"GPU {pick.card.index} is split by MIG: a task sees its first part only (for all: {every})"


def _instead(host: Host, why: str) -> Choice:
    count = min(_FALLBACK_SLOTS, usable_cores())
    slots = f"{count} CPU slot{'s' if count > 1 else ''}"
    return Choice(cpu_slots(count, host), (f"{why}: {slots} (cpu:{count})",))


def _from_file(file: str, host: Host) -> Choice:
    # CUDA_VISIBLE_DEVICES speaks of real cards; often it is set to hide them from a test.
    choice = _auto(replace(host, environ={}))
    mark = _hash(file)
    return replace(choice, devices=tuple(_faked(device, mark) for device in choice.devices))


def _faked(device: Device, mark: str) -> Device:
    if device.kind == "cpu":
        return device
    lock = f"fake-{mark}-{device.uuid or device.label}"
    return Device("gpu", device.label, device.visible, lock, uuid=device.uuid, name=device.name)


# The cards that Slurm granted


def _granted(spec: str, host: Host, grant: Grant) -> Choice:
    """Whoever computes on them, and also where no driver answers; a spec that names some chooses among them."""
    try:
        known = host.provider.cards()
    except (NoDriverError, ProviderError):
        known = ()
    picks = {grant.device(item, pick): pick for item, pick in grant.pick(known)}
    chosen = list(picks) if spec.strip() == "auto" else [_among(item, list(picks), grant) for item in parse_ids(spec)]
    lost = {pick.card.index: _STATES[pick.card.state] for d in chosen if (pick := picks[d]) and not _is_ok(pick)}
    devices = tuple(d for d in dict.fromkeys(chosen) if (pick := picks[d]) is None or _is_ok(pick))
    if not devices:
        raise NoneFreeError(lost, f"Slurm granted no other in job {grant.job}; {_WITHOUT}")
    return Choice(devices, provider=host.provider if known else None, left_out=lost)


def _among(item: str, devices: list[Device], grant: Grant) -> Device:
    for device in devices:
        if item in {device.label, device.visible, device.uuid}:
            return device
    raise UsageError(f"there is no GPU {item} in job {grant.job}: Slurm granted {','.join(grant.cards)}")


# The cards a user names


def _explicit(spec: str, host: Host) -> Choice:
    items = parse_ids(spec)
    try:
        cards = host.provider.cards()
    except NoDriverError as error:
        raise UsageError(f"--gpus {spec}: no GPU was found here: {error} ({_WITHOUT})") from None
    if not cards:
        raise UsageError(f"--gpus {spec}: no GPU was found here ({_WITHOUT})")
    picks: list[Pick] = []
    devices: list[Device] = []
    for item in items:
        pick = find(item, cards)
        _check(pick, picks, item)
        picks.append(pick)
        # Much code calls int() on it: an id only where the user wrote one.
        devices.append(pick.device(str(pick.card.index) if item.isdecimal() else pick.uuid))
    taken = {pick.card.index: _others(pick.card, host) for pick in picks if not pick.part}
    told = (f"GPU {index}: {who}; used all the same, since you named it" for index, who in taken.items() if who)
    return Choice(tuple(devices), (*told, *_about_mig(picks)), host.provider)


def _check(pick: Pick, earlier: list[Pick], item: str) -> None:
    card = pick.card
    if not _is_ok(pick):
        raise UsageError(f"GPU {item}: {_STATES[card.state]}")
    for other in earlier:
        if other.card.index == card.index and (other.part == pick.part or not (other.part and pick.part)):
            names = "" if item == str(card.index) else f" ({item})"
            raise UsageError(f"GPU {card.index}{names} is named twice")
