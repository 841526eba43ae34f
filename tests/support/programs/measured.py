"""parallel-train, with what it took: measured.py FILE [ARGUMENT]... leaves seconds of CPU and MiB, children's too."""

import atexit
import re
import resource
import sys
from pathlib import Path

from parallel_train.commands.app import main


def measure(file: Path) -> None:
    mine, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Not ru_maxrss: that counts the process that started this one, before its program was replaced.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    seconds = mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime
    file.write_text(f"{seconds} {max(peak, children.ru_maxrss) / 1024}")


atexit.register(measure, Path(sys.argv.pop(1)))
main()
