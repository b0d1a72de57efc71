"""Mount points as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from e2e.node.mounts import mount_points, mounted_below

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:35 / /var/lib/a\\040b rw,relatime shared:1 - tmpfs tmpfs rw
41 40 7:0 / /var/lib/a\\040b/c\\134d rw - ext4 /dev/loop0 rw
"""


def test_mount_points_are_in_order_and_unescaped() -> None:
    assert mount_points(MOUNTINFO) == [Path("/"), Path("/var/lib/a b"), Path("/var/lib/a b/c\\d")]


def test_only_what_is_mounted_below_counts(tmp_path: Path) -> None:
    assert mounted_below([tmp_path]) == []
