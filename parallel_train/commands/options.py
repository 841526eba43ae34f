"""What was typed for a run, as one frozen value: the command line ends here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunOptions:
    words: tuple[str, ...] = ()  # [FILE] [TASK|STAGE …] [NAME=VALUE …]
    file: str | None = None
    custom_tasks: bool = False
    only: tuple[str, ...] = ()
    failed: bool = False
    dry_run: bool = False
    as_json: bool = False
    again: bool = False  # -B, --no-skip-existing
    at_once: int = 0  # -j
    fail_fast: bool = False
    gpus: str = "auto"
    cpu_slots: int = 2
    data_root: str = "~/datasets/nlprompt/caltech-101"
    output_base: str = "output"
    trainer: str | None = None
    log_dir: str = "logs"
    check_interval: float = 10.0
    python: str | None = None
    directory: Path | None = None  # -C
