"""What becomes of what Slurm's commands say, and of commands that hang, fail or are not there?

The commands are stand-ins that say what a test wants; tests/slurm asks the real ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_train.cluster import slurm
from parallel_train.cluster.script import Plan
from parallel_train.cluster.site import Site
from parallel_train.cluster.slurm import Slurm, compact
from parallel_train.core.cluster import CANCEL, DRAIN, KILL, STOP, Element
from parallel_train.core.facts import Array
from parallel_train.errors import ClusterError
from parallel_train.store import folders

NAME = "parallel-train-1a2b3c4d"


@pytest.fixture
def says(tmp_path, monkeypatch):
    """Makes a command that says something, and writes down how it was called; no other one is there."""
    (tmp_path / "id").write_text(NAME.removeprefix("parallel-train-"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(command: str, output: str = "", complaint: str = "", code: int = 0, *, more: str = "") -> None:
        file = folder / command
        lines = [
            "#!/bin/sh",
            f'printf "%s\\n" "{command} $*" >> {tmp_path}/calls',
            more,
            f"printf '%s' '{output}'",
            f"printf '%s' '{complaint}' >&2",
            f"exit {code}",
        ]
        file.write_text("\n".join(lines))
        file.chmod(0o700)

    return make


@pytest.fixture
def calls(tmp_path):
    return lambda: (tmp_path / "calls").read_text().splitlines()


def planned(tmp_path: Path, **site: object) -> Slurm:
    plan = Plan("/project", str(tmp_path / "logs"), "/python", (), Site(**site))
    return Slurm(tmp_path, plan)


LISTED = """\
7_1|PENDING||JobArrayTaskLimit|0:05|parallel-train-1a2b3c4d-2
7_0|RUNNING|node1|None|0:05|parallel-train-1a2b3c4d-2
5_0|TIMEOUT|node2|TimeLimit|0:05|parallel-train-1a2b3c4d-1
9|CANCELLED||None|0:05|parallel-train-1a2b3c4d-3
8_0|RUNNING|node1|None|0:05|parallel-train-ffffffff-1
8_1|RUNNING|node1|None|0:05|parallel-train-1a2b3c4d-x
8_2|RUNNING|node1|None|0:05|parallel-train-1a2b3c4d
6|RUNNING|node1|None|0:05|my|own job
slurm_load_jobs: something else
"""


def test_the_elements_of_this_queue_are_told_by_their_names(says, tmp_path):
    says("squeue", LISTED)
    assert Slurm(tmp_path).elements() == (
        Element(
            *("7_1", 2, 1, "waiting", "PENDING", "JobArrayTaskLimit", "waits in Slurm's queue"),
            why="as many as allowed of its array run (JobArrayTaskLimit)",
        ),
        Element("7_0", 2, 0, "running", "RUNNING", "", "runs", "node1"),
        Element("5_0", 1, 0, "over", "TIMEOUT", "TimeLimit", "was ended at its time limit", "node2"),
    )


def test_where_a_worker_failed_its_log_says_why(says, tmp_path):
    says("squeue", f"7_0|FAILED|node1|NonZeroExitCode|0:05|{NAME}-2\n7_1|TIMEOUT|node1|TimeLimit|0:05|{NAME}-2\n")
    assert [e.log for e in planned(tmp_path).elements()] == [f"{tmp_path}/logs/slurm-7_0.log", ""]


def test_what_slurm_refused_before_it_ran_has_no_log(says, tmp_path):
    says("squeue", f"7_0|FAILED||BadConstraints|0:05|{NAME}-2\n7_1|FAILED||None|0:05|{NAME}-2\n")
    assert [(e.log, e.meaning) for e in planned(tmp_path).elements()] == [
        ("", "never ran: no machine is as it asks for: it will never start (BadConstraints)"),
        ("", "never ran: Slurm does not say why"),
    ]


def test_a_worker_that_ended_in_order_is_told_from_others(says, tmp_path):
    says("squeue", f"7_0|COMPLETED|node1|None|0:05|{NAME}-2\n7_1|FAILED|node1|NonZeroExitCode|0:05|{NAME}-2\n")
    assert [e.has_left for e in Slurm(tmp_path).elements()] == [True, False]


def test_what_slurm_cleans_up_behind_comes_again_where_it_has_used_no_time_of_its_next_turn(says, tmp_path):
    ends = ["None|0:05", "None|0:00", "BeginTime|0:00", "NonZeroExitCode|0:00", "None|"]
    says("squeue", "".join(f"7_{n}|COMPLETING|node1|{end}|{NAME}-2\n" for n, end in enumerate(ends)))
    over, back = ("over", "is over; Slurm cleans up behind it"), ("waiting", "goes back into Slurm's queue")
    assert [(e.phase, e.meaning) for e in Slurm(tmp_path).elements()] == [over, back, back, over, over]


def test_a_queue_has_the_same_name_by_every_path_and_a_later_one_in_its_place_another(tmp_path):
    folder = tmp_path / "queue"
    folders.create(folder)
    (tmp_path / "link").symlink_to("queue")
    name = slurm.names_of(folder)
    assert name.startswith("parallel-train-")
    assert slurm.names_of(tmp_path / "link") == name
    folder.rename(tmp_path / "moved")
    assert slurm.names_of(tmp_path / "moved") == name
    with pytest.raises(FileNotFoundError):
        slurm.names_of(folder)
    folders.create(folder)
    assert slurm.names_of(folder) != name


def test_the_script_goes_to_sbatch_by_its_input_and_the_folder_for_its_log_is_made(says, calls, tmp_path):
    says("sbatch", "12", more=f"while read -r line; do printf '%s\\n' \"$line\"; done > {tmp_path}/script")
    planned(tmp_path).submit(Array(1, 2, ("a",)), 0.0)
    assert calls() == ["sbatch --parsable"]
    assert (tmp_path / "script").read_text().startswith("#!/bin/bash\n#SBATCH --job-name=parallel-train-1a2b3c4d-1\n")
    assert (tmp_path / "logs").is_dir()


def test_an_array_that_comes_again_begins_later_and_never_now(says, calls, tmp_path):
    says("sbatch", "12")
    planned(tmp_path).submit(Array(1, 2, ("a",)), 0.2)
    planned(tmp_path).submit(Array(2, 2, ("a",)), 40.0)
    assert calls() == ["sbatch --parsable --begin=now+1", "sbatch --parsable --begin=now+40"]


def test_what_a_shell_exports_for_sbatch_does_not_overrule_what_was_asked_for(says, tmp_path, monkeypatch):
    says("sbatch", more=f"echo $SBATCH_PARTITION-$SBATCH_ACCOUNT-$SBATCH_SIGNAL-$MINE > {tmp_path}/seen")
    for name in ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_SIGNAL", "MINE"):
        monkeypatch.setenv(name, "exported")
    planned(tmp_path, partition="gpu").submit(Array(1, 2, ("a",)), 0)
    assert (tmp_path / "seen").read_text() == "-exported--exported\n"


@pytest.mark.parametrize(
    "text",
    [
        "Batch job submission failed: Invalid account or account/partition combination specified",
        "invalid partition specified: nowhere",
        "Invalid --time specification",
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user size)",
    ],
)
def test_what_sbatch_refuses_is_shown_in_its_own_words(says, tmp_path, text):
    says("sbatch", complaint=f"sbatch: error: Please read our web page\nsbatch: error: {text}\n", code=1)
    with pytest.raises(ClusterError) as caught:
        planned(tmp_path).submit(Array(1, 2, ("a",)), 0)
    assert str(caught.value) == f"sbatch: Please read our web page; {text}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "Batch job submission failed: Socket timed out on send/recv operation",
        "Slurm temporarily unable to accept job, sleeping and retrying",
        "Batch job submission failed: Zero Bytes were transmitted or received",
        "Munge encode failed: Failed to access socket",
    ],
)
def test_trouble_that_may_pass_is_no_refusal(says, tmp_path, text):
    says("sbatch", complaint=f"sbatch: error: {text}\n", code=1)
    with pytest.raises(OSError, match=r"^sbatch: "):
        planned(tmp_path).submit(Array(1, 2, ("a",)), 0)
    says("squeue", complaint=f"slurm_load_jobs error: {text}\n", code=1)
    with pytest.raises(OSError, match=r"^squeue: "):
        Slurm(tmp_path).elements()


def test_without_slurms_commands_it_says_so(says, tmp_path):
    with pytest.raises(ClusterError, match=r"^sbatch is not installed here: ") as caught:
        planned(tmp_path).submit(Array(1, 2, ("a",)), 0)
    assert caught.value.exit_code == 2
    with pytest.raises(ClusterError, match=r"^squeue is not installed here: "):
        Slurm(tmp_path).elements()
    with pytest.raises(ClusterError, match=r"^scancel is not installed here: "):
        Slurm(tmp_path).dismiss(["1_0"], STOP)
    with pytest.raises(ClusterError, match=r"^sbatch is not installed here: "):
        slurm.check_installed()
    assert slurm.most_elements() == slurm.USUAL_ARRAY
    assert slurm.time_left("1") is None


def test_a_command_that_hangs_is_given_up(says, tmp_path):
    says("squeue", more="exec /bin/sleep 100")
    with pytest.raises(TimeoutError, match=r"^squeue did not answer within 0\.2 s$"):
        Slurm(tmp_path, limit=0.2).elements()


@pytest.mark.parametrize(
    ("level", "called"),
    [
        (CANCEL, ["scancel --state=PENDING 4_[0-1]"]),
        (DRAIN, ["scancel --state=PENDING 4_[0-1]", "scancel --state=RUNNING --batch --signal=INT 4_[0-1]"]),
        (STOP, ["scancel --state=PENDING 4_[0-1]", "scancel --state=RUNNING --batch --signal=TERM 4_[0-1]"]),
        (KILL, ["scancel --state=PENDING 4_[0-1]", "scancel --state=RUNNING --batch --signal=KILL 4_[0-1]"]),
    ],
)
def test_the_levels_of_a_dismissal(says, calls, tmp_path, *, level, called):
    says("scancel")
    Slurm(tmp_path).dismiss(["4_1", "4_0"], level)
    assert calls() == called


def test_what_is_over_already_is_passed_over_and_all_else_is_trouble(says, tmp_path):
    says("scancel", complaint="scancel: error: Kill job error on job id 4_0: Invalid job id specified\n", code=1)
    Slurm(tmp_path).dismiss(["4_0"], CANCEL)
    says("scancel", complaint="scancel: error: Kill job error on job id 4_0: Access/permission denied\n", code=1)
    with pytest.raises(OSError, match="Access/permission denied"):
        Slurm(tmp_path).dismiss(["4_0"], CANCEL)


@pytest.mark.parametrize(
    ("jobs", "named"),
    [
        ([], []),
        (["7_0"], ["7_[0]"]),
        (["7_3", "7_0", "7_1", "7_2", "7_9"], ["7_[0-3,9]"]),
        (["7_0", "8_1", "7_2"], ["7_[0,2]", "8_[1]"]),
        (["12", "7_5"], ["12", "7_[5]"]),
    ],
)
def test_elements_of_one_array_are_named_together(jobs, named):
    assert compact(jobs) == named


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("59:30\n", 3570.0),
        ("0:05\n", 5.0),
        ("4:00:00\n", 14400.0),
        ("1-02:03:04\n", 93784.0),
        ("UNLIMITED\n", None),
        ("NOT_SET\n", None),
        ("INVALID\n", None),
        ("", None),
    ],
)
def test_what_is_left_of_an_allocation(says, calls, said, seconds):
    says("squeue", said)
    assert slurm.time_left("12") == seconds
    assert calls() == ["squeue --noheader --jobs=12 --format=%L"]


@pytest.mark.parametrize(
    ("said", "most"), [("MaxArraySize            = 2001\n", 2001), ("MaxArraySize = 0\n", 1001), ("", 1001)]
)
def test_the_longest_array(says, said, most):
    says("scontrol", f"Configuration data as of now\nMaxJobCount = 10000\n{said}MaxDBDMsgs = 20008\n")
    assert slurm.most_elements() == most


def test_an_element_that_asks_for_another_turn_gets_it_soon_and_never_now(says, calls):
    says("scontrol")
    slurm.requeue("12")
    assert calls() == ["scontrol requeue 12", "scontrol update JobId=12 StartTime=now+5"]


def test_another_turn_that_is_refused_is_said(says):
    says("scontrol", complaint="Requested operation is presently disabled for job 12\n", code=1)
    with pytest.raises(ClusterError, match="presently disabled"):
        slurm.requeue("12")


def test_another_turn_that_only_comes_later_is_one(says):
    says(
        "scontrol",
        complaint="slurm_update error: Access/permission denied\n",
        more='[ "$1" = requeue ] && exit 0',
        code=1,
    )
    slurm.requeue("12")


def test_what_asks_for_another_turn_is_deaf_to_the_term_that_comes_with_it(says):
    says("scontrol", more="kill -TERM $$")
    slurm.requeue("12")
