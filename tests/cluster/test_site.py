"""Is configs/slurm.yaml read as it is meant, and each fault said with its place?"""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_train.cluster import site
from parallel_train.cluster.site import Site
from parallel_train.errors import TaskFileError, UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read(tmp_path):
    def reads(text: str) -> Site:
        file = tmp_path / site.FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return site.read(tmp_path)

    return reads


def faults(read, text: str) -> list[str]:
    with pytest.raises(TaskFileError) as caught:
        read(text)
    return [f"{fault.line}:{fault.column} {fault.message} {fault.hint}" for fault in caught.value.faults]


def test_without_a_file_all_is_as_slurm_has_it(tmp_path):
    assert site.read(tmp_path) == Site()
    assert (Site().workers, Site().gpus_per_worker, Site().drain) == (4, 1, 120)


@pytest.mark.parametrize("text", ["", "# account: lab\n", "\n\n"])
def test_a_file_of_comments_changes_nothing(read, text):
    assert read(text) == Site()


def test_the_example_of_this_project_changes_nothing_and_each_of_its_lines_is_one(read):
    text = (ROOT / site.FILE).read_text()
    assert read(text) == Site()
    body = text.partition("\n\n")[2]
    found = read("\n".join(line.removeprefix("# ") for line in body.splitlines()))
    assert all(getattr(found, name) for name in Site.__dataclass_fields__)
    assert found.time == "4:00:00"
    assert found.sbatch == ("--mem=64G", "--gres=gpu:a100:{gpus}")


def test_everything(read):
    text = """
    account: lab
    time: 4:00:00
    modules: cuda/12
    env: {A: 1, B: two words, C: true}
    lines: |
      source a
      \tsource b
    sbatch: [--mem=1G, "--comment='x y'"]
    workers: 8
    gpus_per_worker: 2
    drain: 60
    qos:
    """
    assert read(text) == Site(
        account="lab",
        time="4:00:00",
        modules=("cuda/12",),
        env={"A": "1", "B": "two words", "C": "true"},
        lines=("source a", "\tsource b"),
        sbatch=("--mem=1G", "--comment='x y'"),
        workers=8,
        gpus_per_worker=2,
        drain=60,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acount: lab", "1:1 unknown key 'acount' did you mean 'account'?"),
        ("nonsense: 1", "1:1 unknown key 'nonsense' there are: account, constraint, drain"),
        ("a: 1\naccount: [lab]", "2:10 account must be text"),
        ("account: true", "1:10 account must be text"),
        ("modules: {cuda: 12}", "1:10 modules must be a list of texts"),
        ("lines: [[a]]", "1:8 lines must be a list of texts"),
        ("workers: 0", "1:10 workers must be a whole number from 1"),
        ("workers: many", "1:10 workers must be a whole number from 1"),
        ("drain: true", "1:8 drain must be a whole number from 1"),
        ("env: [A=1]", "1:6 env must be a mapping of names to texts"),
        ("env:\n  A-B: 1", "2:8 'A-B' is no name of a variable"),
        ('account: "a\\nb"', "1:10 a line break or another control character can't stand in a Slurm script"),
        ('sbatch: ["--mem=1\\n#SBATCH --uid=0"]', "1:10 a line break or another control character"),
        ('lines: ["a\\0b"]', "1:9 a NUL character can't stand"),
        ("sbatch: [mem=1G]", "1:10 this is no option of sbatch's: it begins with -, as in --mem=32G"),
        ('sbatch: ["--comment=\'x"]', "1:10 a quote is never closed"),
        ("sbatch: [--mem=1G, --array=1-9]", "1:20 parallel-train itself sets --array"),
        ("sbatch: [-J mine]", "1:10 parallel-train itself sets -J"),
        ("account: a\naccount: b", "2:1 key 'account' is given twice"),
        ("- account", "1:1 this must be a mapping"),
    ],
)
def test_each_fault_with_its_place(read, text, said):
    assert any(fault.startswith(said) for fault in faults(read, text)), faults(read, text)


def test_all_faults_at_once_in_the_order_of_the_file(read):
    assert [fault.partition(" ")[0] for fault in faults(read, "acount: 1\nworkers: 0\ntime: []\n")] == [
        "1:1",
        "2:10",
        "3:7",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "env: {WANDB_API_KEY: 0123456789}",
        "lines: [export HF_TOKEN=0123456789]",
        "sbatch: ['--export=ALL,HF_TOKEN=0123456789']",
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(read, text):
    with pytest.raises(TaskFileError, match="export it in your shell") as caught:
        read(text)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize("name", ["TOKEN", "PASSWORD", "API_KEY", "HF_TOKEN"])
def test_a_secret_is_found_behind_another_equals_sign_and_named_whole(name):
    with pytest.raises(UsageError, match=f"the value of {name} would be shown"):
        site.check_typed("--sbatch", f"--export={name}=abc", of_sbatch=True)


def test_a_secret_that_is_read_from_elsewhere_is_none(read):
    assert read("lines: ['export HF_TOKEN=$(cat ~/.token)', 'export HF_TOKEN=\"$T\"', 'unset HF_TOKEN']").lines


def test_what_is_typed_is_checked_in_the_same_way():
    with pytest.raises(UsageError, match=r"^--account: a line break"):
        site.check_typed("--account", "a\nb")
    with pytest.raises(UsageError, match=r"^--sbatch mem=1G: this is no option"):
        site.check_typed("--sbatch", "mem=1G", of_sbatch=True)
    with pytest.raises(UsageError) as caught:
        site.check_typed("--sbatch", "--export=A_KEY=0123456789", of_sbatch=True)
    assert "0123456789" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / site.FILE).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"can't read configs/slurm\.yaml: it is a folder"):
        site.read(tmp_path)
