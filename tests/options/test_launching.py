"""The settings of a job on Dataflow: where they come from, and which flags they become."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from options.launching import Launch
from options.passed_over import passed_over
from options.settings import SETTINGS

OF_OTHERS = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "TEMPLATE_FILE"),
    *("CLOUDSDK_CONFIG", "PATH", "HOME", "KEY", "TOKEN", "HTTPS_PROXY", "AWS_ACCESS_KEY_ID"),
)
GPU = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
IMAGE = ("--sdk_container_image", "gcr.io/p/i:1")


def words(*flags: str, mode: str = "batch", **variables: str) -> list[str]:
    launch = Launch.of(mode, flags, variables)
    return launch.words("/checkout/setup.py", "20260101-000000")


def missing(*flags: str, mode: str = "batch", **variables: str) -> list[str]:
    return [problem.partition(" ")[0] for problem in Launch.of(mode, flags, variables).missing()]


def test_a_bucket_gives_the_places_that_are_not_given() -> None:
    assert "--temp_location=gs://b/temp" in words(BUCKET="b")
    assert "--staging_location=gs://b/staging" in words(BUCKET="gs://b/")
    assert [w for w in words("--temp_location", "gs://c/t", BUCKET="b") if "temp_location" in w] == [
        "--temp_location"
    ]


def test_a_flag_of_beams_other_name_for_it_wins_too() -> None:
    assert "--machine_type=n1" in words("--worker_machine_type=n1", MACHINE_TYPE="n2")
    assert "--machine_type=n2" not in words("--worker_machine_type=n1", MACHINE_TYPE="n2")


@pytest.mark.parametrize(
    ("flags", "variables", "expected"),
    [
        ((), {}, []),
        (IMAGE, {}, ["--no_use_public_ips"]),
        (IMAGE, {"PUBLIC_IPS": "yes"}, ["--use_public_ips"]),
        ((*IMAGE, "--use_public_ips"), {}, ["--use_public_ips"]),
        ((), {"PUBLIC_IPS": "no"}, ["--no_use_public_ips"]),
        (("--public_ips", "yes"), {"PUBLIC_IPS": "no"}, ["--use_public_ips"]),
        (IMAGE, {"PUBLIC_IPS": "YES"}, ["--use_public_ips"]),
    ],
)
def test_workers_with_an_image_have_no_public_addresses_unless_they_are_wanted(
    flags: Sequence[str], variables: dict[str, str], expected: Sequence[str]
) -> None:
    assert [word for word in words(*flags, **variables) if "public_ips" in word] == expected


def test_in_streaming_right_fitting_is_switched_on_for_who_asks_for_it() -> None:
    wanted = "--experiments=enable_streaming_rightfitting"
    hint = ("--predict_min_ram", "16GB")
    assert wanted in words(*hint, mode="streaming")
    assert words(*hint, wanted, mode="streaming").count(wanted) == 1
    assert wanted not in words(*hint)
    assert wanted not in words(mode="streaming")


def test_workers_without_an_image_install_this_checkout() -> None:
    assert "--setup_file=/checkout/setup.py" in words()
    assert not [word for word in words(*IMAGE) if "setup_file" in word]
    assert [word for word in words("--setup_file=mine/setup.py") if "setup_file" in word] == [
        "--setup_file=mine/setup.py"
    ]


def test_a_name_is_made_unless_one_is_given_or_a_job_is_replaced() -> None:
    assert "--job_name=beam-predict-streaming-20260101-000000" in words(mode="streaming")
    assert "--job_name=photos" in words(JOB_NAME="photos")
    assert not [word for word in words("--update") if "job_name" in word]


def test_one_file_of_settings_serves_both_modes() -> None:
    both = {
        "INPUT": "gs://b/*",
        "SUBSCRIPTION": "projects/p/subscriptions/s",
        "STREAMING_MODE": "at_least_once",
    }
    batch, streaming = words(**both), words(mode="streaming", **both)
    assert "--input=gs://b/*" in batch
    assert not [word for word in batch if "subscription" in word or "service_options" in word]
    assert "--input_subscription=projects/p/subscriptions/s" in streaming
    assert "--dataflow_service_options=streaming_mode_at_least_once" in streaming
    assert not [word for word in streaming if word.startswith("--input=")]
    watching = words("--watch", "5", mode="streaming", **both)
    assert "--input=gs://b/*" in watching
    assert not [word for word in watching if "subscription" in word]


def test_without_a_model_both_ways_to_give_one_are_told() -> None:
    (told,) = (problem for problem in Launch.of("batch", [], {}).missing() if "--model" in problem)
    assert "pass --model gs://my-bucket/model, or set MODEL=gs://my-bucket/model" in told
    assert re.search(r"pass --endpoint \S+, or set ENDPOINT=\S+$", told)


def test_a_flag_for_what_predicts_wins_over_the_other_in_the_environment() -> None:
    def predicting(*flags: str, **variables: str) -> list[str]:
        return [word for word in words(*flags, **variables) if word.startswith(("--model", "--endpoint"))]

    address = "https://h/v1/models/m"
    assert predicting("--endpoint", address, MODEL="gs://b/m") == [f"--endpoint={address}"]
    assert predicting("--model", "gs://b/m", ENDPOINT=address) == ["--model=gs://b/m"]
    assert predicting(ENDPOINT=address) == [f"--endpoint={address}"]


def test_variables_that_exclude_each_other_are_told_by_their_names() -> None:
    both = {"MODEL": "gs://b/m", "ENDPOINT": "https://h/v1/models/m"}
    (problem,) = Launch.of("batch", [], both).problems()
    assert problem == (
        "MODEL and ENDPOINT are both set, and a job has one of them; leave one out, or pass --model, which "
        "wins"
    )
    assert not [word for word in words(**both) if word.startswith("--endpoint")]
    (problem,) = Launch.of("batch", [], {"PREDICT_ACCELERATOR": GPU, "WORKER_ACCELERATOR": GPU}).problems()
    assert problem.startswith("PREDICT_ACCELERATOR and WORKER_ACCELERATOR are both set")
    (problem,) = Launch.of("batch", [], {"ENDPOINT": both["ENDPOINT"], "WORKER_ACCELERATOR": GPU}).problems()
    assert problem.startswith("ENDPOINT and WORKER_ACCELERATOR are both set")


@pytest.mark.parametrize(
    ("typed", "variables"),
    [
        (["--endpoint=https://h/v1/models/m"], {"PREDICT_ACCELERATOR": GPU, "WORKER_ACCELERATOR": GPU}),
        (["--worker_accelerator", GPU], {"PREDICT_ACCELERATOR": GPU}),
        ([f"--dataflow_service_options=worker_accelerator={GPU}"], {"PREDICT_ACCELERATOR": GPU}),
        (["--predict_accelerator", GPU], {"WORKER_ACCELERATOR": GPU}),
        (["--setup_file=setup.py"], {"IMAGE": "gcr.io/p/i:1"}),
    ],
)
def test_a_flag_displaces_the_variables_that_it_excludes(typed: list[str], variables: dict[str, str]) -> None:
    assert words(*typed, **variables) == words(*typed)
    assert not [problem for problem in Launch.of("batch", typed, variables).problems() if "both" in problem]


def test_what_is_installed_over_an_image_of_beams_leaves_it_in_place() -> None:
    image = "apache/beam_python3.11_sdk:2.77.0"
    assert f"--sdk_container_image={image}" in words("--setup_file=setup.py", IMAGE=image)


@pytest.mark.parametrize("typed", [["--runner", "DirectRunner"], ["--runner=direct"]])
def test_another_runner_is_told_and_not_used(typed: list[str]) -> None:
    (problem,) = Launch.of("batch", typed, {}).problems()
    assert problem.startswith(f"--runner {typed[-1].removeprefix('--runner=')}: jobs of this command run on")
    assert [word for word in words(*typed) if "unner" in word] == ["--runner=DataflowRunner"]
    assert not list(Launch.of("batch", ["--runner=dataflowrunner"], {}).problems())


def test_what_argparse_does_not_take_hides_nothing_else() -> None:
    launch = Launch.of("batch", ["--dry_run=1", "--watch=5", "--runner"], {"REGION": "us-east1"})
    told = list(launch.problems())
    assert "--dry_run takes no value; leave out '1'" in told
    assert "--runner has no value; put one behind it, or leave it out" in told
    assert any(problem.startswith("--watch never ends") for problem in told)
    assert "--region=us-east1" in launch.words("setup.py", "now")


def test_what_belongs_to_no_setting_is_passed_on_unchanged() -> None:
    assert words("--max_batch_size", "8", "--experiments=a", "stray")[-4:] == [
        "--max_batch_size",
        "8",
        "--experiments=a",
        "stray",
    ]


def test_repeated_flags_stay_repeated() -> None:
    given = words("--input", "gs://b/1", "--input", "gs://b/2", "--label=a=1", "--labels", "b=2,c=3")
    assert [word for word in given if word.startswith(("--input=", "--labels="))] == [
        *("--input=gs://b/1", "--input=gs://b/2", "--labels=a=1", "--labels=b=2", "--labels=c=3")
    ]


def test_a_mere_subnetwork_is_one_in_the_region() -> None:
    assert "--subnetwork=regions/us-east1/subnetworks/a" in words(
        "--region=us-east1", SUBNETWORK="a", REGION="x"
    )
    assert "--subnetwork=regions/r/subnetworks/a" in words(SUBNETWORK="regions/r/subnetworks/a")


def test_what_each_mode_needs_is_missing() -> None:
    common = ["--project", "--region", "--bucket", "--model", "--output"]
    assert sorted(missing()) == sorted([*common, "--input"])
    assert sorted(missing(mode="streaming")) == sorted([*common, "--input_subscription"])
    assert "--input_subscription" not in missing("--input_topic", "projects/p/topics/t", mode="streaming")
    assert "--bucket" not in missing("--temp_location=gs://b/t")
    assert "--model" not in missing(MODEL="gs://b/m")
    assert "--model" in missing(MODEL="")
    assert "--model" not in missing("--endpoint=https://h/v1/models/m")
    assert "--model" not in missing(ENDPOINT="https://h/v1/models/m")


def test_words_that_a_setting_does_not_take_are_told() -> None:
    launch = Launch.of("streaming", [], {"STREAMING_MODE": "atleastonce", "PUBLIC_IPS": "maybe"})
    ips, mode = launch.problems()
    assert ips == "--public_ips (or PUBLIC_IPS) must be one of yes, no; got 'maybe'"
    assert mode.startswith(
        "--streaming_mode (or STREAMING_MODE) must be one of exactly_once, at_least_once (did you"
    )


def test_a_number_that_is_none_is_told_with_its_variable() -> None:
    given = {"NUM_WORKERS": "two", "MAX_NUM_WORKERS": "-1"}
    workers, most = Launch.of("batch", [], given).problems()
    assert workers == ("--num_workers (or NUM_WORKERS) must be a whole number of at least 1; got 'two'")
    assert most.startswith("--max_num_workers (or MAX_NUM_WORKERS) must be a whole number")
    assert not [word for word in words(**given) if "workers" in word]


def test_words_that_a_setting_does_not_take_are_left_out_of_the_command() -> None:
    given = {"STREAMING_MODE": "atleastonce", "PUBLIC_IPS": "maybe", "WORKER_ACCELERATOR": "t4"}
    command = words(*IMAGE, mode="streaming", REGION="us-east1", **given)
    assert "--region=us-east1" in command
    assert not [word for word in command if "service_options" in word or "public_ips" in word]


def test_a_flag_without_its_value_is_told_with_all_else() -> None:
    launch = Launch.of("batch", ["--region", "--project", "p", "--watch", "5", "--public_ips"], {})
    region, *others = launch.wrong()
    assert region == (
        "--region is missing: there is no value behind it; pass --region us-central1, or set "
        "REGION=us-central1"
    )
    assert any(other.startswith("--public_ips is missing: there is no value behind it") for other in others)
    assert any(other.startswith("--watch never ends") for other in others)
    assert not [other for other in others if "--region" in other or "--project" in other]
    assert "--project=p" in launch.words("setup.py", "now")


def test_a_model_without_its_value_is_told_once() -> None:
    assert missing("--model").count("--model") == 1


def test_the_environment_gives_what_a_flag_without_a_value_does_not() -> None:
    launch = Launch.of("batch", ["--region"], {"REGION": "us-east1"})
    assert "--region=us-east1" in launch.words("setup.py", "now")
    assert [problem for problem in launch.wrong() if problem.startswith("--region is missing: there is no")]


def test_a_mere_subnetwork_without_a_region_is_left_out() -> None:
    assert not [word for word in words(SUBNETWORK="a") if "subnetwork" in word]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("PROJCT", "did you mean PROJECT?"),
        ("region", "did you mean REGION?"),
        ("WORKERS", "did you mean NUM_WORKERS?"),
        ("INPUT_SUBSCRIPTION", "did you mean SUBSCRIPTION?"),
        ("MAX_BATCH_SIZE", "pass --max_batch_size on the command line"),
        ("MODEL_VERSION", "pass --model_version on the command line"),
        ("MODEL_POLL_INTERVAL", "pass --model_poll_interval on the command line"),
        ("AUTOSCALING_ALGORITHM", "pass --autoscaling_algorithm on the command line"),
        ("BATCH_SIZE", "did you mean --min_batch_size or --max_batch_size on the command line?"),
    ],
)
def test_a_name_that_nothing_reads_is_told(name: str, told: str) -> None:
    assert list(passed_over([name, "PROJECT"])) == [f"{name} in .env is no setting; {told}"]


def test_variables_of_other_programs_are_nobodys_mistake() -> None:
    assert list(passed_over(OF_OTHERS)) == []


@pytest.mark.parametrize("endless", [("--watch", "5"), ("--watch=5",), ("--watch",)])
def test_what_never_ends_hides_nothing_of_a_job_in_batch(endless: tuple[str, ...]) -> None:
    launch = Launch.of("batch", endless, {"INPUT": "gs://b/*"})
    assert list(launch.problems()) == ["--watch never ends, and a job in batch does; use streaming"]
    assert "--input" not in [problem.partition(" ")[0] for problem in launch.missing()]
    command = launch.words("setup.py", "now")
    assert "--input=gs://b/*" in command
    assert not [word for word in command if word.startswith("--watch") or word == "5"]


def test_a_subscription_hides_nothing_of_a_job_in_batch() -> None:
    subscription = ("--input_subscription=projects/p/subscriptions/s", "--id_label", "id")
    command = words(*subscription, INPUT="gs://b/*")
    assert "--input=gs://b/*" in command
    assert not [word for word in command if "subscription" in word or word in ("--id_label", "id")]
    assert "--input" not in missing(*subscription)


def test_watch_alone_has_nothing_to_watch() -> None:
    assert "--input" in missing("--watch", "5")
    assert "--input" in missing("--watch", "5", mode="streaming")


def test_each_setting_has_its_own_flag_and_variable() -> None:
    assert len({setting.flag for setting in SETTINGS}) == len({s.variable for s in SETTINGS}) == len(SETTINGS)
