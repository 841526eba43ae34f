"""The keys of a task file -> templates: defaults put under each, and what no single key can say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from parallel_train.core.space import Space, SpaceError
from parallel_train.core.task import DoneWhen, Metric, is_ours, is_secret
from parallel_train.core.template import Findings, Matrix, Path, Search, Template
from parallel_train.store import spacefile
from parallel_train.store.keys import DoneWhenKeys, MatrixKeys, MetricKeys, SearchKeys, TemplateKeys
from parallel_train.store.schema import Keys

_BAD_VARIABLE = re.compile(r"[=\0]|^$")
Wrong = tuple[Path, str, str]
# Without one of these, what else is said of a template may not be so.
_NEEDED = frozenset({"command", "shell", "search"})


def build(given: Keys, findings: Findings) -> dict[int, Template]:
    """The templates by index; what is wrong with them goes to `findings`."""
    built: dict[int, Template] = {}
    spaces = _Spaces()
    for index, own in given.templates.items():
        if findings.are_many:
            break
        keys = _merged(given.defaults, own)
        space, faults = spaces.of(keys.search)
        wrong = [*_wrong(keys), *faults]
        for path, message, hint in wrong:
            findings.add(index, path, message, hint)
        can_run = keys.command is not None and not any(path[0] in _NEEDED for path, _, _ in wrong)
        if index in given.sound and can_run:
            built[index] = _template(keys, space)
    return built


class _Spaces:
    """The search spaces of a file, each read once: `defaults` may give one to every template."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[Space | None, list[Wrong]]] = {}

    def of(self, keys: SearchKeys | None) -> tuple[Space | None, list[Wrong]]:
        """The space, or what is wrong with it."""
        if keys is None:
            return None, []
        if id(keys) not in self._read:
            self._read[id(keys)] = _space(keys)
        return self._read[id(keys)]


def _space(keys: SearchKeys) -> tuple[Space | None, list[Wrong]]:
    method = keys.method or ("grid" if keys.samples is None else "random")
    wrong: list[Wrong] = []
    if method == "random" and keys.samples is None:
        wrong.append((("search",), "a random search needs 'samples': how many points are drawn", ""))
    if method == "grid" and keys.samples is not None:
        wrong.append((("search", "samples"), "a grid takes every point, not 'samples'", "write 'method: random'"))
    try:
        return spacefile.read(keys.space), wrong
    except SpaceError as error:
        found = [(("search", "space", *map(_step, fault.keys)), fault.what, fault.repair) for fault in error.faults]
        return None, [*wrong, *found]


def _step(key: object) -> str | int:
    return key if isinstance(key, int) else str(key)


def _merged(defaults: TemplateKeys, own: TemplateKeys) -> TemplateKeys:
    if not defaults.model_fields_set:
        return own
    both = {name: getattr(own, name) for name in own.model_fields_set}
    # Params and variables add up; every other key is one value.
    for name in ("params", "env"):
        both[name] = {**getattr(defaults, name), **both.get(name, {})}
    return defaults.model_copy(update=both)


def _wrong(keys: TemplateKeys) -> Iterator[Wrong]:
    if keys.shell and isinstance(keys.command, list):
        yield ("shell",), "shell: true needs the command as one text, not a list", ""
    words = keys.command.strip() if isinstance(keys.command, str) else keys.command
    if words is not None and not (words and words[0]):
        yield ("command",), "the command is empty" if not words else "the command begins with an empty word", ""
    if keys.stage == "":
        yield ("stage",), "stage is empty", ""
    if "" in _files(keys.done_when):
        yield ("done_when",), "done_when names no file", ""
    if "" in keys.inputs:
        yield ("inputs",), "an input is empty", ""
    yield from _wrong_env(keys.env)
    yield from _wrong_metrics(_listed(keys.metrics))


def _wrong_env(env: Mapping[str, str]) -> Iterator[Wrong]:
    for name, value in env.items():
        if _BAD_VARIABLE.search(name):
            yield ("env", name), f"'{name}' can't be the name of a variable", ""
        if is_ours(name):
            hint = "'gpus:' says how many, --gpus says which" if name == "CUDA_VISIBLE_DEVICES" else ""
            yield ("env", name), f"{name} is set by parallel-train itself", hint
        if value == "secret:":
            yield ("env", name), f"{name} names no secret", f"write secret:{name}"
        if is_secret(name) and not value.startswith("secret:"):
            hint = f"write secret:{name}; the worker takes it from its own environment"
            yield ("env", name), f"a task file can't hold the value of {name}", hint


def _wrong_metrics(listed: Sequence[tuple[Path, MetricKeys]]) -> Iterator[Wrong]:
    seen: set[str] = set()
    for path, metric in listed:
        if not metric.name:
            yield (*path, "name"), "a metric's name is empty", ""
        elif metric.name in seen:
            yield (*path, "name"), f"two metrics are named '{metric.name}'", ""
        seen.add(metric.name)
        yield from _wrong_metric(path, metric)


def _wrong_metric(path: Path, metric: MetricKeys) -> Iterator[Wrong]:
    if metric.file is not None and metric.regex is not None:
        yield path, "a metric has a file or a regex, not both", ""
    if metric.regex is None:
        return
    try:
        groups = re.compile(metric.regex).groups
    except re.error as error:
        yield (*path, "regex"), f"the regex can't be read: {error.msg}", ""
    else:
        if not groups:
            yield (*path, "regex"), "the regex needs a group round the number", "for example: acc (\\S+)"


def _listed(metrics: MetricKeys | list[MetricKeys]) -> list[tuple[Path, MetricKeys]]:
    if isinstance(metrics, MetricKeys):
        return [(("metrics",), metrics)]
    return [(("metrics", index), metric) for index, metric in enumerate(metrics)]


def _template(keys: TemplateKeys, space: Space | None) -> Template:
    command = keys.command if isinstance(keys.command, str) else tuple(keys.command or ())
    seeds = range(1, keys.seeds + 1) if isinstance(keys.seeds, int) else keys.seeds
    return Template(
        command=command,
        name=keys.name,
        stage=keys.stage,
        params=keys.params,
        matrix=_matrix(keys.matrix),
        zipped=keys.zip,
        search=_search(keys.search, space),
        seeds=seeds,
        output=keys.output,
        done_when=_done_when(keys.done_when),
        metrics=tuple(Metric(m.name, m.mode, m.file, m.regex) for _, m in _listed(keys.metrics)),
        inputs=tuple(keys.inputs),
        needs=tuple(keys.needs),
        gpus=keys.gpus,
        env=keys.env,
        cwd=keys.cwd,
        timeout=keys.timeout,
        retries=keys.retries,
        priority=keys.priority,
        shell=keys.shell,
    )


def _matrix(keys: MatrixKeys | None) -> Matrix | None:
    return None if keys is None else Matrix(keys.__pydantic_extra__, keys.include, keys.exclude)


def _search(keys: SearchKeys | None, space: Space | None) -> Search | None:
    return None if keys is None or space is None else Search(space, keys.samples, keys.seed)


def _done_when(keys: str | DoneWhenKeys | None) -> DoneWhen | None:
    if keys is None:
        return None
    return DoneWhen(_files(keys), None if isinstance(keys, str) else keys.contains)


def _files(keys: str | DoneWhenKeys | None) -> tuple[str, ...]:
    if keys is None or isinstance(keys, str):
        return () if keys is None else (keys,)
    return (keys.file,) if isinstance(keys.file, str) else tuple(keys.file) or ("",)
