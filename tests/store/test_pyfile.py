"""Does a Python task file give its tasks, and can nothing in it harm the one who reads it?"""

import operator
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_train.errors import TaskFileError, UsageError
from parallel_train.store import pyfile
from parallel_train.store.taskfile import LoadSettings, load
from tests.support.wait import wait_until

GUIDE = Path(__file__).parent / "guide"
BUNDLED = Path(__file__).parents[2] / "tasks/nlprompt_caltech101.yaml"


@pytest.fixture
def read(tmp_path):
    def read(text, **settings):
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "tasks/custom.py").write_text(text)
        return load(Path("tasks/custom.py"), LoadSettings(tmp_path, **settings))

    return read


def fault_of(read, text, **settings):
    with pytest.raises(TaskFileError) as caught:
        read(text, **settings)
    (fault,) = caught.value.faults
    assert fault.file == "tasks/custom.py"
    return fault


@pytest.mark.parametrize(("name", "count"), [("datasets", 3), ("seeds", 12), ("architecture", 1)])
def test_the_guides_examples(tmp_path, name, count):
    file = load(GUIDE / f"{name}.py", LoadSettings(tmp_path))
    assert len(file.tasks) == count
    assert file.notes == ()


def test_a_config_is_the_command_of_the_guide(read):
    task = read("""\
def get_default_tasks():
    return [TaskConfig(dataset="caltech101", noise_rate=0.5, noise_type="sym", num_classes=100, seed=2)]
""").tasks[0]
    output = "output/caltech101/NLPrompt/rn50_16shots/noise_sym_0.50/seed2"
    assert task.name == "caltech101_sym_0.5_seed2"
    assert task.output == output
    assert " ".join(task.command) == (
        "\0python\0 train.py --root \0data_root\0 --seed 2 --trainer NLPrompt"
        " --dataset-config-file configs/datasets/caltech101.yaml"
        " --config-file configs/trainers/NLPrompt/rn50.yaml --output-dir " + output + " DATASET.NUM_SHOTS 16"
        " DATASET.NOISE_RATE 0.5 DATASET.NOISE_TYPE sym DATASET.num_class 100"
    )
    assert task.done_when.contains == "Finish training"
    assert task.done_when.files[0] == f"{output}/log.txt*"
    assert "output/caltech101/NLPrompt/rn50_16shots/noise_sym_0.5/seed2/log.txt*" in task.done_when.files
    assert task.params["noise_rate"] == 0.5


CONFIG = "def tasks():\n    return [TaskConfig('d', 16, {rate}, 'sym', 10, seed={seed})]\n"


def test_options_reach_a_config(read):
    settings = {"trainer": "ce", "output_base": "runs", "overrides": {"noise_rate": "1"}}
    (task,) = read(CONFIG.format(rate=0.5, seed=1), **settings).tasks
    assert task.output == "runs/d/ce/rn50_16shots/noise_sym_1/seed1"
    assert "1.0" in task.command
    with pytest.raises(UsageError, match="noise_rate must be a number"):
        read(CONFIG.format(rate=0.5, seed=1), overrides={"noise_rate": "much"})


def test_seed_zero_is_noted(read):
    (note,) = read(CONFIG.format(rate=0.5, seed=0)).notes
    assert "unseeded" in note


def test_they_are_the_tasks_of_the_bundled_list(read, tmp_path):
    """What one list has done, the other skips."""
    rates = "(0.125, 0.25, 0.375, 0.5, 0.625, 0.75)"
    made = read(
        "def tasks():\n"
        f"    return [TaskConfig('caltech101', 16, r, t, 100) for t in ('sym', 'asym') for r in {rates}]\n"
    ).tasks
    bundled = load(BUNDLED, LoadSettings(tmp_path)).tasks
    same = operator.attrgetter("id", "identity", "name", "command", "output", "metrics")
    assert list(map(same, made)) == list(map(same, bundled))


# The class of somebody's own scheduler.
THEIRS = """\
class TaskConfig:
    def __init__(self, dataset, shots, noise_rate, noise_type, num_classes, **more):
        vars(self).update(dataset=dataset, shots=shots, noise_rate=noise_rate, noise_type=noise_type,
                          num_classes=num_classes, **more)

def get_default_tasks(trainer="NLPrompt"):
    return [TaskConfig("d", 4, 0.25, "sym", 10, trainer=trainer{more})]
"""


def test_a_class_of_the_users_own_will_do(read):
    (task,) = read(THEIRS.format(more="")).tasks
    assert task.output == "output/d/NLPrompt/rn50_4shots/noise_sym_0.25/seed1"


def test_what_our_command_would_lose_is_refused(read):
    fault = fault_of(read, THEIRS.format(more=", epochs=5"))
    assert "its TaskConfig has 'epochs' besides dataset, shots," in fault.message
    assert fault.line == 6


def test_a_parallel_train_of_the_projects_own_is_not_taken_for_ours(read, tmp_path):
    (tmp_path / "tasks").mkdir()
    for folder in (tmp_path, tmp_path / "tasks"):
        (folder / "parallel_train.py").write_text("TaskConfig = None")
    text = "from parallel_train import TaskConfig\n" + CONFIG.format(rate=0.5, seed=1)
    assert len(read(text).tasks) == 1


def test_two_rates_of_one_folder_are_refused(read):
    fault = fault_of(
        read,
        "def tasks():\n    return [TaskConfig('d', 16, r, 'sym', 10) for r in (0.1234, 0.12349)]\n",
    )
    assert "'d_sym_0.1234_seed1' and 'd_sym_0.12349_seed1' have the same output" in fault.message


def test_dicts_have_the_keys_of_a_template(read):
    file = read("""\
import pathlib
print("user prints", flush=True)
def tasks():
    yield {"command": ["train", pathlib.Path("x"), 1e-3, "{seed}"], "seeds": 2}
""")
    assert [task.command for task in file.tasks] == [("train", "x", "0.001", seed) for seed in "12"]


def test_it_imports_its_neighbours_and_the_project(read, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/beside.py").write_text("NAME = 'a'")
    (tmp_path / "above.py").write_text("NAME = 'b'")
    text = "import above, beside\ndef tasks():\n    return [{'command': [above.NAME, beside.NAME]}]\n"
    assert read(text).tasks[0].command == ("b", "a")
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = (\n", 1, "SyntaxError"),
        ("import nowhere_to_be_found\n", 1, "ModuleNotFoundError"),
        (
            "def tasks():\n    return make()\n\ndef make():\n    return 1 / 0\n",
            5,
            "ZeroDivisionError: division by zero",
        ),
        ("import json\ndef tasks():\n    return json.loads('x')\n", 3, "JSONDecodeError"),
        ("\n\ndef tasks():\n    return [TaskConfig('d')]\n", 4, "needs noise_rate, noise_type, num_classes"),
        ("def tasks():\n    raise SystemExit(3)\n", 1, "it ended (exit code 3) before"),
        ("import os\ndef tasks():\n    os.kill(os.getpid(), 9)\n", 1, "it ended (signal 9) before"),
        ("TASKS = []\n", 1, "offers neither tasks() nor get_default_tasks()"),
        ("\ndef tasks():\n    return 5\n", 2, "tasks() must return a list"),
        ("def tasks():\n    return [1]\n", 1, "task 1 of the list is of the type int"),
        ("def tasks():\n    return [{'command': object}]\n", 1, "can't stand in a task"),
        ("def tasks():\n    return [{'command': 'a\\0'}]\n", 1, "NUL"),
        ("def tasks():\n    return [{'comand': 'a'}]\n", 1, "task 1 of the list: unknown key 'comand'"),
        ("def tasks():\n    return []\n", 1, "tasks must be a list with at least one task"),
        (
            "def tasks():\n    a = []\n    a.append(a)\n    return [{'command': 'x', 'params': {'a': a}}]\n",
            1,
            "Circular",
        ),
    ],
)
def test_what_goes_wrong_is_said_at_the_users_own_line(read, text, line, words):
    fault = fault_of(read, text)
    assert words in fault.message
    assert fault.line == line
    assert "Traceback" not in str(fault)


def test_a_file_that_never_ends_is_stopped_with_all_that_it_started(read, monkeypatch, tmp_path):
    monkeypatch.setattr(pyfile, "TIME_LIMIT", 1.0)
    start = "subprocess.Popen(['sleep', '60']).pid"
    text = f"import subprocess\nopen('pid', 'w').write(str({start}))\nwhile True: pass\n"
    fault = fault_of(read, text)
    assert "within 1 seconds" in fault.message
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not _lives(pid), "what it started is gone")


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_it_reads_no_standard_input(read):
    assert "EOFError" in fault_of(read, "input()\n").message


def test_an_interpreter_that_is_not_there(read):
    with pytest.raises(UsageError, match="can't run /no/python"):
        read("", python="/no/python")


def test_an_interpreter_without_the_package(read, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    text = "from parallel_train import TaskConfig\n" + CONFIG.format(rate=0.5, seed=1)
    assert len(read(text, python=str(bare / "bin/python")).tasks) == 1


def _runs(python):
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _runs("python3.8"), reason="no Python 3.8 here")
def test_python_3_8(read):
    assert len(read(CONFIG.format(rate=0.5, seed=1), python="python3.8").tasks) == 1


def test_our_own_output_stays_clean(read, capfd):
    read("print('chatter')\n" + CONFIG.format(rate=0.5, seed=1))
    out, err = capfd.readouterr()
    assert out == ""
    assert "chatter" in err
