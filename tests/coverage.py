"""Is every branch of the rules taken by a test, and nearly every one of what writes the records?

    python -m tests.coverage [core | disk]

The launcher runs without site-packages, so a script stands in for it that measures it. The shims are forked from it
and go on measuring; they write what they saw when they end (`patch` in pyproject.toml).
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parent.parent
LAUNCHER = """\
import sys
sys.path += {path!r}
import coverage
measured = coverage.Coverage(config_file={config!r}, data_file={data!r})
measured.start()
try:
    from parallel_train.procs import launcher
    launcher.main()
finally:
    measured.stop()
    measured.save()
"""


@dataclass(frozen=True)
class Part:
    files: tuple[str, ...]
    bar: float  # percent of statements and branches, for each of the files
    tests: tuple[str, ...]


PARTS = {
    "core": Part(
        files=tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "parallel_train/core").glob("*.py"))),
        bar=100.0,
        # A branch is shown by a test that names it, not by a random history; what is about speed says nothing here.
        tests=(
            "tests/core",
            "--ignore=tests/core/test_history.py",
            "-k",
            "not costs_by and not cost_little and not is_quick",
        ),
    ),
    "disk": Part(
        files=(
            "parallel_train/store/queue.py",
            "parallel_train/store/presence.py",
            "parallel_train/store/records.py",
            "parallel_train/procs/shim.py",
        ),
        bar=95.0,
        tests=(
            *("tests/contract/test_queue.py", "tests/contract/test_runner.py", "tests/store/test_queue.py"),
            *("tests/store/test_presence.py", "tests/store/test_records.py", "tests/store/test_submissions.py"),
            *("tests/procs/test_aside.py", "tests/procs/test_beat.py", "tests/procs/test_shim.py"),
            *("tests/procs/test_shim_trouble.py", "tests/store/test_planted.py"),
            *("tests/commands/test_company.py", "tests/commands/test_damaged.py"),
        ),
    ),
}


def measure(parts: list[Part], scratch: Path) -> bool:
    """Run the tests; whether they pass and each file is at its bar."""
    config, data = str(ROOT / "pyproject.toml"), str(scratch / "data")
    measured = coverage.Coverage(config_file=config, data_file=data)
    measured.start()
    from parallel_train.procs import launcher  # noqa: PLC0415  what is measured is imported after its start

    stand_in = scratch / "launcher.py"
    path = [str(ROOT), str(Path(coverage.__file__).parent.parent)]
    stand_in.write_text(LAUNCHER.format(path=path, config=config, data=data))
    launcher.__file__ = str(stand_in)
    failed = [code for part in parts if (code := pytest.main(["-q", "-n", "0", *part.tests]))]
    measured.stop()
    measured.save()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a process that was given a full disk has left half a file
        measured.combine()
    measured.report(include=[file for part in parts for file in part.files], show_missing=True, skip_covered=True)
    under = [
        (f, part.bar) for part in parts for f in part.files if measured.report(include=f, file=io.StringIO()) < part.bar
    ]
    for file, bar in under:
        print(f"{file} is under {bar:g} %")
    return not failed and not under


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS)
    name = parser.parse_args().part
    chosen = [PARTS[name]] if name else list(PARTS.values())
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        sys.exit(not measure(chosen, Path(folder)))
