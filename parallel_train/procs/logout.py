"""Whether systemd's logind would kill what we leave running when the user logs out, and what helps.

What logind does (its `session_stop_scope`): at the end of a session it kills what is left in the session's own
scope if its settings say so, lingering or not. What runs below the user's own `user@UID.service` is
stopped after the last session of a user who does not linger, whatever the settings say.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

_FOLDERS = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")  # the first wins
_SETTING = re.compile(r"(Kill\w+)\s*=\s*(.*)")
# A main file as distributions ship it tells the defaults that logind was built with in comments.
_DEFAULT = re.compile(r"^#KillUserProcesses=(\w+)\s*$", re.MULTILINE)
_TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})

_LINGER = "`loginctl enable-linger`"
_IN_SCOPE = (
    "this system kills what a login session leaves running (KillUserProcesses in logind.conf): "
    f"{_LINGER} once, and start it with `systemd-run --user --scope parallel-train …`"
)
_IN_SERVICE = f"this system stops what you run when you log out: {_LINGER} keeps it running"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the settings of logind say about the processes of a session that ends."""

    kills: bool = False  # every distribution in wide use is built so, though upstream is not
    only: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset({"root"})

    def concern(self, user: str) -> bool:
        if user in self.excluded:
            return False
        return user in self.only if self.only else self.kills


def kills_at_logout(root: str = "/") -> str:
    """Why what this process leaves running would die at logout, and the fix, as a part of a sentence; "" if it lives.

    `root` is where `etc`, `proc`, `run`, `usr` and `var` are.
    """
    user = _user()
    lingers = os.path.exists(os.path.join(root, "var/lib/systemd/linger", user))
    cgroup = _read(os.path.join(root, "proc/self/cgroup"))
    return judge(cgroup, user, settings=parse(*_texts(root)), lingers=lingers)


def judge(cgroup: str, user: str, *, settings: Settings, lingers: bool) -> str:
    """The same from what was read; `cgroup` is the text of /proc/self/cgroup."""
    units = {unit for line in cgroup.splitlines() for unit in line.split(":", 2)[-1].split("/")}
    if any(re.fullmatch(r"session-\w+\.scope", unit) for unit in units):
        return _IN_SCOPE if settings.concern(user) else ""
    if any(re.fullmatch(r"user@[0-9]+\.service", unit) for unit in units):
        return "" if lingers else _IN_SERVICE
    return ""  # a service, a container, a machine without logind


def parse(main: str, dropins: Sequence[str] = ()) -> Settings:
    """The settings from the texts of logind.conf and of its drop-ins, in the order in which they count."""
    built = Settings()
    default = _DEFAULT.search(main)
    kills = default[1] in _TRUE if default else built.kills
    users = {"KillOnlyUsers": built.only, "KillExcludeUsers": frozenset[str]()}
    told = [setting for text in (main, *dropins) for setting in _settings(text)]
    for key, value in told:
        if key == "KillUserProcesses":
            kills = value.lower() in _TRUE
        elif key in users:
            users[key] = users[key] | set(value.split()) if value else frozenset()  # an empty one starts over
    is_told = any(key == "KillExcludeUsers" for key, _ in told)
    return Settings(kills, users["KillOnlyUsers"], users["KillExcludeUsers"] if is_told else built.excluded)


def _settings(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        found = _SETTING.fullmatch(stripped)
        if found and section == "[Login]":
            yield found[1], found[2].strip()


def _texts(root: str) -> tuple[str, list[str]]:
    """The main file, and the drop-ins by name; of those with one name the one in the first folder counts."""
    folders = [os.path.join(root, folder) for folder in _FOLDERS]
    main = next((text for text in (_read(os.path.join(folder, "logind.conf")) for folder in folders) if text), "")
    dropins: dict[str, str] = {}
    for folder in reversed(folders):
        with suppress(OSError):
            for name in os.listdir(os.path.join(folder, "logind.conf.d")):
                dropins[name] = os.path.join(folder, "logind.conf.d", name)
    return main, [_read(dropins[name]) for name in sorted(dropins) if name.endswith(".conf")]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
