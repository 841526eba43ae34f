"""The keys of a task file -> templates: defaults put under each, and what no single key can say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from parallel_train.core.task import DoneWhen, Metric, is_ours, is_secret
from parallel_train.core.template import Findings, Matrix, Path, Template
from parallel_train.store.schema import DoneWhenKeys, Keys, MatrixKeys, MetricKeys, TemplateKeys

_BAD_VARIABLE = re.compile(r"[=\0]|^$")
Wrong = tuple[Path, str, str]


def build(given: Keys, findings: Findings) -> dict[int, Template]:
    """The templates by index; what is wrong with them goes to `findings`."""
    built: dict[int, Template] = {}
    for index, own in given.templates.items():
        if findings.are_many:
            break
        keys = _merged(given.defaults, own)
        wrong = list(_wrong(keys))
        for path, message, hint in wrong:
            findings.add(index, path, message, hint)
        can_run = keys.command is not None and not any(path[0] in {"command", "shell"} for path, _, _ in wrong)
        if index in given.sound and can_run:
            built[index] = _template(keys)
    return built


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


def _template(keys: TemplateKeys) -> Template:
    command = keys.command if isinstance(keys.command, str) else tuple(keys.command or ())
    seeds = range(1, keys.seeds + 1) if isinstance(keys.seeds, int) else keys.seeds
    return Template(
        command=command,
        name=keys.name,
        stage=keys.stage,
        params=keys.params,
        matrix=_matrix(keys.matrix),
        zipped=keys.zip,
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


def _done_when(keys: str | DoneWhenKeys | None) -> DoneWhen | None:
    if keys is None:
        return None
    return DoneWhen(_files(keys), None if isinstance(keys, str) else keys.contains)


def _files(keys: str | DoneWhenKeys | None) -> tuple[str, ...]:
    if keys is None or isinstance(keys, str):
        return () if keys is None else (keys,)
    return (keys.file,) if isinstance(keys.file, str) else tuple(keys.file) or ("",)
