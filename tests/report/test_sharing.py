"""Is it told from what was found whether a disk may be shared?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_train.core.machine import Disk, Sharing
from parallel_train.report.sharing import findings, summary

NFS = Disk("/shared", "/shared", "nfs4", 1 << 20, None, is_writable=True)
FIT = Sharing(
    host="other",
    races=300,
    by_listing=0.01,
    by_name=29.0,
    by_anew=0.0,
    by_content=0.0,
    sync=0.004,
    has_flock=True,
)


def healths(found: Sharing, disk: Disk = NFS) -> dict[str, str]:
    return {each.about: each.health for each in findings(disk, found)}


def test_a_fit_disk():
    told = findings(NFS, FIT)
    assert {each.health for each in told} == {"ok"}
    assert summary(NFS, told) == "Fit to be shared by workers of several hosts"
    assert any("a name alone after 29.0 s" in each.text for each in told)


def test_one_that_cannot_be_written_is_said_once():
    refused = replace(NFS, is_writable=False)
    (told,) = findings(refused, Sharing(trouble="nothing can be made there: Permission denied"))
    assert (told.health, told.text) == ("wrong", "the folder /shared (nfs4) can't be written")


def test_a_local_one_is_fit_for_its_host():
    local = replace(NFS, kind="ext4")
    assert summary(local, findings(local, replace(FIT, host=""))) == "Fit to be shared by several workers of this host"


@pytest.mark.parametrize(
    ("changes", "about", "health"),
    [
        ({"has_links": False}, "links", "wrong"),
        ({"both_won": 1}, "links", "wrong"),
        ({"none_won": 1}, "links", "wrong"),
        ({"half_read": 1}, "links", "wrong"),
        ({"wrong_answers": 3}, "links", "ok"),
        ({"both_created": 1}, "files", "wrong"),
        ({"rename": "the file that was there before is still read"}, "renames", "wrong"),
        ({"trouble": "the other process was not heard of"}, "answer", "wrong"),
        ({"by_listing": None}, "delay", "wrong"),
        ({"by_content": 31.0}, "delay", "wrong"),
        ({"by_anew": 5.0}, "delay", "note"),
        ({"by_name": None}, "delay", "ok"),
        ({"sync": None}, "sync", "wrong"),
        ({"has_flock": False}, "locks", "ok"),
        ({"clock": -3600.0}, "clock", "note"),
        ({"host": ""}, "hosts", "note"),
    ],
)
def test_each_thing_that_was_found(changes, about, health):
    found = replace(FIT, **changes)
    assert healths(found)[about] == health
    assert summary(NFS, findings(NFS, found)).startswith("Not fit" if health == "wrong" else "Fit")


@pytest.mark.parametrize("kind", ["cifs", "9p", "fuse.sshfs", "exfat"])
def test_a_disk_for_one_host_is_not_fit_whatever_was_found(kind):
    assert healths(FIT, replace(NFS, kind=kind))["disk"] == "wrong"


def test_what_broke_off_at_once_says_only_that():
    assert list(healths(Sharing(trouble="it did not answer within 180 s"))) == ["disk", "answer"]
