"""Does `gpus` tell who computes where, and what a run would take, and does it only look?"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from parallel_train.commands.gpus import gpus
from parallel_train.commands.watch import watch
from parallel_train.errors import UsageError
from parallel_train.procs import locks
from parallel_train.procs.gpus import Host, choose
from tests.commands.history import History, task
from tests.support.terminal import CTRL_C, Terminal

ALICE = {"pid": 2**22 + 1, "user": "alice", "memory_mib": 400, "command": "python train.py --lr 1"}


def card(index=0, **facts):
    plain = {"name": "Some Card", "memory_total_mib": 81920, "memory_used_mib": 2048}
    return {"index": index, "uuid": f"GPU-{index}", **plain, **facts}


class World:
    """A project, and the cards of a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cards.json"
        self.project = folder / "project"
        self.project.mkdir()

    @property
    def asked(self) -> str:
        return f"fake:{self.file}"

    def has(self, *cards: dict) -> None:
        self.file.write_text(json.dumps({"gpus": cards}))

    def shown(self, asked: str = "") -> str:
        out = io.StringIO()
        assert gpus(self.project, asked or self.asked, again=False, as_json=False, out=out) == 0
        return out.getvalue()

    def told(self, asked: str = "") -> dict:
        out = io.StringIO()
        assert gpus(self.project, asked or self.asked, again=False, as_json=True, out=out) == 0
        return json.loads(out.getvalue())

    @contextmanager
    def attempt(self, queue: Path, task: str, index: int = 0):
        """A living process of attempt 2 of `task`, which holds the slot of the card `index`; its pid."""
        choice = choose(self.asked, Host("/nowhere", lambda _: True))
        (name,) = [device.lock for device in choice.devices if device.label == str(index)]
        cookie = f"{task}.2.{os.getpid()}.1.boot"
        held = locks.take(name)
        locks.sign(held, {"queue": str(queue), "task": task, "attempt": 2, "cookie": cookie})
        environ = {**os.environ, "PARALLEL_TRAIN_COOKIE": cookie}
        command = [sys.executable, "-ISc", "import sys; print(1, flush=True); sys.stdin.read()"]
        with subprocess.Popen(command, env=environ, stdin=-1, stdout=-1) as process:
            process.stdout.readline()  # from here on its environment can be read
            try:
                yield process.pid
            finally:
                process.kill()
                os.close(held)
                (Path(locks.place()) / name).unlink()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


class TestCards:
    def test_use_memory_temperature_and_whose_process(self, world):
        world.has(card(0, utilization_percent=97, temperature_c=71), card(1, processes=[ALICE]))
        shown = [line.split("\t") for line in world.shown().splitlines()]
        assert shown == [
            ["GPU", "name", "use", "memory", "temp", "taken"],
            ["0", "Some Card", "97%", "2.0/80.0 GiB", "71 C", "yes"],
            ["1", "Some Card", "", "2.0/80.0 GiB", "", f"no: alice computes on it (pid {ALICE['pid']}, 400 MiB)"],
            [""],
            ["GPU", "pid", "memory", "user", "what"],
            ["1", str(ALICE["pid"]), "400 MiB", "alice", "python train.py --lr 1"],
            [""],
            [f"--gpus {world.asked} would take GPU 0"],
        ]

    def test_a_lost_card_is_shown_with_the_reason(self, world):
        world.has(card(0), card(1, state="gone"))
        assert "no: it is gone (the driver has lost it)" in world.shown()

    def test_where_none_is_free_that_is_an_answer_too(self, world):
        world.has(card(0, processes=[ALICE]))
        assert (
            f"--gpus {world.asked} would not start a run: no GPU is free (to share one, name it: --gpus 0;"
            in world.shown()
        )
        told = world.told()
        assert (told["takes"], told["gpus"][0]["taken"]) == ([], False)
        assert told["refusal"].startswith("no GPU is free (to share")

    def test_what_a_command_is_called_can_not_write_on_the_screen(self, world):
        world.has(card(0, processes=[{**ALICE, "command": "\x1b[2Jpython\ntrain.py"}]))
        assert "\tpython train.py\n" in world.shown()

    def test_an_encoding_without_such_characters_gets_them_spelt_out(self, world):
        world.has(card(0, name="Karte \u00e9"))
        command = [sys.executable, "-m", "parallel_train", "gpus", "--gpus", world.asked]
        environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(command, cwd=world.project, env=environ, capture_output=True, text=True, check=True)
        assert "Karte \\xe9" in done.stdout

    def test_cards_that_can_not_be_known_are_an_error(self, world):
        world.file.write_text("{")
        with pytest.raises(UsageError, match=r"cards\.json:1:2"):
            world.shown()

    def test_the_json_keeps_its_shape(self, world):
        world.has(card(0, utilization_percent=97, temperature_c=71), card(1, uuid="", processes=[ALICE], state="sick"))
        told = world.told()
        assert (told["asked"], told["takes"], told["notes"], told["refusal"]) == (world.asked, ["0"], [], None)
        assert told["gpus"][0] == {
            "index": 0,
            "uuid": "GPU-0",
            "name": "Some Card",
            "state": "ok",
            "utilization_percent": 97,
            "memory_used_mib": 2048,
            "memory_total_mib": 81920,
            "temperature_c": 71,
            "mig": [],
            "taken": True,
            "left_out": None,
            "held_by": None,
            "processes": [],
        }
        assert {key: told["gpus"][1][key] for key in ("uuid", "state", "left_out", "processes")} == {
            "uuid": None,
            "state": "sick",
            "left_out": "it is sick (the driver answers with an error for it)",
            "processes": [{**ALICE, "attempt": None}],
        }


class TestAttempts:
    def test_ours_has_its_name_and_its_card_stays_ours(self, world):
        world.has(card(0))
        history = History(world.project)
        (made,) = history.submit(task("resnet"))
        with world.attempt(history.queue, made.id) as pid:
            world.has(card(0, processes=[{**ALICE, "pid": pid}]))
            shown = world.shown()
            told = world.told()["gpus"][0]
        assert "\tyes, once resnet (#1, attempt 2) has ended\n" in shown
        assert "\talice\tresnet (#1, attempt 2)\n" in shown
        named = {"queue": str(world.project), "id": made.id, "name": "resnet", "number": 1, "attempt": 2}
        assert (told["held_by"], told["processes"][0]["attempt"]) == (named, named)

    def test_that_of_another_queue_is_said_to_be_there(self, world, tmp_path):
        world.has(card(0))
        (tmp_path / "other").mkdir()
        history = History(tmp_path / "other")
        (made,) = history.submit(task("resnet"))
        with world.attempt(history.queue, made.id) as pid:
            world.has(card(0, processes=[{**ALICE, "pid": pid}]))
            assert f"resnet (#1, attempt 2) in {tmp_path / 'other'}" in world.shown()

    def test_where_its_queue_was_removed_its_id_is_left(self, world, tmp_path):
        world.has(card(0))
        with world.attempt(tmp_path / "gone" / ".parallel-train", "0f0f") as pid:
            world.has(card(0, processes=[{**ALICE, "pid": pid}]))
            assert f"\t0f0f (attempt 2) in {tmp_path / 'gone'}\n" in world.shown()

    def test_a_slot_whose_holder_has_died_is_free(self, world, tmp_path):
        world.has(card(0))
        with world.attempt(tmp_path, "0f0f"):
            (name,) = [device.lock for device in choose(world.asked, Host("/nowhere", lambda _: True)).devices]
            left = (Path(locks.place()) / name).read_bytes()
        (Path(locks.place()) / name).write_bytes(left)
        try:
            assert "\tyes\n" in world.shown()
        finally:
            (Path(locks.place()) / name).unlink()


class TestWithoutCards:
    def test_says_so_and_what_a_run_would_use(self, world):
        world.has()
        assert world.shown().startswith("no GPU here: ")
        assert world.told()["takes"][0] == "cpu0"

    @pytest.mark.parametrize(("asked", "takes"), [("cpu:2", "CPU 0-1"), ("fake:3", "GPU 0-2")])
    def test_slots_without_cards(self, world, asked, takes):
        assert world.shown(asked) == f"--gpus {asked} would take {takes}\n"

    def test_looking_writes_nothing(self, world):
        world.has(card(0, processes=[ALICE]))
        world.shown()
        assert list(world.project.iterdir()) == []


class TestNvidiaSmi:
    @pytest.fixture
    def smi(self, tmp_path, monkeypatch):
        """An nvidia-smi on PATH, on a machine where NVML knows of no driver."""
        program = tmp_path / "nvidia-smi"
        program.write_text(
            "#!/bin/sh\ncase $1 in --query-gpu=*) echo '0, GPU-abc, A Card, 9000, 5, 1, 30, 550';; esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    @pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="here NVML answers")
    @pytest.mark.parametrize("asked", ["auto", "0", "GPU-abc"])
    def test_stands_in_for_nvml(self, world, smi, asked):
        told = world.told(asked)
        assert (told["gpus"][0]["uuid"], told["takes"]) == ("GPU-abc", ["0"])


class TestWatch:
    @pytest.fixture
    def looks(self, world):
        """Watch for as many waits as there are actions, the last of which is Ctrl-C."""

        def run(*actions, as_json=False):
            out = io.StringIO()
            pending = iter(actions)

            def wait(_seconds):
                action = next(pending, None)
                if action is None:
                    raise KeyboardInterrupt
                action()

            def look():
                return [world.told() and json.dumps(world.told())] if as_json else world.shown().splitlines()

            assert watch(look, out, as_json=as_json, wait=wait) == 0
            return out.getvalue()

        return run

    def test_a_pipe_gets_sheet_after_sheet(self, world, looks):
        world.has(card(0, temperature_c=50))
        seen = looks(lambda: world.has(card(0, temperature_c=60)))
        assert seen.index("50 C") < seen.index("60 C")

    def test_what_fails_later_is_shown_and_tried_again(self, world, looks):
        world.has(card(0))
        seen = looks(lambda: world.file.write_text("{"), lambda: world.has(card(0, name="Again")))
        assert seen.index("cards.json:1:2") < seen.index("Again")

    def test_what_fails_at_once_is_an_error(self, world, looks):
        with pytest.raises(UsageError, match="No such file"):
            looks()

    def test_json_is_a_line_for_each_look(self, world, looks):
        world.has(card(0))
        lines = looks(lambda: world.file.write_text("{"), as_json=True).splitlines()
        assert [sorted(json.loads(line)) for line in lines] == [
            ["asked", "gpus", "notes", "refusal", "takes"],
            ["error"],
        ]

    def test_on_a_terminal_it_draws_in_place_and_ctrl_c_leaves_it_with_the_last_picture(self, world):
        world.has(card(0, name="First"))
        command = [sys.executable, "-m", "parallel_train", "gpus", "-w", "--gpus", world.asked]
        terminal = Terminal(command, world.project, os.environ)
        try:
            terminal.until("First")
            world.has(card(0, name="Second"))
            terminal.until("Second")
            terminal.type(CTRL_C)
            assert terminal.process.wait(20) == 0
            terminal.until("Second", times=2)
        finally:
            terminal.process.kill()
            terminal.hang_up()
        left = terminal.raw.rindex("\x1b[?1049l")  # the screen of its own
        assert "\x1b[?1049h" in terminal.raw[:left]
        assert "Second" in terminal.raw[left:]

    def test_term_gives_the_terminal_back(self, world):
        world.has(card(0, name="First"))
        command = [sys.executable, "-m", "parallel_train", "gpus", "-w", "--gpus", world.asked]
        terminal = Terminal(command, world.project, os.environ)
        try:
            terminal.until("First")
            terminal.process.send_signal(signal.SIGTERM)
            assert terminal.process.wait(20) == 143
            assert "\x1b[?1049l" in terminal.raw
        finally:
            terminal.process.kill()
            terminal.hang_up()
