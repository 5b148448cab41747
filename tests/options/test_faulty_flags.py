"""Flags without their values, and with values of no type: told together with all else."""

from __future__ import annotations

import pytest

from options.faulty_flags import Faults
from options.parsing import read

NEEDED = ("--input", "a.png", "--model", "model", "--output", "out")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--max_batch_size"], "--max_batch_size has no value; put one behind it, or leave it out"),
        (["--num_workers", "many"], "--num_workers must be a whole number; got 'many'"),
        (["--no_wait=yes"], "--no_wait takes no value; leave out 'yes'"),
        (
            ["--transform_name_mapping", "{Source/…}"],
            """--transform_name_mapping must be JSON, such as '{"Old step": "New step"}', in single """
            "quotes; got '{Source/…}'",
        ),
        (
            ["--worker_machine_type"],
            "--worker_machine_type/--machine_type has no value; put one behind it, or leave it out",
        ),
    ],
)
def test_a_flag_that_argparse_refuses_is_told_with_its_name(words: list[str], told: str) -> None:
    assert read([*NEEDED, *words]).unusable == [told]


def test_the_rest_is_read_and_told_too() -> None:
    line = read(["--no_wait=yes", "--input", "a.png", "--num_workers=x", "--modle", "m", "--max_batch_size"])
    told = "\n".join(line.unusable)
    for flag in ("--no_wait", "--num_workers", "--modle", "--max_batch_size", "--output is missing"):
        assert flag in told
    assert line.options.get_all_options()["input"] == ["a.png"]


def test_the_values_of_a_flag_go_with_it() -> None:
    faults = Faults({"--a"}, ["it is wrong"])
    assert faults.without(["--a", "1", "--b", "2", "--a=3", "4", "--a", "--b=5"]) == [
        *("--b", "2", "4", "--b=5")
    ]


def test_the_help_goes_before_all_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        read(["--no_wait=yes", "--help"])
    assert raised.value.code == 0
    assert "usage: beam-predict" in capsys.readouterr().out
