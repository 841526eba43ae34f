"""Run a command on a kernel that makes no hard links, as on a disk that has none: without_links.py ERRNO COMMAND…

A filter on its system calls (seccomp), which every process inherits.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
LINK = {"x86_64": (86, 265), "aarch64": (37,)}  # link and linkat


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse(failure: int) -> None:
    calls = LINK[os.uname().machine]
    jumps = [(JUMP_IF_EQUAL, len(calls) - n, 0, call) for n, call in enumerate(calls)]
    steps = [(LOAD, 0, 0, 0), *jumps, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL | failure)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(steps), ctypes.addressof(code))
    for asked in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*asked) != 0:
            raise OSError(ctypes.get_errno(), "no filter")


refuse(int(sys.argv[1]))
os.execvp(sys.argv[2], sys.argv[2:])
