"""What is found out about a machine: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CardState = Literal["ok", "gone", "sick"]


# Kinds of disks that several hosts may share, and that may hang.
NETWORK = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "lustre",
            "gpfs",
            "beegfs",
            "ceph",
            "glusterfs",
            "pvfs2",
            "panfs",
            "wekafs",
            "afs",
            "virtiofs",
        ),
        *("fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.juicefs", "fuse.mfs"),
    }
)
# Those that several hosts can see and must not share: there no link is known to refuse a name that another has taken.
_FOR_ONE_HOST = frozenset(
    {"cifs", "smb2", "smb3", "smbfs", "9p", "drvfs", "vboxsf", "prl_fs", "vfat", "exfat", "msdos"}
)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a card."""

    pid: int
    user: str  # "?" where it can't be known
    memory_mib: int
    command: str = ""  # empty where it can't be known


@dataclass(frozen=True, slots=True)
class Card:
    """One card as it was when asked. What a sick or lost card did not tell is empty, 0 or None."""

    index: int  # in PCI bus order, as nvidia-smi counts
    uuid: str
    name: str
    memory_total_mib: int
    memory_used_mib: int
    processes: tuple[GpuProcess, ...] = ()
    state: CardState = "ok"
    mig: tuple[str, ...] = ()  # the ids of its MIG instances
    utilization_percent: int | None = None
    temperature_c: int | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """What a driver says of itself and of its cards."""

    cards: tuple[Card, ...]
    version: str = ""  # such as 550.54.14
    cuda: str = ""  # the newest CUDA that it knows, such as 12.4


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python, and the torch that it finds."""

    python: str = ""  # its version
    torch: str = ""  # empty where there is none
    cuda: str = ""  # what that torch was built for; empty for one without CUDA
    hip: str = ""
    sees_cards: bool = False
    said: str = ""  # a warning, or why torch can't be imported


@dataclass(frozen=True, slots=True)
class Disk:
    """What a folder lies on."""

    folder: str
    mount: str  # where it is mounted
    kind: str  # as the kernel calls it, such as ext4 or nfs4
    free_mib: int
    free_files: int | None  # None where the disk makes room for files as they come
    is_writable: bool

    @property
    def is_network(self) -> bool:
        return self.kind in NETWORK

    @property
    def is_for_one_host(self) -> bool:
        is_fuse = self.kind == "fuse" or self.kind.startswith("fuse.")
        return self.kind in _FOR_ONE_HOST or (is_fuse and not self.is_network)


@dataclass(frozen=True, slots=True)
class Limits:
    """What this process and its children may use; None: as much as there is."""

    open_files: int | None
    processes: int | None  # how many more
    memory_mib: int | None
    installed_mib: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """What two processes saw of each other through one folder. Delays are in seconds; None: longer than was waited."""

    host: str = ""  # of the other process; empty where both were of this one
    trouble: str = ""  # why it could not be found out, or was not to its end
    has_links: bool = True
    races: int = 0  # for a name, by link
    both_won: int = 0
    none_won: int = 0
    wrong_answers: int = 0  # a link that was made and called an error
    half_read: int = 0  # records that were there and not whole
    both_created: int = 0  # O_EXCL: files that both were told to have made
    rename: str = ""  # what it does otherwise than a disk must
    by_listing: float | None = None  # until a new name is seen by listing its folder
    by_name: float | None = None  # by asking for the name alone
    by_anew: float | None = None  # by asking for it after opening its folder
    by_content: float | None = None  # until a rewritten file is read as it is
    sync: float | None = None  # for one record; None: it is refused
    has_flock: bool = False
    clock: float = 0.0  # how far its times are ahead of this machine's clock
