"""Does every word of Slurm's have its meaning, and is none of them taken for a success?"""

from __future__ import annotations

import pytest

from parallel_train.cluster import states

# As squeue knows them (22.05), and what newer ones added.
STATES = (
    "BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PENDING PREEMPTED "
    "RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED RESIZING REVOKED SIGNALING SPECIAL_EXIT STAGE_OUT "
    "STOPPED SUSPENDED TIMEOUT EXPEDITING LAUNCH_FAILED POWER_UP_NODE RECONFIG_FAIL UPDATE_DB "
)
REASONS = (
    "Priority Resources BeginTime Dependency DependencyNeverSatisfied JobHeldUser JobHeldAdmin JobArrayTaskLimit "
    "PartitionTimeLimit PartitionNodeLimit PartitionDown ReqNodeNotAvail Reservation Licenses InvalidAccount "
    "InvalidQOS QOSNotAllowed BadConstraints AccountNotAllowed QOSMaxJobsPerUserLimit QOSMaxGRESPerUser "
    "QOSGrpCpuLimit QOSMaxWallDurationPerJobLimit QOSMinGRES AssocGrpGRES AssocGrpCPUMinutesLimit AssocMaxJobsLimit "
    "AssocMaxWallDurationPerJobLimit MaxGRESPerAccount MaxJobsPerAccount QOSMaxSubmitJobPerUserLimit "
    "JobHoldMaxRequeue "
)


@pytest.mark.parametrize("state", STATES.split())
def test_every_state_has_its_own_words(state):
    said = states.meaning(state)
    assert state not in said
    assert not any(word in said for word in ("succe", "done", "finished"))


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        *[(s, "waiting") for s in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")],
        *[(s, "running") for s in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING")],
        *[(s, "over") for s in ("COMPLETED", "COMPLETING", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED")],
        *[(s, "over") for s in ("NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE", "REVOKED", "STAGE_OUT")],
    ],
)
def test_the_phase_of_a_state(state, phase):
    assert states.phase(state, "node1") == states.phase(state) == phase


def test_what_sacct_adds_to_a_state_is_no_part_of_it():
    assert states.phase("CANCELLED by 1000") == states.phase("CANCELLED+") == "over"
    assert states.meaning("CANCELLED by 1000") == "was cancelled in Slurm"


def test_a_state_of_a_newer_slurm_is_shown_as_it_is_and_is_no_end():
    assert states.meaning("HIBERNATED") == "Slurm says HIBERNATED"
    assert states.phase("HIBERNATED") == "waiting"
    assert states.phase("HIBERNATED", "node1") == "running"


@pytest.mark.parametrize("reason", REASONS.split())
def test_every_common_reason_is_said_in_words_with_its_own_behind_them(reason):
    assert states.reason_in_words(reason).endswith(f" ({reason})")


def test_limits_that_pass_and_limits_that_never_do():
    assert "is reached" in states.reason_in_words("QOSMaxGRESPerUser")
    assert "is reached" in states.reason_in_words("AssocGrpCPUMinutesLimit")
    assert "is reached" in states.reason_in_words("MaxJobsPerAccount")
    assert "will not start" in states.reason_in_words("QOSMaxWallDurationPerJobLimit")
    assert "will not start" in states.reason_in_words("AssocMaxCpuPerNode")
    assert "will not start" in states.reason_in_words("QOSMinGRES")


def test_a_reason_with_details_keeps_them():
    said = states.reason_in_words("ReqNodeNotAvail, UnavailableNodes:pt2")
    assert said == "a machine that it needs is down, reserved or drained (ReqNodeNotAvail, UnavailableNodes:pt2)"


@pytest.mark.parametrize("reason", ["", "None", "(null)"])
def test_no_reason_is_none(reason):
    assert states.reason_in_words(states.told(reason)) == ""


def test_an_unknown_reason_is_shown_as_it_is():
    assert states.reason_in_words("MoonPhase") == "MoonPhase"
