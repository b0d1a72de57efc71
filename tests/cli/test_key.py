"""`sibyl key`: a key that a server lets in by the digest that was printed with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sibyl_runtime.cli.key import PREFIX
from sibyl_runtime.server.protection.keys import api_keys
from sibyl_runtime.workspace import Authentication
from tests.cli.conftest import Command
from tests.support.sibyl import COMMAND, environment, sibyl


def test_a_new_key_is_let_in_by_its_digest(command: Command, tmp_path: Path) -> None:
    shown = dict(line.split(maxsplit=1) for line in command("key", "new", "--name", "team-a").stdout.splitlines())
    assert shown["key"].startswith(PREFIX)
    file = tmp_path / "keys"
    file.write_text(shown["digest"] + "\n")
    keys = api_keys(Authentication(keys_file=str(file)), [])
    assert keys.holder(shown["key"].encode()).name == "team-a"


def test_no_two_keys_are_alike_and_json_holds_both_forms(tmp_path: Path) -> None:
    made = [sibyl("key", "new", "--json", cwd=tmp_path).json for _ in range(2)]
    assert made[0]["key"] != made[1]["key"]
    digest = made[0]["digest"]
    assert api_keys(Authentication(keys=[digest]), [digest]).holder(made[0]["key"].encode())


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_digest_of_a_key_that_exists_is_that_of_its_text(tmp_path: Path, ending: str) -> None:
    done = subprocess.run(
        [*COMMAND, "key", "hash", "--name", "ops"], cwd=tmp_path, env=environment({}), input=f"abc{ending}",
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ops\n"


def test_a_second_line_is_not_left_out_in_silence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "key", "hash"], cwd=tmp_path, env=environment({}), input="abc\ndef\n",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds more than one line; a key is one line" in done.stderr


def test_bytes_that_are_no_text_are_no_key(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "key", "hash"], cwd=tmp_path, env=environment({}), input=b"\xff\n",
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"holds bytes that are no text" in done.stderr


def test_wrong_use_is_told(command: Command) -> None:
    nothing = command("key", "hash")
    assert (nothing.code, "there is no key on standard input" in nothing.stderr) == (2, True)
    name = command("key", "new", "--name", "two words")
    assert (name.code, "must be one word of 64 characters at most" in name.stderr) == (2, True)
    assert name.stdout == ""
