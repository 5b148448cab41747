"""From what is typed to options, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner

from options import GROUPS, BatchingOptions, SinkOptions, SourceOptions, parse
from options.flags import Flag
from options.parsing import help_parser, read, views
from transforms.errors import UsageError

NEEDED = ("--input", "a.png", "--model", "model", "--output", "out")
FLAGS = [flag for group in GROUPS for flag in group.FLAGS]


def problems(*words: str) -> list[str]:
    """Return what is told of a command line; nothing when it is understood."""
    try:
        parse(words)
    except UsageError as error:
        return error.problems
    return []


class TestHelp:
    def text(self) -> str:
        return " ".join(help_parser("beam-predict").format_help().split())

    @pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
    def test_it_tells_what_a_flag_takes_and_what_holds_without_it(self, flag: Flag) -> None:
        takes = f"--{flag.name} {flag.kind.metavar}" if flag.kind else f"--{flag.name}"
        assert takes in self.text()
        if flag.kind and flag.default is not None:
            told = self.text().partition(takes)[2].partition(" --")[0]
            assert f"Default: {flag.kind.show(flag.default)}." in told

    def test_every_flag_stands_below_the_title_of_its_group(self) -> None:
        text = self.text().partition("show this help message")[2]
        titles = [text.index(f"{group.TITLE}:") for group in GROUPS]
        assert titles == sorted(titles)
        for start, end, group in zip(titles, [*titles[1:], len(text)], GROUPS, strict=True):
            assert all(f"--{flag.name}" in text[start:end] for flag in group.FLAGS)

    def test_it_tells_the_exit_codes(self) -> None:
        assert "exit codes: 0 done; 1 failed; 2 wrong flags" in self.text()

    @pytest.mark.parametrize("word", ["-h", "--help"])
    def test_it_goes_before_all_that_is_wrong(self, word: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as raised:
            parse(["--max_batch_size", "0", word])
        assert raised.value.code == 0
        assert "usage: beam-predict --input FILES" in capsys.readouterr().out


class TestWhatIsUnderstood:
    def test_each_group_is_a_view_with_its_defaults(self) -> None:
        options = parse(NEEDED)
        assert [type(view) for view in views(options)] == list(GROUPS)
        defaults = {flag.name: flag.default for flag in FLAGS if f"--{flag.name}" not in NEEDED}
        found = {name: options.get_all_options()[name] for name in defaults}
        assert found == {
            flag.name: flag.default if flag.kind else False for flag in FLAGS if flag.name in defaults
        }

    def test_values_stand_behind_a_blank_or_an_equals_sign(self) -> None:
        options = parse([*NEEDED, "--max_batch_size=8", "--max_file_bytes", "20MB"])
        assert options.view_as(BatchingOptions).max_batch_size == 8
        assert options.view_as(SourceOptions).max_file_bytes == 20_000_000

    def test_inputs_add_up_in_their_order(self) -> None:
        options = parse([*NEEDED, "--input", "@b.csv", "--input=c*.png"])
        assert options.view_as(SourceOptions).input == ["a.png", "@b.csv", "c*.png"]

    def test_of_any_other_flag_the_last_value_counts(self) -> None:
        options = parse([*NEEDED, "--output_format", "csv", "--output_format", "parquet"])
        assert options.view_as(SinkOptions).output_format == "parquet"


class TestWhatIsNot:
    @pytest.mark.parametrize(
        ("typed", "meant"),
        [
            ("--modle", "--model"),
            ("--outputs", "--output"),
            ("--max-batch-size", "--max_batch_size"),
            ("--ouput_format=csv", "--output_format"),
            ("--direct_num_worker", "--direct_num_workers"),
        ],
    )
    def test_a_misspelt_flag_is_told_with_the_one_that_is_meant(self, typed: str, meant: str) -> None:
        name = typed.partition("=")[0]
        assert problems(*NEEDED, typed) == [f"unknown flag {name}; did you mean {meant}?"]

    def test_a_flag_that_is_like_no_other_has_no_suggestion(self) -> None:
        assert problems(*NEEDED, "--qqqqq") == ["unknown flag --qqqqq"]

    def test_a_flag_is_not_guessed_from_its_beginning(self) -> None:
        (problem,) = problems(*NEEDED, "--max_batch", "8")
        assert problem.startswith("unknown flag --max_batch;")

    def test_the_files_of_a_glob_without_quotes_are_told_once_with_the_remedy(self) -> None:
        assert problems("--input", "a.png", "b.png", "c.png", "--model", "m", "--output", "o") == [
            "'b.png' belongs to no flag; put a glob in quotes, so that the shell leaves it alone"
        ]

    def test_the_files_of_a_glob_are_told_beside_an_unknown_flag(self) -> None:
        told = problems("--input", "a.png", "b.png", "--model", "m", "--outptu", "o", "--output", "o")
        assert any("'b.png' belongs to no flag" in problem for problem in told), told
        assert any("unknown flag --outptu" in problem for problem in told), told
        assert len(told) == 2  # the unknown flag's own value is none of the words without a flag

    @pytest.mark.parametrize(
        "wrong", [("--direct_num_workers", "two"), ("--direct_running_mode", "multiprocessing")]
    )
    def test_a_value_that_beam_refuses_is_told_with_all_else(self, wrong: tuple[str, str]) -> None:
        told = "\n".join(problems(*wrong, "--max_batch_size", "0"))
        for part in (*wrong, "--max_batch_size must", "--input is missing", "--model is missing"):
            assert part in told

    def test_a_switch_takes_no_value(self) -> None:
        (problem,) = problems(*NEEDED, "--overwrite=yes")
        assert "--overwrite" in problem
        assert "yes" in problem

    def test_a_value_that_is_wrong_is_told_once_and_no_rule_is_applied_to_it(self) -> None:
        assert problems(*NEEDED, "--max_batch_size", "many", "--min_batch_size", "64") == [
            "--max_batch_size must be a whole number of at least 1; got 'many'"
        ]

    def test_one_wrong_input_among_several_is_told(self) -> None:
        assert problems(*NEEDED, "--input", "", "--input", "b.png") == ["--input must not be empty; got ''"]


class TestOnDataflow:
    FLAGS = (
        "--runner=DataflowRunner",
        "--project=my-project",
        "--region=us-central1",
        "--temp_location=gs://b/t",
    )

    @pytest.mark.parametrize(("flag", "saved"), [((), False), (("--save_main_session",), True)])
    def test_the_main_session_is_staged_only_where_that_is_asked_for(
        self, flag: Sequence[str], saved: bool
    ) -> None:
        options = read([*self.FLAGS, *flag]).options
        assert session_is_saved(options) is saved

    def test_beam_alone_would_stage_it(self) -> None:
        assert session_is_saved(PipelineOptions(list(self.FLAGS)))


def session_is_saved(options: PipelineOptions) -> bool:
    """Let Beam settle the option as it does before each submission, and return what becomes of it."""
    setup = options.view_as(SetupOptions)
    setup.validate(PipelineOptionsValidator(options, create_runner("DataflowRunner")))
    saved: bool = setup.save_main_session
    return saved
