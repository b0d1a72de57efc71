"""What a machine lacks for a real node is said, each with what to do."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest

from e2e.node.requirements import (
    Facts,
    Package,
    RequirementsError,
    ensure_requirements,
    missing_requirements,
    observe,
)

GOOD = Facts(
    system="Linux",
    root=True,
    cgroups=True,
    settings_writable=True,
    overlay=True,
    absent=(),
    foreign=(),
    debian=True,
)
ABSENT = Package("no-such-package-of-debian", ("no-such-program",))


def test_a_good_machine_lacks_nothing() -> None:
    assert missing_requirements(GOOD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"system": "Darwin"}, "the system is Darwin; a kubelet needs Linux"),
        ({"root": False}, "not root; .*run this as root"),
        ({"cgroups": False}, "no cgroups below /sys/fs/cgroup"),
        ({"settings_writable": False}, "/proc/sys cannot be written; .*--privileged"),
        ({"overlay": False}, "modprobe overlay"),
        ({"absent": (ABSENT,)}, "no-such-program: apt-get install no-such-package-of-debian"),
        ({"absent": (ABSENT,), "debian": False}, "install what Debian calls no-such-package-of-debian"),
        ({"foreign": ("3 KUBE-\\* chains",)}, "another Kubernetes node is on this machine .*; stop it first"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(change: dict[str, object], said: str) -> None:
    (line,) = missing_requirements(replace(GOOD, **change))  # type: ignore[arg-type]
    assert re.search(said, line), line


def test_everything_that_is_missing_is_said_at_once() -> None:
    assert len(missing_requirements(replace(GOOD, root=False, cgroups=False, absent=(ABSENT,)))) == 3


def test_a_program_that_is_not_there_is_found_out() -> None:
    present = Package("coreutils", ("true", "/bin/sh"))
    assert observe([present, ABSENT]).absent == (ABSENT,)


def test_without_root_nothing_is_installed_and_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RequirementsError, match=r"the real node cannot run here:\n(.*\n)*.*no-such-program"):
        ensure_requirements([ABSENT])
