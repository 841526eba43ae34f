"""A shared disk as the kernels of several hosts show it: each with caches of its own, answers that lie, and errors.

Two manners. `strict` is NFS as it is mounted by default: opening a file or a folder asks the server what is new, a look
at a name alone may be answered from the cache. `late` asks nothing anew as long as its caches hold, as with `nocto`.
What was written reaches the server when it is synced or closed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

from tests.faults.shared.actors import Host, World


@dataclass(frozen=True, slots=True)
class Manner:
    is_strict: bool = True
    longest: float = 60.0  # seconds that a cache may hold
    errors: float = 0.01  # of all calls: EIO or ESTALE
    lies: float = 0.01  # of links, renames and removals: done, and called an error


@dataclass(eq=False)
class Node:
    number: int
    entries: dict[str, Node] | None = None
    data: bytes = b""


def error(number: int, path: str = "") -> OSError:
    return OSError(number, os.strerror(number), path)


class Server:
    """What is true."""

    def __init__(self) -> None:
        self._last = 1
        self.root = Node(1, {})
        self.on_link: Callable[[str], None] = lambda _: None
        self.on_write: Callable[[Node], None] = lambda _: None

    def node(self, entries: dict[str, Node] | None = None) -> Node:
        self._last += 1
        return Node(self._last, entries)

    def find(self, path: str) -> Node | None:
        found: Node | None = self.root
        for name in path.strip("/").split("/"):
            found = (found.entries or {}).get(name) if found is not None and name else found
        return found

    def make_folder(self, path: str) -> None:
        above = self.root
        for name in path.strip("/").split("/"):
            assert above.entries is not None
            above = above.entries.setdefault(name, self.node({}))

    def make_file(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        above, made = self.find(folder), self.node()
        assert above is not None
        assert above.entries is not None
        above.entries[name], made.data = made, data

    def read(self, path: str) -> bytes | None:
        found = self.find(path)
        return None if found is None else found.data

    def names(self, path: str) -> list[str]:
        found = self.find(path)
        return [] if found is None or found.entries is None else list(found.entries)


@dataclass(slots=True)
class Open:
    node: Node
    path: str
    data: bytes
    is_dirty: bool = False
    place: int = 0  # of the next byte to read


@dataclass
class Client:
    """The kernel of one host. Raises OSError like one."""

    world: World
    server: Server
    host: Host
    manner: Manner
    _names: dict[int, dict[str, tuple[Node | None, float]]] = field(default_factory=lambda: defaultdict(dict))
    _lists: dict[int, tuple[list[str], float]] = field(default_factory=dict)
    _data: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    _dirty: dict[int, bytes] = field(default_factory=dict)
    _open: dict[int, Open] = field(default_factory=dict)
    _last: int = 100

    # ---- what every call goes through ----

    def _call(self, path: str = "") -> None:
        chance = self.world.chance
        self.world.sleep(chance.expovariate(500.0))
        while self.host.cut_until > self.world.now:
            if self.host.is_soft:
                self.world.sleep(min(10.0, self.host.cut_until - self.world.now))
                raise error(errno.EIO, path)
            self.world.sleep(self.host.cut_until - self.world.now)
        drawn = chance.random()
        if drawn < self.manner.errors:
            raise error(chance.choice([errno.EIO, errno.ESTALE]), path)
        if drawn > 0.998:
            self.world.sleep(chance.uniform(0.0, 20.0))

    def _until(self) -> float:
        chance = self.world.chance
        return self.world.now + (chance.uniform(0.0, self.manner.longest) if chance.random() < 0.5 else 0.0)

    def _lie(self, *numbers: int) -> None:
        if self.world.chance.random() < self.manner.lies:
            raise error(self.world.chance.choice(numbers))

    # ---- names ----

    def _lookup(self, folder: Node, name: str) -> Node | None:
        known = self._names[folder.number].get(name)
        if known is not None and known[1] > self.world.now:
            return known[0]
        found = (folder.entries or {}).get(name)
        self._names[folder.number][name] = (found, self._until())
        return found

    def _folder(self, path: str) -> tuple[Node, str]:
        *above, name = path.strip("/").split("/")
        folder = self.server.root
        for each in above:
            found = self._lookup(folder, each)
            if found is None:
                raise error(errno.ENOENT, path)
            if found.entries is None:
                raise error(errno.ENOTDIR, path)
            folder = found
        return folder, name

    def _find(self, path: str) -> Node:
        folder, name = self._folder(path)
        found = self._lookup(folder, name)
        if found is None:
            raise error(errno.ENOENT, path)
        return found

    def _entries(self, path: str, *, change: bool = False) -> tuple[dict[str, Node], str]:
        """The server's folder and the name in it; with `change` the caches of it are dropped, as a kernel does."""
        folder, name = self._folder(path)
        assert folder.entries is not None
        if change:
            self.forget(folder, name)
        return folder.entries, name

    def forget(self, folder: Node, name: str) -> None:
        """A process of this host has changed it."""
        self._names[folder.number].pop(name, None)
        self._lists.pop(folder.number, None)

    def lexists(self, path: str) -> bool:
        try:
            self.lstat(path)
        except OSError:
            return False
        return True

    def isdir(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self.lstat(path).st_mode)
        except OSError:
            return False

    def lstat(self, path: str) -> SimpleNamespace:
        self._call(path)
        return self._status(self._find(path))

    def _status(self, node: Node) -> SimpleNamespace:
        mode = stat.S_IFREG | 0o600 if node.entries is None else stat.S_IFDIR | 0o700
        size = len(self._dirty.get(node.number, node.data))
        own = {"st_uid": os.geteuid(), "st_gid": os.getegid(), "st_nlink": 1, "st_dev": 1}
        return SimpleNamespace(st_ino=node.number, st_mode=mode, st_size=size, st_mtime=self.world.now, **own)

    def getsize(self, path: str) -> int:
        return int(self.lstat(path).st_size)

    def listdir(self, path: str) -> list[str]:
        self._call(path)
        node = self._find(path)
        if node.entries is None:
            raise error(errno.ENOTDIR, path)
        known = self._lists.get(node.number)
        if not self.manner.is_strict and known is not None and known[1] > self.world.now:
            return list(known[0])
        if self.manner.is_strict:
            self._names.pop(node.number, None)
        found = list(node.entries)
        self._lists[node.number] = (found, self._until())
        return list(found)

    # ---- files ----

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        self._call(path)
        node = self._create(path, bool(flags & os.O_EXCL)) if flags & os.O_CREAT else self._find(path)
        if node.entries is not None and self.manner.is_strict:
            self._names.pop(node.number, None)  # what is new there is asked for
        self._last += 1
        self._open[self._last] = Open(node, path, self._content(node))
        return self._last

    def _create(self, path: str, is_new: bool) -> Node:
        entries, name = self._entries(path, change=True)
        if name in entries:
            if is_new:
                raise error(errno.EEXIST, path)
            return entries[name]
        entries[name] = self.server.node()
        return entries[name]

    def _content(self, node: Node) -> bytes:
        if node.number in self._dirty:
            return self._dirty[node.number]
        known = self._data.get(node.number)
        if not self.manner.is_strict and known is not None and known[1] > self.world.now:
            return known[0]
        self._data[node.number] = (node.data, self._until())
        return node.data

    def read(self, descriptor: int, size: int = sys.maxsize) -> bytes:
        self._call()
        opened = self._open[descriptor]
        part = opened.data[opened.place : opened.place + size]
        opened.place += len(part)
        return part

    def write(self, descriptor: int, data: bytes) -> int:
        self._call()
        opened = self._open[descriptor]
        opened.data += data
        self._dirty[opened.node.number] = opened.data
        opened.is_dirty = True
        return len(data)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        opened = self._open[descriptor]
        opened.data = b""
        return self.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._call()
        self._flush(self._open[descriptor])

    def _flush(self, opened: Open) -> None:
        if opened.is_dirty:
            opened.is_dirty = False
            opened.node.data = self._dirty.pop(opened.node.number, opened.data)
            self._data.pop(opened.node.number, None)
            self.server.on_write(opened.node)

    def close(self, descriptor: int) -> None:
        opened = self._open[descriptor]
        try:
            if opened.is_dirty:
                self._call()
                self._flush(opened)
        finally:
            self._dirty.pop(opened.node.number, None)
            del self._open[descriptor]

    def fstat(self, descriptor: int) -> SimpleNamespace:
        return self._status(self._open[descriptor].node)

    def knows(self, descriptor: int) -> bool:
        return descriptor in self._open

    # ---- changes of names ----

    def link(self, source: str, target: str) -> None:
        self._call(target)
        node = self._find(source)
        entries, name = self._entries(target, change=True)
        if name in entries:
            raise error(errno.EEXIST, target)
        entries[name] = node
        self.server.on_link(target)
        self._lie(errno.EIO, errno.EEXIST, errno.ETIMEDOUT)

    def unlink(self, path: str, *, missing_ok: bool = False) -> None:
        self._call(path)
        entries, name = self._entries(path, change=True)
        if entries.pop(name, None) is None and not missing_ok:
            raise error(errno.ENOENT, path)
        self._lie(errno.EIO, errno.ENOENT)

    def rename(self, source: str, target: str) -> None:
        self._call(target)
        there, old = self._entries(source, change=True)
        entries, new = self._entries(target, change=True)
        if old not in there:
            raise error(errno.ENOENT, source)
        taken = entries.get(new)
        if taken is not None and taken.entries:
            raise error(errno.ENOTEMPTY, target)
        entries[new] = there.pop(old)
        self._lie(errno.EIO, errno.ENOENT)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._call(path)
        entries, name = self._entries(path, change=True)
        if name in entries:
            raise error(errno.EEXIST, path)
        entries[name] = self.server.node({})
        self._lie(errno.EIO, errno.EEXIST)

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        self._call(path)
        self.server.make_folder(path)
        self._entries(path, change=True)

    def rmdir(self, path: str) -> None:
        self._call(path)
        entries, name = self._entries(path, change=True)
        if name not in entries:
            raise error(errno.ENOENT, path)
        if entries[name].entries:
            raise error(errno.ENOTEMPTY, path)
        del entries[name]
