"""How TensorFlow is imported: with what of a GPU, and what is held back of standard error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.predictors.tensorflow_runtime import standard_error_without

GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"
IMPORT = f"""
import os
{{before}}
from transforms.predictors.tensorflow_runtime import import_tensorflow
import_tensorflow()
print(os.environ["{GROWTH}"])
"""
NOISE = re.compile(rb"noise")


def test_noise_is_held_back_and_the_rest_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with standard_error_without(NOISE):
        os.write(2, b"noise\nsaid\n")
    os.write(2, b"noise afterwards\n")

    assert capfd.readouterr().err == "said\nnoise afterwards\n"


def test_an_error_passes_and_standard_error_is_back(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with standard_error_without(NOISE):
            os.write(2, b"noise\nsaid\n")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()

    os.write(2, b"noise afterwards\n")
    assert capfd.readouterr().err == "said\nnoise afterwards\n"


def test_threads_do_not_mix_up_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    def write(number: int) -> None:
        with standard_error_without(NOISE):
            os.write(2, f"noise\nsaid {number}\n".encode())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(200)))
    os.write(2, b"noise afterwards\n")

    *said, last = capfd.readouterr().err.splitlines()
    assert sorted(said) == sorted(f"said {number}" for number in range(200))
    assert last == "noise afterwards"


@pytest.mark.parametrize(
    ("before", "growth"),
    [
        ("", "true"),
        ("import tensorflow", "true"),  # it is read when a GPU is used first
        (f"os.environ['{GROWTH}'] = 'false'", "false"),
    ],
    ids=["", "imported before", "a user's own"],
)
def test_a_gpu_is_left_to_other_processes_too(before: str, growth: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != GROWTH}
    program = IMPORT.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [growth]
