"""From the settings of a job on Dataflow to its command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from options.checks import is_dataflow_runner
from options.dataflow import RIGHT_FITTING
from options.dataflow_checks import AT_LEAST_ONCE as AT_LEAST_ONCE_OPTION
from options.dataflow_checks import WORKER_ACCELERATOR as WORKER_ACCELERATOR_OPTION
from options.faulty_flags import Faults, find_faults
from options.parsing import Parser
from options.settings import (
    AT_LEAST_ONCE,
    BUCKET,
    ENDPOINT,
    IMAGE,
    INPUT,
    JOB_NAME,
    LABELS,
    MODEL,
    PUBLIC_IPS,
    REGION,
    SETTINGS,
    STREAMING_MODE,
    SUBNETWORK,
    SUBSCRIPTION,
    WORKER_ACCELERATOR,
    Setting,
)
from options.source import MESSAGE_FLAGS
from options.variables import BATCH, ENDLESS, STREAMING, values_of

MODES = (BATCH, STREAMING)
_HINTS = ("predict_accelerator", "predict_min_ram")
_PREDICTING = (MODEL.flag, ENDPOINT.flag)


@dataclass(frozen=True)
class Launch:
    """A job on Dataflow as a user has described it.

    Attributes:
        mode: `batch` or `streaming`.
        values: What the settings hold, by their flags; those of several values in order.
        rest: The words of the command line that belong to no setting; they are passed on.
        dry_run: Whether the job is only to be looked at.
        without_value: The flags of settings that stand on the command line with nothing behind them.
        runners: What `--runner` says; there is one that can be meant.
        faults: What is wrong with single words, and with variables that exclude each other.
    """

    mode: str
    values: Mapping[str, Sequence[str]]
    rest: Sequence[str]
    dry_run: bool
    without_value: Set[str] = frozenset()
    runners: Sequence[str] = ()
    faults: Sequence[str] = ()

    @classmethod
    def of(cls, mode: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Launch:
        """Read a command line and an environment, which gives what the command line does not."""
        parser = _parser()
        faults = find_faults(parser, arguments)
        parsed, rest = parser.parse_known_args(faults.without(arguments))
        flags: dict[str, Any] = vars(parsed)
        typed = {setting.flag: flags[setting.flag] or [] for setting in SETTINGS}
        values = {flag: [value for value in given if value is not None] for flag, given in typed.items()}
        given = {flag for flag, texts in values.items() if texts} | _names(rest)
        from_variables, conflicts = values_of(variables, mode, given)
        values |= {flag: [value] for flag, value in from_variables.items()}
        bare = frozenset(flag for flag, given in typed.items() if None in given)
        problems = [*faults.problems, *conflicts]
        return cls(mode, values, rest, flags["dry_run"], bare, flags["runner"], problems)

    def wrong(self) -> list[str]:
        """Tell all that is wrong with the description itself."""
        return [*self.missing(), *self.problems()]

    def missing(self) -> Iterator[str]:
        """Tell which settings the job needs, and lacks."""
        for setting in SETTINGS:
            if setting.flag in self.without_value:
                yield f"--{setting.flag} is missing: there is no value behind it; {setting.remedy}"
            elif not self.values[setting.flag] and (setting.required or self._needs(setting)):
                yield setting.missing
        if not any(self.has(flag) or flag in self.without_value for flag in _PREDICTING):
            yield f"{MODEL.missing}; or for a model that is served elsewhere {ENDPOINT.remedy}"

    def problems(self) -> Iterator[str]:
        """Tell of values that cannot be understood, and of what does not go with the mode."""
        yield from self.faults
        for setting in SETTINGS:
            yield from setting.problems(self.values[setting.flag])
        for runner in self.runners:
            if not is_dataflow_runner(runner):
                yield f"--runner {runner}: jobs of this command run on Dataflow; leave it out"
        endless = [f"--{name}" for name in ENDLESS if self.has(name)]
        if self.mode == BATCH and endless:
            yield f"{' and '.join(endless)} never ends, and a job in batch does; use streaming"
        if self.mode == STREAMING and self.has("input") and not self.has("watch"):
            yield "--input ends, and a streaming job does not; add --watch SECONDS, or use batch"

    def words(self, setup_file: str, suffix: str) -> list[str]:
        """Return the command line of the job, without the values of which `problems` tells.

        Args:
            setup_file: What workers install where they have no image.
            suffix: The end of the job's name, where none is given: no other job may have it.
        """
        words = ["--runner=DataflowRunner"]
        for setting in SETTINGS:
            translate = _TRANSLATIONS.get(
                setting.flag, lambda _, value, flag=setting.flag: [f"--{flag}={value}"]
            )
            kind, left_out = setting.kind, setting.flag in self._of_streaming()
            typed = () if left_out else self.values[setting.flag]
            values = (kind.show(kind.parse(value)) for value in typed if not any(setting.problems([value])))
            words += [word for value in values for word in translate(self, value)]
        if not self.has(JOB_NAME.flag) and not self.has("update"):
            words.append(f"--job_name=beam-predict-{self.mode}-{suffix}")
        if not self.has(IMAGE.flag) and not self.has("setup_file"):
            words.append(f"--setup_file={setup_file}")
        if self.has(IMAGE.flag) and not any(map(self.has, (PUBLIC_IPS.flag, *_ADDRESSES.values()))):
            words.append(f"--{_ADDRESSES['no']}")
        if self.mode == STREAMING and any(map(self.has, _HINTS)) and RIGHT_FITTING not in " ".join(self.rest):
            words.append(f"--experiments={RIGHT_FITTING}")
        of_streaming = Faults(frozenset(f"--{name}" for name in self._of_streaming()), ())
        return [*words, *of_streaming.without(self.rest)]

    def _of_streaming(self) -> Set[str]:
        """Name the flags that a job in batch is looked at without: it is told that they are for streaming."""
        if self.mode == STREAMING:
            return frozenset()
        return {"watch", *((*ENDLESS, *MESSAGE_FLAGS) if self.has(INPUT.flag) else ())}

    def _needs(self, setting: Setting) -> bool:
        if setting is BUCKET:
            return not self.has("temp_location")
        if setting is INPUT:
            sources = [name for name in ENDLESS if self.has(name)]
            return sources == ["watch"] or (self.mode == BATCH and not sources)
        return (
            setting is SUBSCRIPTION and self.mode == STREAMING and not any(map(self.has, ("input", *ENDLESS)))
        )

    def has(self, flag: str) -> bool:
        """Tell whether a flag is given in any way."""
        return bool(self.values.get(flag)) or _has(self.rest, flag)


def _locations(launch: Launch, bucket: str) -> list[str]:
    folder = f"gs://{bucket.removeprefix('gs://').strip('/')}"
    places = {"temp_location": f"{folder}/temp", "staging_location": f"{folder}/staging"}
    return [f"--{flag}={place}" for flag, place in places.items() if not launch.has(flag)]


def _labels(_: Launch, labels: str) -> list[str]:
    each = [labels] if labels.startswith("{") else [label.strip() for label in labels.split(",")]
    return [f"--labels={label}" for label in each if label]


def _subnetwork(launch: Launch, name: str) -> list[str]:
    region = "".join(launch.values[REGION.flag][-1:])
    if "/" in name:
        return [f"--subnetwork={name}"]
    return [f"--subnetwork=regions/{region}/subnetworks/{name}"] if region else []


def _streaming_mode(launch: Launch, mode: str) -> list[str]:
    wanted = (launch.mode, mode) == (STREAMING, AT_LEAST_ONCE)
    return [f"--dataflow_service_options={AT_LEAST_ONCE_OPTION}"] if wanted else []


_ADDRESSES = {"yes": "use_public_ips", "no": "no_use_public_ips"}

_TRANSLATIONS: Mapping[str, Callable[[Launch, str], list[str]]] = {
    BUCKET.flag: _locations,
    LABELS.flag: _labels,
    SUBNETWORK.flag: _subnetwork,
    PUBLIC_IPS.flag: lambda _, wanted: [f"--{_ADDRESSES[wanted]}"],
    STREAMING_MODE.flag: _streaming_mode,
    WORKER_ACCELERATOR.flag: lambda _, kind: [
        f"--dataflow_service_options={WORKER_ACCELERATOR_OPTION}{kind}"
    ],
}
"""How settings are written in Beam's flags; all others have one of the same name."""


def _parser() -> Parser:
    parser = Parser(add_help=False, allow_abbrev=False)
    for setting in SETTINGS:
        names = [f"--{name}" for name in (setting.flag, *setting.aliases)]
        parser.add_argument(*names, action="append", nargs="?", dest=setting.flag)
    parser.add_argument("--dry_run", action="store_true")
    parser.add_argument("--runner", action="append", default=[])
    return parser


def _names(words: Sequence[str]) -> set[str]:
    """Return the names of flags, and that of the setting that is an option of Dataflow's as well."""
    names = {word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")}
    of_all = any(WORKER_ACCELERATOR_OPTION in word for word in words)
    return names | ({WORKER_ACCELERATOR.flag} if of_all else set())


def _has(words: Sequence[str], flag: str) -> bool:
    return any(word.partition("=")[0] == f"--{flag}" for word in words)
