from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.providers.embedding.cpu import choose_precision, cpu_quota, encoder_threads


@pytest.mark.parametrize(
    ("quota", "cores", "threads"),
    [(None, 8, 2), (None, 1, 1), (4.0, 8, 2), (1.5, 8, 1), (0.25, 8, 1), (8.0, 1, 1)],
)
def test_threads_are_whole_cores_of_the_quota_and_never_more_than_two(
    quota: float | None, cores: int, threads: int
) -> None:
    assert encoder_threads(quota, cores) == threads


def control_group(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "sys", root / "membership"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"membership": "0::/\n", "sys/cpu.max": "max 100000\n"}, None),
        ({"membership": "0::/\n", "sys/cpu.max": "150000 100000\n"}, 1.5),
        ({"membership": "0::/pod\n", "sys/cpu.max": "max 100000", "sys/pod/cpu.max": "50000 100000"}, 0.5),
        ({"membership": "0::/pod/a\n", "sys/pod/cpu.max": "100000 100000", "sys/pod/a/cpu.max": "400000 100000"}, 1.0),
        ({"membership": "0::/host/path\n", "sys/cpu.max": "200000 100000"}, 2.0),
        (
            {
                "membership": "4:memory:/\n3:cpu,cpuacct:/pod\n",
                "sys/cpu,cpuacct/pod/cpu.cfs_quota_us": "120000",
                "sys/cpu,cpuacct/pod/cpu.cfs_period_us": "100000",
            },
            1.2,
        ),
        (
            {
                "membership": "1:cpu:/elsewhere\n",
                "sys/cpu/cpu.cfs_quota_us": "-1",
                "sys/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"membership": "0::/\n", "sys/cpu.max": "garbage"}, None),
    ],
)
def test_the_smallest_quota_of_the_control_groups_counts(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(*control_group(tmp_path, files)) == quota


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("flags\t\t: fpu avx512f avx512_vnni", "int8"),
        ("processor: 0\nflags : avx2 avx_vnni fma\n", "int8"),
        ("flags : avx2 fma", "fp32"),
        ("flags : my_avx_vnni_lookalike", "fp32"),
        ("model name : avx_vnni", "fp32"),
        ("", "fp32"),
    ],
)
def test_auto_takes_int8_only_where_the_processor_is_fast_at_it(tmp_path: Path, flags: str, precision: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(flags)
    assert choose_precision("auto", info) == precision


def test_auto_is_fp32_on_a_system_that_tells_nothing(tmp_path: Path) -> None:
    assert choose_precision("auto", tmp_path / "missing") == "fp32"


@pytest.mark.parametrize("wanted", ["int8", "fp32"])
def test_a_precision_that_was_asked_for_is_taken(tmp_path: Path, wanted: str) -> None:
    assert choose_precision(wanted, tmp_path / "missing") == wanted
