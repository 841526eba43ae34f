"""What is fine on a machine and what is not, each with what to do: one function per thing that was looked at. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from parallel_train.core.machine import NETWORK, Disk, Driver, Interpreter, Limits
from parallel_train.report import paste, words

Health = Literal["ok", "note", "wrong"]
_STYLES: dict[Health, str] = {"ok": "green", "note": "yellow", "wrong": "bold red"}

_LEAST_MIB, _LITTLE_MIB = 100, 2048  # free on a disk
_LEAST_FREE_FILES, _FEW_FREE_FILES = 1_000, 20_000  # an attempt makes about five
_FILES_OF_A_SLOT = 8  # open in a scheduler, for each attempt
_USUAL_FILES = 1024  # what a loader with several workers counts on
_PROCESSES_OF_A_SLOT = 16
_MIB_OF_A_SLOT = 1024  # what torch takes before it does anything


@dataclass(frozen=True, slots=True)
class Finding:
    """`health` is wrong where it stands against a run, note where it is worth knowing."""

    health: Health
    about: str
    text: str
    fix: str = ""


# ---- the interpreter and its torch ----


def python(path: str, origin: str, found: Interpreter | str) -> Finding:
    """`found` is a text where it could not be asked."""
    if isinstance(found, str):
        return Finding("wrong", "python", f"{path} ({origin}): {found}", "name one that works: --python PATH")
    return Finding("ok", "python", f"{found.python} at {path} ({origin})")


def torch(path: str, found: Interpreter, driver: Driver | None) -> Finding:
    """`driver` is None where there is none."""
    has_cards = driver is not None and bool(driver.cards)
    if not found.torch:
        if found.said:
            return Finding("wrong", "torch", f"can't be imported: {found.said}", f"{path} -m pip install -U torch")
        text = "not installed there; only scripts that import it need it"
        return Finding("note", "torch", text, f"{path} -m pip install torch")
    built = f"for CUDA {found.cuda}" if found.cuda else f"for ROCm {found.hip}" if found.hip else "for CPU only"
    text = f"{found.torch}, built {built}"
    if not has_cards or found.sees_cards or driver is None:
        return Finding("ok", "torch", text)
    if not found.cuda:
        return Finding("wrong", "torch", f"{text}: it uses no GPU", _OTHER_TORCH.format("a build for CUDA"))
    if driver.cuda and _major(found.cuda) > _major(driver.cuda):
        fix = _OTHER_TORCH.format(f"a build for CUDA {_major(driver.cuda)}") + ", or a newer driver"
        return Finding("wrong", "torch", f"{text}: the driver knows CUDA up to {driver.cuda}", fix)
    said = f" ({found.said})" if found.said else ""
    see = f"see why: {path} -c 'import torch; torch.zeros(1).cuda()'"
    return Finding("wrong", "torch", f"{text}: it sees no GPU{said}", see)


_OTHER_TORCH = "install {} (pytorch.org/get-started)"


def _major(version: str) -> int:
    return int(version.partition(".")[0])


# ---- the cards ----


def driver(found: Driver, no_nvml: str = "") -> Finding:
    """`no_nvml` is why NVML did not answer, where nvidia-smi had to."""
    knows = f", CUDA up to {found.cuda}" if found.cuda else ""
    text = f"NVIDIA {found.version}{knows}, {words.plural(len(found.cards), 'GPU')}"
    if no_nvml:
        fix = "runs work so; NVML is libnvidia-ml.so.1, read by the package nvidia-ml-py"
        return Finding("note", "driver", f"{text}, by nvidia-smi alone: {no_nvml}", fix)
    return Finding("ok", "driver", text)


def no_driver(why: str, *, has_hardware: bool) -> Finding:
    if not has_hardware:
        return Finding("ok", "driver", "no NVIDIA card and no driver for one")
    fix = "install NVIDIA's driver; start a container with --gpus all"
    return Finding("note", "driver", f"there is an NVIDIA card and no driver for it: {why}", fix)


def mute_driver(why: str) -> Finding:
    """There is a driver, and it does not answer."""
    return Finding(
        "wrong", "driver", why, "see what nvidia-smi says; after an update of the driver restart the machine"
    )


def no_gpus(asked: str, why: str, *, are_taken: bool = False) -> Finding:
    """Why a run would not start."""
    fix = f"see who uses them: {paste.command('gpus')}" if are_taken else "choose others: --gpus LIST"
    return Finding("wrong", "gpus", why if why.startswith("--gpus") else f"--gpus {asked}: {why}", fix)


def gpus(asked: str, takes: Sequence[str], notes: Sequence[str]) -> Finding:
    """What a run would take."""
    is_in_the_notes = bool(notes) and takes[0].startswith("cpu")
    text = [] if is_in_the_notes else [f"--gpus {asked} takes {words.slot(takes)}"]
    return Finding("note" if notes else "ok", "gpus", "; ".join([*text, *notes]))


# ---- the disk ----

_WITHOUT_LINKS = {"vfat", "exfat", "msdos", "vboxsf", "prl_fs"}
_LOCAL_DISK = "keep the project on a local disk or on NFS; results may go elsewhere: --output-base PATH"
_KINDS: dict[str, tuple[Health, str, str]] = {
    **dict.fromkeys(NETWORK, ("ok", "a network disk: slower, and safe for one host or several", "")),
    **dict.fromkeys(
        _WITHOUT_LINKS, ("wrong", "it has no hard links, which keep two workers off one task", _LOCAL_DISK)
    ),
    **dict.fromkeys(("tmpfs", "ramfs"), ("note", "in memory: gone after a restart", "keep what matters on a disk")),
    **dict.fromkeys(("overlay", "aufs"), ("note", "a container's own: gone with it", "mount a folder of the host")),
    **dict.fromkeys(("9p", "drvfs"), ("note", "slow, and for one host at a time", "keep the project below ~ in Linux")),
    "unknown": ("note", "can't be told", ""),
}
_ONE_HOST: tuple[Health, str, str] = (
    "note",
    "for one host at a time",
    f"see what it can: {paste.command('doctor', '--shared', 'DIR', project='')}",
)


def disk(what: str, found: Disk | str) -> Finding:
    """`what` is the project's or the queue's; `found` is a text where it can't be looked at."""
    if isinstance(found, str):
        return Finding("wrong", "disk", f"{what}: {found}", "choose another folder: -C DIR")
    where = f"{what} {found.folder} ({found.kind})"
    if not found.is_writable:
        return Finding("wrong", "disk", f"{where} can't be written", "choose another folder: -C DIR")
    plain: tuple[Health, str, str] = _ONE_HOST if found.is_for_one_host else ("ok", "", "")
    health, meaning, fix = _KINDS.get(found.kind, plain)
    room = f"{_size(found.free_mib)} free"
    few = found.free_files is not None and found.free_files < _FEW_FREE_FILES
    if few:
        room += f", room for {found.free_files} more files"
    text = f"{where}: {f'{meaning}; ' if meaning else ''}{room}"
    if found.free_mib < _LEAST_MIB or (found.free_files is not None and found.free_files < _LEAST_FREE_FILES):
        return Finding("wrong", "disk", text, f"make room below {found.mount}; {paste.command('gc')} lists what may go")
    if found.free_mib < _LITTLE_MIB or few:
        return Finding("wrong" if health == "wrong" else "note", "disk", text, fix or f"make room below {found.mount}")
    return Finding(health, "disk", text, fix)


# ---- limits and cores ----


def files(found: Limits, slots: int) -> Finding:
    most = found.open_files
    if most is None or most >= max(_USUAL_FILES, _least_files(slots)):
        return Finding("ok", "files", "any number may be open" if most is None else f"{most} may be open at once")
    health: Health = "wrong" if most < _least_files(slots) else "note"
    return Finding(health, "files", f"only {most} may be open at once", "ulimit -n 4096")


def _least_files(slots: int) -> int:
    return 64 + _FILES_OF_A_SLOT * slots


def processes(found: Limits, slots: int) -> Finding:
    room = found.processes
    if room is None:
        return Finding("ok", "processes", "no limit of their number")
    text = f"room for {room} more, of those and of threads"
    if room >= 4 * _PROCESSES_OF_A_SLOT * slots:
        return Finding("ok", "processes", text)
    fix = "ulimit -u, or the pids.max of the container or unit; fewer tasks at once: -j N"
    return Finding("wrong" if room < _PROCESSES_OF_A_SLOT * slots else "note", "processes", text, fix)


def memory(found: Limits, slots: int) -> Finding:
    most = found.installed_mib if found.memory_mib is None else min(found.memory_mib, found.installed_mib)
    limited = f", as its cgroup allows, of {_size(found.installed_mib)}" if most < found.installed_mib else ""
    text = f"{_size(most)}{limited}, {_size(most // slots)} {_shared(slots)}"
    if most // slots < _MIB_OF_A_SLOT:
        return Finding("note", "memory", text, "fewer tasks at once: -j N")
    return Finding("ok", "memory", text)


def cores(usable: int, installed: int, slots: int, threads: int) -> Finding:
    of = f" of {installed}, by affinity or cgroup" if usable < installed else ""
    text = f"{words.plural(usable, 'core')}{of}: {words.plural(threads, 'thread')} {_shared(slots)}"
    return Finding("ok", "cores", text)


def _shared(slots: int) -> str:
    return f"for each of {slots} tasks at once" if slots > 1 else "for one task at a time"


def own_caps(caps: Mapping[str, str], threads: int) -> Finding:
    """Thread caps that the user's environment sets: tasks keep them."""
    told = ", ".join(f"{name}={value}" for name, value in caps.items())
    return Finding("note", "cores", f"tasks get your {told}, not {threads}", f"unset {' '.join(caps)}")


# ---- the system ----


def kernel(release: str, trouble: str) -> Finding:
    return Finding("wrong", "kernel", trouble, "a newer kernel") if trouble else Finding("ok", "kernel", release)


def locks(place: str, trouble: str) -> Finding:
    if trouble:
        return Finding("wrong", "locks", trouble, f"make {place} yours alone: mode 0700, in a /tmp that you can write")
    return Finding("ok", "locks", f"in {place}")


def strays(obstacle: str) -> Finding:
    """`obstacle` as procs.fence says it: why attempts have no control groups."""
    if not obstacle:
        return Finding("ok", "strays", "all that a task leaves running is ended, what hides too")
    text = f"what a task leaves running is ended, unless it hides and its supervisor is killed: {obstacle}"
    fix = "systemd-run --user --scope -p Delegate=yes parallel-train …" if "delegated" in obstacle else ""
    return Finding("ok", "strays", text, fix)


def logout(trouble: str) -> Finding:
    """`trouble` as procs.logout says it, with its fix."""
    if not trouble:
        return Finding("ok", "logout", "a detached run goes on")
    why, _, fix = trouble.partition(": ")
    return Finding("note", "logout", f"a detached run ends: {why}", fix)


# ---- a cluster ----


def slurm(version: str, trouble: str) -> Finding:
    """`version` as sbatch says it; `trouble` is why the controller does not answer."""
    what = version or "its version is not known"
    if not trouble:
        return Finding("ok", "slurm", f"{what}, and its controller answers")
    text = f"{what}; its controller does not answer: {trouble}"
    return Finding("note", "slurm", text, "only --on slurm needs it: see what scontrol ping says")


# ---- all of them ----


def summary(findings: Sequence[Finding]) -> str:
    wrong = sum(finding.health == "wrong" for finding in findings)
    stands = "thing stands" if wrong == 1 else "things stand"
    return f"{wrong} {stands} against a run" if wrong else "Nothing stands against a run"


def plain(findings: Sequence[Finding]) -> str:
    """A line for each, and one for what to do."""
    lines = []
    for found in findings:
        head = f"{found.health:5}  {found.about:9}  "
        lines.append(head + words.clean(found.text))
        if found.fix:
            lines.append(f"{'':{len(head)}}-> {words.clean(found.fix)}")
    return "\n".join(lines)


def table(findings: Sequence[Finding]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for found in findings:
        text = Text(words.clean(found.text))
        grid.add_row(Text(found.health, _STYLES[found.health]), found.about, text)
        if found.fix:
            grid.add_row("", "", Text(f"-> {words.clean(found.fix)}"))
    return grid


def doctor_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """A promise: the README lists it."""
    checks = [
        {"health": found.health, "about": found.about, "text": found.text, "fix": found.fix or None}
        for found in findings
    ]
    return {"ok": all(found.health != "wrong" for found in findings), "checks": checks}


def _size(mib: int) -> str:
    if mib >= 1 << 20:
        return f"{mib / (1 << 20):.1f} TiB"
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib} MiB"
