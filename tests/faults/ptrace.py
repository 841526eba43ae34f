"""What Linux offers to stop a process at each system call: ptrace, by ctypes. For x86-64.

strace injects faults too, but by exact paths only (a record's temporary name is random, a log's has a time in it),
and it counts for each process anew: the n-th call of every process would be hit, in each repetition too.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import fcntl
import os
import platform
import signal
import struct
import termios
from dataclasses import dataclass

SYSCALL, CONTINUE, DETACH = 24, 7, 17
_GETREGS, _SETREGS = 12, 13
_GETEVENTMSG, _SEIZE, _INTERRUPT, _LISTEN, _SYSCALL_INFO = 0x4201, 0x4206, 0x4207, 0x4208, 0x420E
FORK, VFORK, CLONE, EXEC, STOP = 1, 2, 3, 4, 128
AT_SYSCALL = signal.SIGTRAP | 0x80
_OPTIONS = 1 | 2 | 4 | 8 | 16 | 0x100000  # told apart, forks, vforks, clones and execs told, all die with the tracer
_WALL = 0x40000000
_REGISTERS = 27
_RAX, _RDI, _ORIG_RAX = 10, 14, 15
_PIDFD_GETFD = 438
_about = ctypes.create_string_buffer(88)  # one for all: it is asked twice for each call

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def is_possible() -> bool:
    """Whether this is such a machine, and lets us follow a child: a container may not."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    child = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    try:
        seize(child)
    except OSError:
        return False
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return True


@dataclass(frozen=True, slots=True)
class Stopped:
    """A process that waits for us: at `event`, or with `signal` on its way; AT_SYSCALL at a call's two ends."""

    pid: int
    signal: int
    event: int


@dataclass(frozen=True, slots=True)
class Ended:
    pid: int
    code: int  # minus the signal that killed it


@dataclass(frozen=True, slots=True)
class Entry:
    number: int
    arguments: tuple[int, ...]


def _ptrace(request: int, pid: int, address: int = 0, data: object = 0) -> int:
    value = data if isinstance(data, int) else ctypes.addressof(data)  # type: ignore[arg-type]
    ctypes.set_errno(0)
    found: int = _libc.ptrace(request, pid, address, value)
    if found == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace {request} of {pid}")
    return found


def seize(pid: int) -> None:
    """Take a running process; it goes on until `interrupt` or a signal."""
    _ptrace(_SEIZE, pid, 0, _OPTIONS)


def interrupt(pid: int) -> None:
    _ptrace(_INTERRUPT, pid)


def listen(pid: int) -> None:
    """Leave it stopped by a SIGSTOP, until a SIGCONT."""
    _ptrace(_LISTEN, pid)


def go_on(pid: int, how: int = SYSCALL, with_signal: int = 0) -> None:
    """Until its next call (SYSCALL), its next event (CONTINUE), or for ever (DETACH)."""
    _ptrace(how, pid, 0, with_signal)


def wait() -> Stopped | Ended:
    """The next thing that any traced process or child does. Raises ChildProcessError where there is none."""
    pid, status = os.waitpid(-1, _WALL)
    if os.WIFSTOPPED(status):
        return Stopped(pid, os.WSTOPSIG(status), status >> 16)
    return Ended(pid, os.waitstatus_to_exitcode(status))


def new_pid(pid: int) -> int:
    """The process that the fork or clone made."""
    found = ctypes.c_ulong()
    _ptrace(_GETEVENTMSG, pid, 0, found)
    return found.value


def entry(pid: int) -> Entry | None:
    """The call that begins; None at the other end of one."""
    _ptrace(_SYSCALL_INFO, pid, len(_about), _about)
    if _about[0] != b"\x01":
        return None
    number, *arguments = struct.unpack_from("<7Q", _about, 24)
    return Entry(number, tuple(arguments))


def _registers(pid: int) -> ctypes.Array[ctypes.c_ulong]:
    found = (ctypes.c_ulong * _REGISTERS)()
    _ptrace(_GETREGS, pid, 0, found)
    return found


def skip_call(pid: int) -> None:
    """At the beginning of a call: let the kernel do nothing."""
    registers = _registers(pid)
    registers[_ORIG_RAX] = 2**64 - 1
    _ptrace(_SETREGS, pid, 0, registers)


def answer(pid: int, number: int) -> None:
    """At the end of a call: let its answer be this error."""
    registers = _registers(pid)
    registers[_RAX] = 2**64 - number
    _ptrace(_SETREGS, pid, 0, registers)


def unread(pid: int) -> int:
    """At the beginning of a read: how many bytes lie there already."""
    process = os.pidfd_open(pid)
    descriptor = _libc.syscall(_PIDFD_GETFD, process, _registers(pid)[_RDI], 0)
    os.close(process)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"a descriptor of {pid}")
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), "little")
    finally:
        os.close(descriptor)


def text_at(pid: int, address: int) -> str:
    """The NUL-terminated string there."""
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        data = b""
        while b"\0" not in data and len(data) < 8192:
            data += os.pread(memory, 4096 - (address + len(data)) % 4096, address + len(data))  # not over a page's end
    finally:
        os.close(memory)
    return os.fsdecode(data.partition(b"\0")[0])
