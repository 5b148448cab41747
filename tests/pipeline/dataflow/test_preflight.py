"""Each check before a job on Dataflow, made to fail once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emulators.credentials import write_credentials
from emulators.dataflow import Refused
from options.parsing import read
from pipeline.dataflow import preflight
from pipeline.dataflow.checklist import Outcome
from pipeline.dataflow.launcher_versions import versions
from pipeline.dataflow.names import email_problems, job_name_problems, project_problems, region_problems
from pipeline.run import check
from tests.conftest import MODEL, Warehouse
from tests.google_cloud import BUCKET, GoogleCloud, add_image
from transforms.errors import UsageError
from transforms.sinks.bigquery_tables import EMULATOR_VARIABLE

Problems = Callable[..., list[str]]


def report_of(flags: Sequence[str]) -> preflight.Report:
    return preflight.inspect(read(flags))


@pytest.fixture
def problems(cloud: GoogleCloud) -> Problems:
    """What is wrong with a job that is right but for what is changed; None takes a flag away."""

    def find(**changed: str | None) -> list[str]:
        flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in cloud.flags)
        for name, value in changed.items():
            flags.pop(name, None)
            if value is not None:
                flags[name] = value
        return report_of(
            [f"--{name}={value}" if value else f"--{name}" for name, value in flags.items()]
        ).problems

    return find


def test_a_job_that_can_run_has_no_problem(cloud: GoogleCloud) -> None:
    report = report_of(cloud.flags)
    assert report.problems == []
    assert report.predictor is not None
    assert [name for (kind, name) in cloud.dataflow.requests if kind == "POST" and "jobs" in name] == []


@pytest.mark.parametrize(
    ("region", "told"),
    [
        (None, "--region is missing: pass --region us-central1"),
        ("us-centrall", "--region us-centrall is no region of Dataflow's; did you mean us-central1?"),
        ("us-central9", "--region us-central9 is no region of Dataflow's; did you mean us-central1?"),
        ("us-central1-a", "--region us-central1-a is a zone; its region is us-central1"),
        ("US-CENTRAL1", "--region US-CENTRAL1 is no region of Dataflow's; did you mean us-central1?"),
    ],
)
def test_a_region_that_is_none_is_told(problems: Problems, region: str | None, told: str) -> None:
    (problem,) = problems(region=region)
    assert problem.startswith(told)


def test_a_region_that_only_dataflow_knows_is_left_to_it(cloud: GoogleCloud) -> None:
    cloud.dataflow.regions += ("moon-west1",)
    try:
        report = report_of([*cloud.flags, "--region=moon-west1"])
    finally:
        cloud.dataflow.regions = cloud.dataflow.regions[:-1]
    assert report.problems == []
    told = "moon-west1 is not in the list of regions that this version knows; Dataflow answered for it"
    assert f"not checked  region: {told}" in str(report)
    assert "ok           Dataflow" in str(report)


def test_what_dataflow_says_of_a_misspelt_region_is_told_with_it(problems: Problems) -> None:
    (problem,) = problems(region="us-central9")
    assert problem.endswith("did you mean us-central1? Dataflow answers: Unknown location: us-central9.")


def test_a_misspelt_region_may_be_refused_as_if_rights_were_missing(
    cloud: GoogleCloud, problems: Problems
) -> None:
    cloud.dataflow.list_refusals.append(Refused(403, "PERMISSION_DENIED", "the caller has no permission"))
    region, project = problems(region="us-central9")
    assert region == "--region us-central9 is no region of Dataflow's; did you mean us-central1?"
    assert project.startswith("--project my-project: Dataflow refuses (the caller has no permission)")


def test_a_region_is_not_wrong_because_dataflow_does_not_answer(
    cloud: GoogleCloud, problems: Problems
) -> None:
    cloud.dataflow.list_refusals.append(Refused(503, "UNAVAILABLE", "The service is unavailable."))
    (problem,) = problems(region="moon-west1")
    assert "does not answer as it should (503" in problem


@pytest.mark.parametrize("code", [400, 404])
def test_what_else_dataflow_refuses_is_not_blamed_on_a_region_that_there_is(
    cloud: GoogleCloud, problems: Problems, code: int
) -> None:
    cloud.dataflow.list_refusals.append(Refused(code, "REFUSED", "there is another reason"))
    (problem,) = problems()
    assert problem == (
        "Dataflow refuses to list the jobs of --project my-project in --region us-central1 (there is another "
        "reason); check both"
    )


@pytest.mark.parametrize(
    ("project", "told"),
    [
        (None, "--project is missing"),
        ("123456789012", "--project 123456789012 is a project's number"),
        ("My Project", "--project My Project is no id of a project"),
    ],
)
def test_a_project_that_cannot_be_one_is_told(problems: Problems, project: str | None, told: str) -> None:
    (problem,) = problems(project=project)
    assert problem.startswith(told)


def test_a_project_in_which_one_may_not_start_jobs_is_told(cloud: GoogleCloud, problems: Problems) -> None:
    cloud.dataflow.projects = ("another-project",)
    try:
        (problem,) = problems()
    finally:
        cloud.dataflow.projects = None
    assert problem.startswith("--project my-project: Dataflow refuses ")
    assert "roles/dataflow.developer" in problem
    assert "gcloud services enable dataflow.googleapis.com --project=my-project" in problem


MISSING = "gs://no-such-bucket"
MAKING = f"`gcloud storage buckets create {MISSING} --project=my-project --location=us-central1` makes one"


def test_a_missing_bucket_is_told_with_the_command_that_makes_it(problems: Problems) -> None:
    (problem,) = problems(
        temp_location=f"{MISSING}/temp",
        staging_location=f"{MISSING}/staging",
        template_location=f"{MISSING}/template.json",
    )
    assert problem == (
        f"--temp_location {MISSING}/temp, --staging_location {MISSING}/staging, --template_location "
        f"{MISSING}/template.json cannot be written: there is no bucket {MISSING}; {MAKING}"
    )


@pytest.mark.parametrize("flag", ["temp_location", "template_location"])
def test_a_missing_bucket_is_told_without_the_checks_too(cloud: GoogleCloud, flag: str) -> None:
    flags = [word for word in cloud.flags if not word.startswith(f"--{flag}")]
    assert check(read([*cloud.flags, "--skip_preflight"])).model == f"gs://{BUCKET}/model"
    with pytest.raises(UsageError) as caught:
        check(read([*flags, "--skip_preflight", f"--{flag}={MISSING}/there"]))
    assert caught.value.problems == [f"--{flag} {MISSING}/there: there is no bucket {MISSING}; {MAKING}"]


@pytest.mark.parametrize(
    ("flag", "place", "told"),
    [
        ("temp_location", None, "--temp_location is missing"),
        ("temp_location", "temp", "--temp_location temp: must be gs://BUCKET/FOLDER"),
        ("temp_location", "gs://bucket", "--temp_location gs://bucket: must be gs://BUCKET/FOLDER"),
        ("template_location", "/srv/x", "--template_location /srv/x: must be gs://BUCKET/FOLDER"),
    ],
)
def test_a_place_that_is_no_bucket_is_told(
    problems: Problems, flag: str, place: str | None, told: str
) -> None:
    (problem,) = problems(**{flag: place})
    assert problem.startswith(told)


def test_a_bucket_that_may_not_be_written_is_told(
    cloud: GoogleCloud, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.api_core.exceptions import Forbidden

    def refuse(_: str) -> None:
        raise Forbidden("launcher does not have storage.objects.create access")

    monkeypatch.setattr("pipeline.dataflow.buckets.storage.create", refuse)
    (temporary, _) = problems()
    assert temporary.endswith("you have no right to; roles/storage.objectAdmin on gs://photos-bucket is one")


def test_nothing_is_left_in_the_buckets(cloud: GoogleCloud, problems: Problems) -> None:
    def names() -> list[str]:
        return [blob.name for blob in cloud.storage.list_blobs(BUCKET)]

    before = names()
    assert problems() == []
    assert names() == before


def test_a_typo_in_the_models_path_is_told(problems: Problems) -> None:
    (problem,) = problems(model=f"gs://{BUCKET}/modle")
    assert f"gs://{BUCKET}/modle" in problem


def test_inputs_and_outputs_are_checked_as_for_any_runner(problems: Problems) -> None:
    found = problems(input=f"gs://{BUCKET}/none/*.png", output="gs://no-such-bucket/out")
    assert any(problem.startswith(f"--input gs://{BUCKET}/none/*.png: ") for problem in found)
    assert any("cannot be written (there is no bucket gs://no-such-bucket)" in problem for problem in found)


def outcome(report: preflight.Report, name: str) -> Outcome:
    (found,) = (each for each in report.outcomes if each.name == name)
    return found


def test_model_inputs_and_outputs_are_told_apart(cloud: GoogleCloud) -> None:
    wrong = [f"--model=gs://{BUCKET}/modle", "--output=gs://no-such-bucket/out"]
    flags = [flag for flag in cloud.flags if not flag.startswith(("--model", "--output"))]
    report = report_of([*flags, *wrong])
    assert len(outcome(report, "model").problems) == 1
    assert outcome(report, "inputs") == Outcome("inputs", [])
    assert "no bucket gs://no-such-bucket" in outcome(report, "outputs").problems[0]


def test_whether_a_table_fits_is_known_with_the_model(cloud: GoogleCloud) -> None:
    flags = [flag for flag in cloud.flags if not flag.startswith(("--model", "--output"))]
    report = report_of([*flags, f"--model=gs://{BUCKET}/modle", "--output=bigquery:my-project.a.b"])
    assert outcome(report, "outputs").not_checked.startswith("whether the table takes the predictions: ")
    assert len(report.problems) == 1


def test_a_flag_that_is_wrong_hides_only_what_it_is_about(problems: Problems) -> None:
    found = problems(
        output_format="xml", max_batch_size="0", model=f"gs://{BUCKET}/modle", input=f"gs://{BUCKET}/none/*"
    )
    assert [problem.split()[0] for problem in found] == [
        *("--max_batch_size", "--output_format", "--model", "--input")
    ]


def test_a_job_with_a_model_and_an_endpoint_has_neither_checked(cloud: GoogleCloud) -> None:
    report = report_of([*cloud.flags, "--endpoint=https://h/v1/models/m", "--endpoint_protocol=tf_serving"])
    (problem,) = report.problems
    assert "are given together" in problem
    assert outcome(report, "endpoint").not_checked == "a job has a model or an endpoint"


@pytest.mark.parametrize(
    ("name", "suggested"), [("My_Photos", "my-photos"), ("9-lives", "lives"), ("photos-", "photos")]
)
def test_a_job_name_with_other_characters_is_told_with_one_that_can_be(
    problems: Problems, name: str, suggested: str
) -> None:
    (problem,) = problems(job_name=name)
    assert problem.startswith(f"--job_name {name}: must be lower-case letters, digits and -")
    assert problem.endswith(f", such as {suggested}")


def running_job(cloud: GoogleCloud, name: str) -> str:
    from google.cloud import dataflow_v1beta3 as api

    job = api.Job(id="a-job", name=name, current_state=api.JobState.JOB_STATE_RUNNING)
    cloud.dataflow.jobs[job.id] = job
    return str(job.id)


def test_a_name_that_a_running_job_has_is_told(cloud: GoogleCloud, problems: Problems) -> None:
    job_id = running_job(cloud, "photos")
    (problem,) = problems(job_name="photos")
    assert problem.startswith(f"--job_name photos is the name of a job that runs, {job_id}; give another")
    assert problems(job_name="others") == []


def test_an_update_of_no_job_is_told_with_those_that_run(cloud: GoogleCloud, problems: Problems) -> None:
    running_job(cloud, "photos")
    found = problems(job_name="fotos", update="", watch="5")
    assert found == ["--update: there is no job fotos in us-central1 to replace; those that run: photos"]
    assert problems(job_name="photos", update="", watch="5") == []


def test_a_bucket_is_not_made_in_a_region_that_is_none(problems: Problems) -> None:
    found = problems(region="us-centrall", temp_location=f"{MISSING}/temp")
    (problem,) = (problem for problem in found if "there is no bucket" in problem)
    assert "--location=REGION` makes one" in problem


@pytest.mark.parametrize(
    ("part", "title"), [("python", "Python"), ("beam", "Apache Beam"), ("package", "beam-predict")]
)
def test_an_image_of_another_version_is_told(
    cloud: GoogleCloud, problems: Problems, part: str, title: str
) -> None:
    other = {"python": "3.1.4", "beam": "2.0.0", "package": "0.0.1"}[part]
    image = add_image(cloud.registry, f"other-{part}", **{part: other})
    (problem,) = problems(sdk_container_image=image)
    shown = "3.1" if part == "python" else other
    assert f"--sdk_container_image {image} has {title} {shown}, the launching process " in problem


def test_an_image_that_is_not_there_is_told(cloud: GoogleCloud, problems: Problems) -> None:
    (problem,) = problems(sdk_container_image=f"{cloud.registry.host}/images/beam-predict:nine")
    assert "its registry shows no such image (404" in problem


def test_an_image_that_says_nothing_of_itself_is_reported(cloud: GoogleCloud) -> None:
    image = cloud.registry.add("images/silent", "1", {})
    flags = [flag for flag in cloud.flags if "sdk_container_image" not in flag]
    report = report_of([*flags, f"--sdk_container_image={image}"])
    assert report.problems == []
    told = "has no label that tells its version of Python, Apache Beam, beam-predict"
    assert f"not checked  image: {image} {told}" in str(report)


def test_beams_own_image_is_known_by_its_name(problems: Problems) -> None:
    here = versions()
    python = here["beam-predict.python"]
    found = problems(sdk_container_image=f"apache/beam_python{python}_sdk:2.1.0", setup_file="setup.py")
    assert any(f"take beam_python{python}_sdk:{here['beam-predict.beam']}" in problem for problem in found)


def test_a_registry_that_does_not_answer_is_reported(cloud: GoogleCloud) -> None:
    flags = [flag for flag in cloud.flags if "sdk_container_image" not in flag]
    report = report_of([*flags, "--sdk_container_image=localhost:9/images/beam-predict:1"])
    assert report.problems == []
    assert "not checked  image: localhost:9 does not tell its versions (ConnectionError)" in str(report)


@pytest.mark.parametrize("email", ["predict", "x@y.com,z", "me@example.com", "a b@p.iam.gserviceaccount.com"])
def test_a_service_account_that_is_none_is_told(problems: Problems, email: str) -> None:
    (problem,) = problems(service_account_email=email)
    assert problem.startswith(f"--service_account_email {email}: must be NAME@PROJECT.iam.gserviceaccount")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"requirements_file": "none.txt"}, "--requirements_file none.txt: there is no such file"),
        ({"extra_package": "none.tar.gz"}, "--extra_package none.tar.gz: there is no such file"),
        ({"extra_package": "none.egg"}, "--extra_package none.egg: must be a file whose name ends in .tar, "),
    ],
)
def test_a_package_that_is_not_there_is_told(problems: Problems, changed: dict[str, str], told: str) -> None:
    (problem,) = problems(**changed)
    assert problem.startswith(told)


def test_packages_that_are_there_are_accepted(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "more.tar.gz").touch()
    for changed in (
        {"requirements_file": str(tmp_path / "requirements.txt")},
        {"extra_package": str(tmp_path / "more.tar.gz")},
        {"extra_package": f"gs://{BUCKET}/more.whl"},
    ):
        assert problems(**changed) == []


def test_without_credentials_the_rest_is_told_as_far_as_it_can_be(
    cloud: GoogleCloud, problems: Problems, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    found = problems(region="us-central9", job_name="Photos", temp_location="gs://no-such-bucket/temp")
    assert found[0].startswith("no credentials were found; run `gcloud auth application-default login`")
    assert found[1].startswith("--region us-central9 is no region of Dataflow's; did you mean")
    assert found[2].startswith("--job_name Photos: must be")
    assert len(found) == 3


def test_credentials_that_are_no_longer_valid_are_told(
    cloud: GoogleCloud, problems: Problems, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write_credentials(tmp_path, f"{cloud.dataflow.endpoint}/no-such-path")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    (problem,) = problems()
    assert problem.startswith("the credentials are not valid (")


def test_dataflow_that_does_not_answer_is_told(cloud: GoogleCloud, problems: Problems) -> None:
    (problem,) = problems(dataflow_endpoint="http://localhost:9")
    assert problem.startswith("http://localhost:9 does not answer as it should (")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"setup_file": "setup.py"}, "would be installed at the start of each worker over what"),
        ({"update": "", "job_name": "photos"}, "--update replaces a streaming job, and this is none"),
        ({"update": "", "watch": "5"}, "--update needs --job_name"),
        ({"transform_name_mapping": '{"a": "b"}'}, "--transform_name_mapping has no effect without --update"),
        (
            {"dataflow_service_options": "streaming_mode_at_least_once"},
            "is for streaming, and this job is none",
        ),
        (
            {
                "predict_accelerator": "type:nvidia-tesla-t4;count:1;install-nvidia-driver",
                "dataflow_service_options": "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
            },
            "exclude each other",
        ),
        ({"flexrs_goal": "COST_OPTIMIZED", "watch": "5"}, "--flexrs_goal COST_OPTIMIZED is for batch"),
        ({"flexrs_goal": "COST_OPTIMIZED", "predict_min_ram": "16GB"}, "leave one of them out"),
        ({"predict_accelerator": "nvidia-tesla-t4"}, "must be such as 'type:nvidia-tesla-t4;count:1;"),
        ({"predict_min_ram": "much"}, "must be a number with a unit, such as 16GB"),
        ({"num_workers": "5", "max_num_workers": "2"}, "--num_workers 5 is above --max_num_workers 2"),
        ({"num_workers": "0"}, "--num_workers 0: must be a whole number of at least 1"),
        ({"worker_region": "us-east1", "worker_zone": "us-east1-b"}, "exclude each other"),
        ({"subnetwork": "default"}, "must be regions/us-central1/subnetworks/NAME, or its URL"),
        ({"subnetwork": "regions/us-east1/subnetworks/a"}, "is not in --region us-central1"),
        ({"labels": "Team=photos"}, "--labels Team=photos: must be NAME=VALUE of lower-case letters"),
        ({"streaming": ""}, "--streaming: --input ends"),
        ({"input": "examples/digits/images/*.png"}, "is on this machine, and Dataflow's workers are not"),
        ({"model": "examples/digits/model"}, "is on this machine, and Dataflow's workers are not"),
        ({"output": "out"}, "is on this machine, and Dataflow's workers are not"),
        ({"sdk_container_image": None}, "Dataflow's workers have no beam-predict"),
        ({"sdk_container_image": None, "setup_file": "no/setup.py"}, "must be the setup.py of a checkout"),
        ({"sdk_container_image": "apache/beam_python3.11_sdk:2.77.0"}, "is Beam's own, without beam-predict"),
    ],
)
def test_flags_that_contradict_each_other_are_told(
    problems: Problems, changed: dict[str, str | None], told: str
) -> None:
    assert any(told in problem for problem in problems(**changed)), problems(**changed)


def test_all_is_told_at_once(cloud: GoogleCloud, problems: Problems) -> None:
    found = problems(
        region="us-centrall",
        job_name="Photos",
        temp_location="gs://no-such-bucket/temp",
        model=f"gs://{BUCKET}/modle",
        input=f"gs://{BUCKET}/none/*",
        service_account_email="predict",
        num_workers="0",
        sdk_container_image=f"{cloud.registry.host}/images/none:1",
    )
    assert len(found) == 8, found


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"model": "my-bucket/model"},
            "--model my-bucket/model is no place in Cloud Storage, nor on this machine; "
            "did you mean gs://my-bucket/model?",
        ),
        (
            {"input": "my-bucket/*.png"},
            "--input my-bucket/*.png is no place in Cloud Storage, nor on this machine; "
            "did you mean gs://my-bucket/*.png?",
        ),
        ({"max_num_workers": "-1"}, "--max_num_workers -1: must be a whole number of at least 1"),
        (
            {"num_workers": "3", "max_num_workers": "-1"},
            "--max_num_workers -1: must be a whole number of at least 1",
        ),
    ],
)
def test_one_mistake_is_told_in_one_line(problems: Problems, changed: dict[str, str], told: str) -> None:
    assert problems(**changed) == [told]


def test_a_missing_dataset_is_to_be_made_where_the_job_is(
    warehouse: Warehouse, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EMULATOR_VARIABLE, warehouse.bigquery_host)
    found = problems(output="bigquery:my-project.nowhere.t")
    command = "bq --location=us-central1 mk --dataset my-project:nowhere"
    assert [problem for problem in found if command in problem], found


def test_what_is_left_open_is_told_before_a_job_starts(
    cloud: GoogleCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    check(read([*cloud.flags, "--no_use_public_ips"]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("not checked: network: whether subnetwork default has Private Google Access")


@pytest.mark.parametrize(
    "wrong", ["--job_name=Photos", "--region=us-central1-a", "--service_account_email=predict"]
)
def test_names_in_a_wrong_form_are_told_without_the_checks_too(cloud: GoogleCloud, wrong: str) -> None:
    with pytest.raises(UsageError) as raised:
        check(read([*cloud.flags, "--skip_preflight", wrong]))
    (problem,) = raised.value.problems
    assert problem.startswith(wrong.replace("=", " "))


def test_a_refusal_of_the_service_is_no_crash(cloud: GoogleCloud, problems: Problems) -> None:
    refused = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
    cloud.dataflow.list_refusals.append(refused)
    (problem,) = problems()
    assert "does not answer as it should (503" in problem


def test_a_model_of_the_image_is_read_where_it_is_on_this_machine_too(problems: Problems) -> None:
    assert problems(model=str(MODEL.resolve())) == []


def test_a_model_that_only_the_image_may_have_is_told_with_what_to_do(problems: Problems) -> None:
    (problem,) = problems(model="/no/such/model")
    assert problem == (
        "--model /no/such/model: there is no file or folder of that name on this machine; if the image has "
        "it, start the job from that image's template (./run_dataflow.sh template run), or name where it was "
        "copied from (gs://...): an image made with deploy/model.Dockerfile holds copies that workers use "
        "instead of fetching"
    )


def test_a_model_that_only_the_image_may_have_is_left_to_a_launch_there(cloud: GoogleCloud) -> None:
    flags = [flag for flag in cloud.flags if not flag.startswith("--model")]
    report = preflight.inspect(read([*flags, "--model=/no/such/model"]), launched_in_image=True)
    assert report.problems == []
    told = "/no/such/model is not on this machine; it is looked for in the image"
    assert outcome(report, "model").not_checked == told


def test_the_network_is_among_the_checks(cloud: GoogleCloud) -> None:
    told = "not checked  network: whether subnetwork default has Private Google Access"
    assert told in str(report_of([*cloud.flags, "--no_use_public_ips"]))
    assert "ok           network" in str(report_of(cloud.flags))


@pytest.mark.parametrize("wrong", ["--region=us-central9", "--project=123456789012"])
def test_no_command_is_given_for_a_place_that_is_none(cloud: GoogleCloud, wrong: str) -> None:
    report = report_of([*cloud.flags, "--no_use_public_ips", wrong])
    assert outcome(report, "network").not_checked == "--project and --region must be right first"


def test_names_that_are_right_are_left_alone() -> None:
    assert not [*project_problems("google.com:my-project"), *region_problems("europe-west12")]
    assert not [*job_name_problems("a"), *job_name_problems(None)]
    for account in (
        "predict@my-project.iam.gserviceaccount.com",
        "predict@my-project.example.com.iam.gserviceaccount.com",
        "123-compute@developer.gserviceaccount.com",
        "my-project@appspot.gserviceaccount.com",
    ):
        assert not list(email_problems(account))
