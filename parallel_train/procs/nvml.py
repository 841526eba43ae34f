"""Run by path as a child: prints what NVML says of the cards, as one line of JSON.

Arguments: the folder that holds pynvml.py, and the seconds the parent waits. It prints `{"cards": [...], "version":
..., "cuda": ...}`, `{"none": why}` where there is no driver, or `{"error": what}`. Standard library only.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import sys
from types import ModuleType
from typing import Any

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from parallel_train.procs.owners import process_facts

_MIB = 1024 * 1024


def main(binding: str, limit: float) -> None:
    """Ask, and print the answer."""
    # Whoever asks kills us in time; should it be dead itself, a hung query still ends.
    signal.alarm(math.ceil(limit) + 5)
    sys.path.insert(0, binding)
    print(json.dumps(answer(importlib.import_module("pynvml"))))  # noqa: T201 - its output is what it is for


def answer(nvml: ModuleType) -> dict[str, Any]:
    """What NVML says, as the parent reads it."""
    nothing = (
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        nvml.NVML_ERROR_DRIVER_NOT_LOADED,
        getattr(nvml, "NVML_ERROR_GPU_NOT_FOUND", 28),  # absent from nvidia-ml-py 12
    )
    try:
        nvml.nvmlInit()
        cuda = _or_none(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)
        return {
            "cards": _cards(nvml),
            "version": _or_none(nvml, nvml.nvmlSystemGetDriverVersion) or "",
            "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        }
    except nvml.NVMLError as error:
        return {"none" if error.value in nothing else "error": str(error)}


def _cards(nvml: ModuleType) -> list[dict[str, Any]]:
    found = (_card(nvml, place) for place in range(nvml.nvmlDeviceGetCount()))
    # CUDA counts without the cards that are kept from us.
    return [{**card, "index": index} for index, card in enumerate(card for card in found if card is not None)]


def _card(nvml: ModuleType, place: int) -> dict[str, Any] | None:
    """What can be known of one card; None where our cgroup hides it, so that it is not ours to use."""
    card: dict[str, Any] = {"uuid": "", "name": "", "processes": [], "state": "ok", "mig": []}
    card.update(memory_total_mib=0, memory_used_mib=0, utilization_percent=None, temperature_c=None)
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(place)
        card["uuid"] = nvml.nvmlDeviceGetUUID(handle)
        card["name"] = nvml.nvmlDeviceGetName(handle)
        # Cards that share the host's memory have none of their own to tell of.
        memory = _unless_refused(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        if memory is not None:
            card["memory_total_mib"] = memory.total // _MIB
            card["memory_used_mib"] = memory.used // _MIB
        card["processes"] = _processes(nvml, handle)
        card["mig"] = _mig(nvml, handle)
        use = _or_none(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        card["utilization_percent"] = None if use is None else use.gpu
        card["temperature_c"] = _or_none(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
    except nvml.NVMLError as error:
        if error.value == nvml.NVML_ERROR_NO_PERMISSION:
            return None
        card["state"] = "gone" if error.value == nvml.NVML_ERROR_GPU_IS_LOST else "sick"
    return card


def _unless_refused(nvml: ModuleType, ask: Any, *arguments: Any) -> Any:
    """What NVML answers, or None where this card or this driver does not offer it."""
    refusals = (
        nvml.NVML_ERROR_NOT_SUPPORTED,
        nvml.NVML_ERROR_NO_PERMISSION,
        nvml.NVML_ERROR_NOT_FOUND,
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    )
    try:
        return ask(*arguments)
    except nvml.NVMLError as error:
        if error.value not in refusals:
            raise
        return None


def _or_none(nvml: ModuleType, ask: Any, *arguments: Any) -> Any:
    """What NVML answers, or None: for what is good to know, and no reason to call a card sick."""
    try:
        return ask(*arguments)
    except nvml.NVMLError:
        return None


def _processes(nvml: ModuleType, handle: Any) -> list[dict[str, Any]]:
    """Those that compute. Those that only draw (a desktop) don't make a card taken."""
    found = _unless_refused(nvml, nvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
    older = getattr(nvml, "nvmlDeviceGetComputeRunningProcesses_v2", None)  # absent from nvidia-ml-py 12
    if found is None and older is not None:  # drivers before 510
        found = _unless_refused(nvml, older, handle)
    return [process_facts(process.pid, (process.usedGpuMemory or 0) // _MIB) for process in found or []]


def _mig(nvml: ModuleType, handle: Any) -> list[str]:
    mode = _unless_refused(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is None or not mode[0]:
        return []
    places = range(_unless_refused(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    parts = [_unless_refused(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place) for place in places]
    return [nvml.nvmlDeviceGetUUID(part) for part in parts if part is not None]


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
