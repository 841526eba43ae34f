"""Records: small immutable files, whole or absent, published by link(2).

Standard library only, Python 3.8 and newer: the launcher and the shims use it too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import zlib
from typing import Any

VERSION = 1
_MOST_DIGITS = 15
_LONGEST_HEAD = 1 << 20
_PIECE = 1 << 16
NO_LINKS = "this disk makes no hard links, which keep two workers off one task: use a folder on another one (-C DIR)"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class DamagedError(Exception):
    """A record that is there but is not what was written."""


class NewerVersionError(Exception):
    """A record written by a newer parallel-train."""


def encode(lines: list[dict[str, Any]]) -> bytes:
    """JSON lines, closed by a line with their length and CRC-32, so that damage is seen."""
    body = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
    return body + _seal(body)


def _seal(body: bytes) -> bytes:
    return b'{"v": %d, "bytes": %d, "crc32": %d}\n' % (VERSION, len(body), zlib.crc32(body))


def decode(data: bytes) -> list[dict[str, Any]]:
    """What `encode` was given. Raises DamagedError or NewerVersionError."""
    body, _, last = data[:-1].rpartition(b"\n")
    try:
        if _is_sealed(data):  # byte by byte: nothing in a record may change unseen, the seal neither
            return _lines(body)
        if json.loads(last)["v"] > VERSION:
            raise NewerVersionError("written by a newer parallel-train: use that one to read this queue")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError("it is cut short or altered") from error
    raise DamagedError("its checksum does not match")


def _lines(body: bytes) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in body.splitlines()]
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise DamagedError("it holds something else")
    return lines


def read(path: str) -> list[dict[str, Any]]:
    """The lines of the record at `path`. Raises FileNotFoundError, DamagedError, NewerVersionError."""
    return decode(_content(path))


def first_line(path: str) -> bytes:
    """The beginning of the record at `path`, be it damaged. Raises as `read` does."""
    return _content(path, _LONGEST_HEAD).partition(b"\n")[0]


def _content(path: str, most: int = sys.maxsize) -> bytes:
    try:
        descriptor = opener(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise DamagedError("it is no file") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedError("it is no file")
        return _read_all(descriptor, most)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, most: int) -> bytes:
    """What a file holds, its first `most` bytes at most. A file object would cost a record five more system calls."""
    parts = []
    while most > 0 and (part := os.read(descriptor, min(most, _PIECE))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def is_whole(path: str) -> bool:
    """Whether the record at `path` is as it was written, as far as can be told without reading its lines."""
    try:
        return _is_sealed(_content(path))
    except (OSError, DamagedError):
        return False


def _is_sealed(data: bytes) -> bool:
    body = data[:-1].rpartition(b"\n")[0] + b"\n"
    return data == body + _seal(body)


def read_one(path: str) -> dict[str, Any]:
    """The single line of the record at `path`."""
    return read(path)[0]


def open_own(path: str, flags: int) -> int:
    """A descriptor of the file of ours at `path`, which is made where it is missing (see `belong`).

    Raises OSError for what somebody may have put there to have another file written: a link, a second name, a pipe.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "this is not a file of parallel-train's own", path)
    belong(descriptor, os.path.dirname(path))
    return descriptor


def opener(path: str, flags: int) -> int:
    """For `open`, to read what may be planted: no link is followed, no pipe waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def make_folder(path: str, queue: str) -> None:
    """Make a folder of ours (see `belong`). Raises FileExistsError."""
    os.mkdir(path, 0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        belong(descriptor, queue)
    finally:
        os.close(descriptor)


def belong(descriptor: int, queue: str) -> None:
    """Leave a file or folder of ours to us alone, or to the group where the folder `queue` is a group's.

    Whatever the umask is. A disk that keeps no modes leaves it as it was made.
    """
    with contextlib.suppress(OSError):
        home, found = os.stat(queue), os.fstat(descriptor)
        is_folder, is_shared = stat.S_ISDIR(found.st_mode), bool(home.st_mode & stat.S_IWGRP)
        mode = (0o2770 if is_folder else 0o660) if is_shared else (0o700 if is_folder else 0o600)
        if is_shared and found.st_gid != home.st_gid:
            os.fchown(descriptor, -1, home.st_gid)
        if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
            os.fchmod(descriptor, mode)


def number(name: str) -> int:
    """The number that `name` is, as we write it; 0 where it is none of ours."""
    is_ours = name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS and name[0] != "0"
    return int(name) if is_ours else 0


def publish(path: str, lines: list[dict[str, Any]], durable: bool = True) -> bool:
    """Make the record `path`; False where the name is taken: exactly one of all who try is told True.

    `durable` costs two fsyncs: after it a power loss can't undo the record.
    Raises OSError where the disk can't take it; then the record is absent, as far as could be seen.
    """
    return place(path, encode(lines), durable)


def place(path: str, data: bytes, durable: bool = False, private: bool = True) -> bool:
    """The same for a file that is no record; one that is not `private` is the user's, by the user's umask."""
    folder = os.path.dirname(path)
    temporary = _temporary(folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600 if private else 0o666)
    try:
        try:
            if private:
                belong(descriptor, folder)
            _write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
            inode = os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)  # before it has its name: only now a network disk takes the bytes, or refuses them
        won = _link(inode, temporary, path)
    finally:
        with contextlib.suppress(OSError):  # the record stands, or was refused, whatever becomes of its other name
            os.unlink(temporary)
    if won and durable:
        with contextlib.suppress(OSError):  # the record stands; only a power loss could still take it
            sync_folder(folder)
    return won


def overwrite(path: str, data: bytes) -> None:
    """Make `data` what the file of ours at `path` holds, as a whole. No power loss is provided for. Raises OSError."""
    temporary = _temporary(os.path.dirname(path))
    descriptor = open_own(temporary, os.O_WRONLY | os.O_EXCL)
    try:
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary(folder: str) -> str:
    return os.path.join(folder, f".tmp-{os.getpid()}-{os.urandom(6).hex()}")


def copy(path: str, target: str) -> None:
    """Keep what the file `path` holds at `target` too, where nothing is yet. Raises OSError or DamagedError."""
    place(target, _content(path))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _link(inode: int, temporary: str, path: str) -> bool:
    """Link, and where the answer is an error look what is true: an answer can be lost on its way."""
    try:
        os.link(temporary, path)
    except OSError as error:
        there = _inode(path)
        if there == inode:
            return True
        if error.errno == errno.EEXIST or there is not None:
            return False
        if error.errno in _NO_LINKS:
            raise OSError(error.errno, NO_LINKS) from error
        raise
    return True


def _inode(path: str) -> int | None:
    """What has this name now. Its folder is opened first: for that a network disk's client asks what is new there,
    where a look at the name alone may be answered from its cache, half a minute late.
    """
    try:
        with contextlib.suppress(PermissionError):
            os.close(os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def sync_folder(folder: str) -> None:
    """Make the names in `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exists(path: str) -> bool:
    """Whether a record, or whatever else, has this name. Raises OSError where that can't be seen."""
    return _inode(path) is not None
