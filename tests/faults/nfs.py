"""nfs: the product on two real machines (emulated ones) that share a folder by the Linux kernel's NFS 4.2.

They try the disk together, work on one queue while their schedulers are killed, and one loses its power. It needs
root and Debian's qemu-system-x86, linux-image-cloud-amd64, busybox-static, cpio, nfs-ganesha and nfs-ganesha-vfs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import parallel_train
from tests.faults import checker
from tests.faults.frame import Piece, Plan, Verdict

LAB = Path(__file__).parent / "nfslab"
PACKAGES = (
    *("typer", "annotated_doc", "rich", "shellingham", "markdown_it", "mdurl", "pygments", "pydantic", "pydantic_core"),
    *("annotated_types", "typing_extensions", "typing_inspection", "yaml", "_yaml", "psutil", "pynvml"),
)
PROGRAMS = ("qemu-system-x86_64", "busybox", "cpio", "ganesha.nfsd", "ip", "ldd")
SECOND = 1.5  # the machines' clocks are no better


def run(plan: Plan) -> Verdict:
    return plan.in_pieces(one_lab, smoke=1, full=1)


def one_lab(piece: Piece) -> None:
    why = missing()
    if why:
        piece.count(skipped=1)
        print(f"  skipped: {why}")
        return
    shared = piece.folder / "shared"
    tasks = prepare(piece, shared)
    subprocess.run([LAB / "build.sh", piece.folder, python(), *packages()], check=True)
    lab = [str(LAB / "lab.sh"), str(piece.folder)]
    try:
        subprocess.run([*lab, "up", str(LAB / "ganesha.conf")], check=True, timeout=60)
        subprocess.run([*lab, "machines", "vers=4.2"], check=False, timeout=1800 if piece.is_full else 900)
    finally:
        subprocess.run([*lab, "down"], check=False, timeout=60)
    judge(piece, shared, tasks)


def missing() -> str:
    """Why it can't be done here."""
    if os.getuid() != 0:
        return "needs root"
    gone = [program for program in PROGRAMS if shutil.which(program) is None]
    if gone:
        return f"needs {', '.join(gone)}"
    if not list(Path("/boot").glob("vmlinuz-*cloud*")):
        return "needs Debian's cloud kernel"
    found = python()
    return "" if Path("/usr/bin", found).exists() else f"needs the system's {found}"


def python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def packages() -> list[str]:
    found = [str(Path(parallel_train.__file__).parent)]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin)
            found.append(str(path.parent if path.name == "__init__.py" else path))
    return found


def prepare(piece: Piece, shared: Path) -> list[str]:
    """The project on the shared folder; the names of its tasks."""
    project = shared / "project"
    for folder in (project / "tasks", project / "effects", shared / "check", shared / "said"):
        folder.mkdir(parents=True)
    shutil.copy(LAB / "part.py", shared)
    shutil.copy(LAB / "task.sh", shared)
    number = 200 if piece.is_full else 40
    lengths = {f"t{n}": round(piece.chance.uniform(0.2, 4.0), 1) for n in range(number)}
    tasks = [
        {
            "name": name,
            "command": ["/bin/sh", "/mnt/task.sh", "/mnt/project/effects", name, str(seconds), "{output}"],
            "output": f"output/{name}",
        }
        for name, seconds in lengths.items()
    ]
    (project / "tasks" / "default.yaml").write_text(json.dumps({"tasks": tasks}))
    plan = {
        "seed": piece.seed,
        "lease": 30,
        "kills": number // 10,
        "between": 6,  # so many tasks begin between two kills, on the average
        "power": number * 0.6,  # after so many
        "limit": 1200 if piece.is_full else 600,
    }
    (shared / "plan.json").write_text(json.dumps(plan))
    return list(lengths)


def judge(piece: Piece, shared: Path, tasks: list[str]) -> None:
    said = {path.name: json.loads(path.read_text()) for path in (shared / "said").glob("[dw]*.[12]")}
    for number in (1, 2):
        told = said.get(f"doctor.{number}")
        if told is None:
            piece.fault(f"machine {number} did not try the disk: see vm{number}.log")
        elif told["code"] != 0:
            piece.fault(f"machine {number} finds the disk unfit: {told['out'] or told['err']}")
        else:
            found = {check["about"]: check["text"] for check in json.loads(told["out"])["checks"]}
            print(f"  machine {number}: {found['hosts']}; {found['links']}; {found['delay']}")
            piece.count(met=int("together" in found["hosts"]))
    history = checker.history(shared / "project" / checker.QUEUE)
    expected = checker.Expected(codes=dict.fromkeys(tasks, 0))
    piece.fault(*(f"the record {path} is damaged" for path in history.unreadable))
    piece.fault(*checker._chain(history, expected), *checker._misplaced(history), *checker._endings(history, expected))
    piece.fault(*effects(shared / "project" / "effects"))
    lost = sum("lost" in end["outcome"] for end in history.ends.values())
    hosts = {claim["owner"]["host"] for claim in history.claims.values()}
    kills = sum(int(told.get("kills", 0)) for name, told in said.items() if name.startswith("worked"))
    piece.count(tasks=len(history.names), claims=len(history.claims), lost=lost, hosts=len(hosts), kills=kills)
    expired = sum(end["outcome"].get("lost") == "expired" for end in history.ends.values())
    piece.count(taken_over=expired, power_cuts=1)


def effects(folder: Path) -> list[str]:
    """What the tasks said: whether two attempts of one ran at a time, by clocks that differ by little."""
    spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for path in folder.iterdir():
        lines = [line.split() for line in path.read_text().splitlines()]
        if not lines:
            continue
        began = float(lines[0][2])
        ended = float(lines[1][2]) if len(lines) > 1 else began
        spans[path.name.split(".")[0]].append((began, ended, path.name))
    found: list[str] = []
    for attempts in spans.values():
        for one, other in combinations(sorted(attempts), 2):
            if other[0] + SECOND < one[1]:
                found.append(f"{one[2]} and {other[2]} ran at once")
    return found
