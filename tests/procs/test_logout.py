"""Is it known whether what we leave running would die at logout?"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from parallel_train.procs.logout import Settings, judge, kills_at_logout, parse

US = pwd.getpwuid(os.getuid()).pw_name
IN_SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
IN_SESSION_V1 = "4:memory:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-c2.scope\n"
IN_SERVICE = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope\n"
NOWHERE = ("0::/\n", "0::/system.slice/ssh.service\n", "0::/system.slice/docker-abc.scope\n", "")
AS_SHIPPED = "[Login]\n#KillUserProcesses=no\n#KillExcludeUsers=root\n"


class TestJudge:
    @pytest.mark.parametrize("cgroup", [IN_SESSION, IN_SESSION_V1])
    @pytest.mark.parametrize("lingers", [False, True])
    def test_a_session_is_killed_where_the_settings_say_so_lingering_or_not(self, cgroup, lingers):
        said = judge(cgroup, "ann", settings=Settings(kills=True), lingers=lingers)
        assert "loginctl enable-linger" in said
        assert "systemd-run --user --scope" in said
        assert judge(cgroup, "ann", settings=Settings(), lingers=lingers) == ""

    def test_what_the_users_own_service_runs_ends_unless_the_user_lingers(self):
        assert "loginctl enable-linger" in judge(IN_SERVICE, "ann", settings=Settings(), lingers=False)
        assert judge(IN_SERVICE, "ann", settings=Settings(kills=True), lingers=True) == ""

    @pytest.mark.parametrize("cgroup", NOWHERE)
    def test_outside_of_sessions_nothing_is_killed(self, cgroup):
        assert judge(cgroup, "ann", settings=Settings(kills=True), lingers=False) == ""


class TestParse:
    @pytest.mark.parametrize("yes", ["yes", "1", "true", "on", "YES"])
    def test_a_setting_in_force(self, yes):
        assert parse(f"[Login]\nKillUserProcesses = {yes}\n").kills

    @pytest.mark.parametrize("text", ["", AS_SHIPPED, "[Other]\nKillUserProcesses=yes\n", "KillUserProcesses=yes\n"])
    def test_no_setting_in_force(self, text):
        assert parse(text) == Settings()

    def test_a_comment_in_the_main_file_tells_how_logind_was_built(self):
        assert parse("[Login]\n#KillUserProcesses=yes\n").kills
        assert not parse("", ["[Login]\n#KillUserProcesses=yes\n"]).kills

    def test_the_last_dropin_wins(self):
        on, off = "[Login]\nKillUserProcesses=yes\n", "[Login]\nKillUserProcesses=no\n"
        assert parse(off, [on]).kills
        assert not parse(on, [on, off]).kills

    def test_whom_it_concerns(self):
        only = parse("[Login]\nKillOnlyUsers=ann bob\n", ["[Login]\nKillExcludeUsers=bob\n"])
        assert [user for user in ("ann", "bob", "eve") if only.concern(user)] == ["ann"]
        everybody = parse("[Login]\nKillUserProcesses=yes\n")
        assert [user for user in ("ann", "root") if everybody.concern(user)] == ["ann"]

    def test_an_empty_list_starts_over(self):
        found = parse("[Login]\nKillOnlyUsers=ann\n", ["[Login]\nKillOnlyUsers=\nKillOnlyUsers=bob\n"])
        assert found.only == {"bob"}


class TestMachine:
    """The same from files in a folder."""

    @pytest.fixture
    def root(self, tmp_path):
        self.write(tmp_path, "proc/self/cgroup", IN_SESSION)
        return tmp_path

    @staticmethod
    def write(root: Path, name: str, text: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    def says(self, root: Path) -> bool:
        return kills_at_logout(str(root)) != ""

    KILL = f"[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\nKillOnlyUsers={US}\n"

    def test_without_any_settings_it_lives(self, root):
        assert not self.says(root)

    @pytest.mark.parametrize("folder", ["etc/systemd", "run/systemd", "usr/lib/systemd"])
    def test_the_main_file_and_dropins_are_read(self, root, folder):
        self.write(root, f"{folder}/logind.conf.d/50-kill.conf", self.KILL)
        assert self.says(root)
        self.write(root, f"{folder}/logind.conf.d/50-kill.conf", "")
        assert not self.says(root)
        self.write(root, f"{folder}/logind.conf", self.KILL)
        assert self.says(root)

    def test_the_administrators_files_hide_those_of_the_distribution(self, root):
        self.write(root, "usr/lib/systemd/logind.conf", self.KILL)
        self.write(root, "usr/lib/systemd/logind.conf.d/a.conf", self.KILL)
        self.write(root, "etc/systemd/logind.conf", AS_SHIPPED)
        self.write(root, "etc/systemd/logind.conf.d/a.conf", "[Login]\n")
        assert not self.says(root)

    def test_other_files_beside_dropins_do_not_count(self, root):
        self.write(root, "etc/systemd/logind.conf.d/kill.conf.bak", self.KILL)
        assert not self.says(root)

    def test_a_user_who_lingers(self, root):
        self.write(root, "proc/self/cgroup", IN_SERVICE)
        assert self.says(root)
        self.write(root, f"var/lib/systemd/linger/{US}", "")
        assert not self.says(root)

    def test_this_machine_can_be_asked(self):
        assert isinstance(kills_at_logout(), str)
