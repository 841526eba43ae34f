"""doctor: what is fine here and what is not, each with what to do. It changes nothing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from parallel_train.commands.plan import interpreter
from parallel_train.core.machine import Disk, Driver
from parallel_train.core.slots import Device
from parallel_train.errors import UsageError
from parallel_train.procs import apart, bounded, cores, fence, limits, locks, logout, mounts, process, sharing
from parallel_train.procs.cards import Known
from parallel_train.procs.driver import NvmlProvider, SmiProvider, has_nvidia_card
from parallel_train.procs.gpus import Host, NoDriverError, NoneFreeError, ProviderError, choose
from parallel_train.procs.interpreter import ask
from parallel_train.procs.order import THREAD_CAPS
from parallel_train.procs.runner import check_kernel
from parallel_train.report import doctor as say
from parallel_train.report import sharing as sharing_words
from parallel_train.report.drawn import terminal
from parallel_train.report.outlet import Outlet
from parallel_train.store import queue

_PATIENCE = 15.0  # seconds for a disk to say what it is
_FOR_SLURM = 5.0  # seconds
_FOR_A_PARTNER = 20.0  # seconds for the same command on another host


def doctor(project: Path, *, gpus: str, python: str | None, as_json: bool, out: TextIO) -> int:
    """Print what was found; 1 where something stands against a run, else 0. `gpus` and `python` as a run has them."""
    return _tell(list(examine(project, gpus, python)), say.summary, as_json=as_json, out=out)


def shared(place: Path, *, as_json: bool, out: TextIO) -> int:
    """Print whether several workers may share the disk of `place`; 1 where they may not."""
    try:
        disk = Disk(**apart.ask(lambda: _disk_of_folder(str(place)), _PATIENCE))
    except OSError as error:
        raise UsageError(f"--shared {place}: {error}") from error
    if disk.is_network:
        print(sharing_words.waiting(place, _FOR_A_PARTNER), file=sys.stderr, flush=True)
    found = sharing.check(str(place), _FOR_A_PARTNER if disk.is_network else 0.0)
    return _tell(
        sharing_words.findings(disk, found), lambda told: sharing_words.summary(disk, told), as_json=as_json, out=out
    )


def _disk_of_folder(place: str) -> dict[str, Any]:
    os.stat(os.path.join(place, ""))  # noqa: PTH116, PTH118  with its slash: raises for what is no folder
    return asdict(mounts.disk_of(place))


def _tell(
    findings: list[say.Finding], summary: Callable[[Sequence[say.Finding]], str], *, as_json: bool, out: TextIO
) -> int:
    if as_json:
        print(json.dumps(say.doctor_json(findings), indent=2), file=out)
    elif out.isatty():
        console = terminal(Outlet(out, Path(os.devnull)))
        console.print(say.table(findings))
        console.print(summary(findings))
    else:
        print(say.plain(findings), summary(findings), sep="\n", file=out)
    return 1 if any(found.health == "wrong" for found in findings) else 0


def examine(project: Path, gpus: str, python: str | None) -> Iterator[say.Finding]:
    driver, about_driver = _driver()
    yield from _python(python, driver)
    yield about_driver
    slots = max(1, len(driver.cards) if driver else 1)
    if about_driver.health != "wrong":  # else there is nobody to ask for cards
        devices, about_gpus = _choice(gpus, project, driver)
        slots = len(devices) or slots
        yield about_gpus
    yield from _disks(project)
    yield from _limits(slots)
    yield say.kernel(f"{platform.system()} {platform.release()}", _trouble(check_kernel))
    yield say.locks(locks.place(), _trouble(_check_locks))
    yield say.strays(fence.obstacle())
    yield say.logout(logout.kills_at_logout())
    if shutil.which("sbatch"):
        yield _slurm()


def _slurm() -> say.Finding:
    version = _answer(["sbatch", "--version"])
    try:
        said = bounded.run(["scontrol", "ping"], _FOR_SLURM)
    except OSError as error:
        return say.slurm(version, str(error))
    # It lists each controller: one that answers is enough.
    return say.slurm(version, "" if " UP" in said.output else said.output.strip() or said.last_complaint)


def _answer(command: Sequence[str]) -> str:
    with suppress(OSError):
        return bounded.run(command, _FOR_SLURM).output.strip()
    return ""


def _driver() -> tuple[Driver | None, say.Finding]:
    try:
        found = NvmlProvider().ask()
    except (NoDriverError, ProviderError) as error:
        return _without_nvml(error)
    return found, say.driver(found)


def _without_nvml(error: NoDriverError | ProviderError) -> tuple[Driver | None, say.Finding]:
    try:
        found = SmiProvider().ask()
    except NoDriverError as second:
        if isinstance(error, ProviderError):
            return None, say.mute_driver(f"{error}; {second}")
        return None, say.no_driver(str(error), has_hardware=has_nvidia_card())
    except ProviderError as second:
        return None, say.mute_driver(f"{error}; {second}")
    return found, say.driver(found, str(error))


def _python(asked: str | None, driver: Driver | None) -> Iterator[say.Finding]:
    path = interpreter(asked)
    origin = _origin(asked, path)
    try:
        found = ask(path)
    except UsageError as error:
        yield say.python(path, origin, str(error))
        return
    yield say.python(path, origin, found)
    yield say.torch(path, found, driver)


def _origin(asked: str | None, path: str) -> str:
    if asked:
        return "--python"
    for variable, kind in (("VIRTUAL_ENV", "environment"), ("CONDA_PREFIX", "conda environment")):
        place = os.environ.get(variable)
        if place and Path(path).is_relative_to(place):
            return f"the active {kind}"
    return "parallel-train's own" if path == sys.executable else "python3 on PATH"


def _choice(asked: str, project: Path, driver: Driver | None) -> tuple[tuple[Device, ...], say.Finding]:
    """What a run would take. The driver is not asked again."""
    known = Known(driver.cards if driver else ())
    host = Host(str(project / queue.NAME), ours=process.is_attempt, provider=known)
    try:
        choice = choose(asked, host)
    except NoneFreeError as error:
        return (), say.no_gpus(asked, error.short, are_taken=True)
    except UsageError as error:
        return (), say.no_gpus(asked, str(error))
    takes = [device.label if device.kind == "gpu" else f"cpu{device.label}" for device in choice.devices]
    return choice.devices, say.gpus(asked, takes, choice.notes)


def _disks(project: Path) -> Iterator[say.Finding]:
    """The project's, and the queue's where it lies on another."""
    found = _disk(project)
    yield say.disk("the project", found)
    folder = project / queue.NAME
    if folder.is_dir() and not isinstance(found, str):
        its = _disk(folder)
        if isinstance(its, str) or its.mount != found.mount or not its.is_writable:
            yield say.disk("the queue", its)


def _disk(folder: Path) -> Disk | str:
    try:
        return mounts.disk_of(str(folder))
    except OSError as error:
        return error.strerror or str(error)


def _limits(slots: int) -> Iterator[say.Finding]:
    found = limits.limits()
    yield say.files(found, slots)
    yield say.processes(found, slots)
    yield say.memory(found, slots)
    threads = cores.thread_cap(slots)
    yield say.cores(cores.usable_cores(), os.cpu_count() or 1, slots, threads)
    own = {name: os.environ[name] for name in THREAD_CAPS if os.environ.get(name, str(threads)) != str(threads)}
    if own:
        yield say.own_caps(own, threads)


def _check_locks() -> None:
    if not locks.check() and not os.access(Path(locks.place()).parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{locks.place()} can't be made")


def _trouble(check: Callable[[], None]) -> str:
    try:
        check()
    except (UsageError, OSError) as error:
        return str(error)
    return ""
