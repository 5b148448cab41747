"""`beam-predict inspect`, on real models and on what is none."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.cloud.bigquery import SchemaField

from emulators.storage import fake_gcs_server, storage_client_of
from pipeline.convert import main as convert
from pipeline.inspect_model import main
from tests.transforms.predictors.engines.installed import require
from transforms.errors import UsageError
from transforms.predictors.saved_model_files import fingerprint
from transforms.predictors.tensorflow_runtime import import_tensorflow

ROOT = Path(__file__).parents[2]
DIGITS = "examples/digits/model"
SIZE = sum(path.stat().st_size for path in (ROOT / DIGITS).rglob("*") if path.is_file())

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str]) -> Any:
    """Inspect a model with flags, and return the JSON object that is printed."""

    def run(model: str, *flags: str) -> Json:
        assert main(["--model", model, "--json", *flags]) == 0
        printed: Json = json.loads(capsys.readouterr().out)
        return printed

    return run


@pytest.fixture
def inspect_as_text(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(model: str, *flags: str) -> str:
        assert main(["--model", model, *flags]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a model with signatures of many kinds."""
    tf = import_tensorflow()
    module, signatures = tf.Module(), {}

    def add(name: str, outputs: Any, **inputs: tuple[Any, list[int | None]]) -> None:
        specs = [tf.TensorSpec(shape, dtype, name) for name, (dtype, shape) in inputs.items()]
        signatures[name] = tf.function(outputs, input_signature=specs, autograph=False)

    column, vector = (tf.string, [None]), (tf.float32, [None, 4])
    add(
        "score",
        lambda content, sequence, threshold: {
            "sequence": sequence,
            "below": tf.strings.length(content) < threshold,
        },
        image_bytes=column,
        sequence=(tf.int64, [None]),
        threshold=(tf.int32, []),
    )
    add("unclear", lambda first, second: {"both": first + second}, x=column, y=column)
    add(
        "vectors",
        lambda x: {"dense/1": x, "matrix": x[:, None], "any": tf.compat.v1.placeholder_with_default(x, None)},
        x=vector,
    )
    add("alike", lambda x: {"Label": x, "label": x}, x=vector)
    add("waves", lambda x: {"wave": tf.complex(x, x)}, x=vector)
    folder = str(tmp_path_factory.mktemp("strange") / "model")
    tf.saved_model.save(module, folder, signatures=signatures)
    return folder


def test_the_page_shows_what_is_printed(inspect_as_text: Any) -> None:
    page = (ROOT / "docs/models.md").read_text()
    shown = re.search(r"^```bash\n(beam-predict inspect .*?)\n```\n\n```text\n(.*?)^```$", page, re.M | re.S)
    assert shown
    *_, model = shlex.split(shown.group(1))

    assert inspect_as_text(model) == shown.group(2)


def test_the_page_lists_the_members_of_the_json_object(inspect: Any) -> None:
    page = (ROOT / "docs/models.md").read_text()
    for member in inspect(DIGITS):
        assert re.search(rf"^\| [^|]*`{member}`[^|]* \|", page, re.M)
    for member in inspect(DIGITS)["use"]:
        assert f"`{member}`" in page


def test_a_saved_model_is_told_to_programs(inspect: Any) -> None:
    found = inspect(DIGITS)

    assert found["model"] == found["path"] == DIGITS
    assert found["kind"] == "SavedModel"
    assert found["versions"] == []
    assert found["version"] == found["fingerprint"] == fingerprint(DIGITS)
    assert (found["size_bytes"], found["files"]) == (SIZE, 4)
    assert found["problems"] == {}
    assert [signature["name"] for signature in found["signatures"]] == [
        "from_bytes",
        "from_images",
        "preprocess",
        "serving_default",
    ]
    assert found["signatures"][1]["inputs"] == [
        {"name": "images", "dtype": "float32", "shape": [None, 8, 8, 1]}
    ]
    assert found["signatures"][3]["outputs"] == [
        {"name": "label", "dtype": "int64", "shape": [None]},
        {"name": "probability", "dtype": "float32", "shape": [None]},
        {"name": "scores", "dtype": "float32", "shape": [None, 10]},
    ]


def test_the_schemas_are_those_of_the_predictions(inspect: Any) -> None:
    found = inspect(DIGITS)

    arrow = {column["name"]: column for column in found["arrow_schema"]}
    assert arrow["uri"] == {"name": "uri", "type": "string", "nullable": False}
    assert arrow["generation"] == {"name": "generation", "type": "int64", "nullable": True}
    assert [column["type"] for column in arrow["outputs"]["fields"]] == [
        "int64",
        "float",
        "list<item: float>",
    ]
    bigquery = [SchemaField.from_api_repr(field) for field in found["bigquery_schema"]]
    assert [field.name for field in bigquery] == list(arrow)


@pytest.mark.parametrize(
    ("flags", "use"),
    [
        ((), {"signature": "serving_default", "input_kind": "names", "item_input": "filenames"}),
        (
            ("--signature", "from_bytes"),
            {"signature": "from_bytes", "input_kind": "bytes", "item_input": "image_bytes"},
        ),
        (
            ("--signature", "from_images"),
            {
                "signature": "from_images",
                "input_kind": "bytes",
                "item_input": "image_bytes",
                "preprocess_signature": "preprocess",
            },
        ),
        (
            ("--signature", "from_images", "--preprocess", "scale=-1..1"),
            {
                "signature": "from_images",
                "input_kind": "images",
                "item_input": "images",
                "preprocess": "size=8x8,resize=stretch,scale=-1..1,color=gray,orientation=ignore",
            },
        ),
        (
            ("--input_kind", "bytes"),
            {"signature": "serving_default", "input_kind": "bytes", "item_input": "filenames"},
        ),
    ],
)
def test_the_use_of_a_model_follows_from_the_flags(inspect: Any, flags: Sequence[str], use: Json) -> None:
    nothing = {"preprocess_signature": None, "preprocess": None, "attribute_inputs": [], "constants": {}}
    assert inspect(DIGITS, *flags)["use"] == nothing | use


def test_other_inputs_take_attributes_and_constants(inspect: Any, inspect_as_text: Any, strange: str) -> None:
    flags = ("--signature", "score", "--model_inputs", "threshold=100")

    use = inspect(strange, *flags)["use"]

    assert (use["item_input"], use["attribute_inputs"]) == ("image_bytes", ["sequence"])
    assert use["constants"] == {"threshold": 100}
    text = inspect_as_text(strange, *flags)
    assert "    image_bytes  the bytes of the file\n" in text
    assert "    sequence     the attribute of that name\n" in text
    assert "    threshold    100, for all files\n" in text


def test_added_classes_are_columns(inspect: Any) -> None:
    (outputs,) = [field for field in inspect(DIGITS, "--top_k", "3")["bigquery_schema"] if "fields" in field]

    assert [field["name"] for field in outputs["fields"]][-2:] == ["top_indexes", "top_scores"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--signature", "unclear"), "does not tell which of its inputs takes the item; pass --item_input"),
        (("--signature", "unclear", "--item_input", "x"), "pass --input_kind names or --input_kind bytes"),
        (("--signature", "score"), "input threshold: int32 [] has no batch dimension: pass --model_inputs"),
        (("--signature", "missing"), "has no signature 'missing'; pass --signature with one that it has"),
    ],
)
def test_what_the_pipeline_would_refuse_is_told_and_the_rest_as_well(
    inspect: Any, inspect_as_text: Any, strange: str, flags: Sequence[str], told: str
) -> None:
    found = inspect(strange, *flags)

    assert found["use"] is None
    assert told in found["problems"]["use"]
    assert len(found["signatures"]) == 5
    text = inspect_as_text(strange, *flags)
    assert "It cannot: " in text
    assert told in " ".join(text.split())
    assert (found["bigquery_schema"] is None) == ("missing" in flags)


def test_vectors_matrices_and_outputs_of_any_shape_have_their_columns(
    inspect: Any, inspect_as_text: Any, strange: str
) -> None:
    text = inspect_as_text(strange, "--signature", "vectors")

    rows = {line.split()[0]: line.split(None, 1)[1] for line in text.splitlines() if "  outputs." in line}
    assert re.split(r" {2,}", rows["outputs.dense/1"]) == [
        "list<item: float>",
        "FLOAT REPEATED, as outputs.dense_1",
    ]
    assert re.split(r" {2,}", rows["outputs.matrix"]) == ["list<item: list<item: float>>", "JSON"]
    assert re.split(r" {2,}", rows["outputs.any"]) == ["string", "JSON"]
    signatures = {found["name"]: found for found in inspect(strange, "--signature", "vectors")["signatures"]}
    shapes = {output["name"]: output["shape"] for output in signatures["vectors"]["outputs"]}
    assert shapes == {"any": None, "dense/1": [None, 4], "matrix": [None, 1, 4]}


def test_names_that_bigquery_refuses_leave_the_other_formats(
    inspect: Any, inspect_as_text: Any, strange: str
) -> None:
    found = inspect(strange, "--signature", "alike")

    assert found["arrow_schema"]
    assert found["bigquery_schema"] is None
    assert list(found["problems"]) == ["bigquery_schema"]
    assert "Nothing to BigQuery: output 'label'" in inspect_as_text(strange, "--signature", "alike")


def test_outputs_that_nothing_holds_are_told_once(inspect: Any, inspect_as_text: Any, strange: str) -> None:
    found = inspect(strange, "--signature", "waves")

    assert found["arrow_schema"] is None
    assert found["bigquery_schema"] is None
    text = inspect_as_text(strange, "--signature", "waves")
    assert text.count("output wave: complex64 [?, 4] cannot be written") == 1


def test_the_newest_complete_version_is_read(inspect: Any, inspect_as_text: Any, tmp_path: Path) -> None:
    for name in ("1", "2", "10", "11", "notes"):
        shutil.copytree(DIGITS, tmp_path / name)
    (tmp_path / "11/variables/variables.index").unlink()

    found = inspect(str(tmp_path))

    assert (found["path"], found["version"]) == (str(tmp_path / "10"), "10")
    assert [version["number"] for version in found["versions"]] == [1, 2, 10, 11]
    assert [version["problem"] is None for version in found["versions"]] == [True, True, True, False]
    assert (found["fingerprint"], found["size_bytes"]) == (fingerprint(DIGITS), SIZE)
    assert "11, not complete: variables/variables.index is missing\n" in inspect_as_text(str(tmp_path))


def test_a_model_in_cloud_storage_is_read_where_it_is(inspect: Any) -> None:
    with fake_gcs_server() as host, storage_client_of(host) as client:
        bucket = client.create_bucket("models")
        for path in (ROOT / DIGITS).rglob("*"):
            if path.is_file():
                bucket.blob(f"digits/{path.relative_to(ROOT / DIGITS)}").upload_from_filename(path)

        found = inspect("gs://models/digits", "--signature", "from_bytes")

    here = inspect(DIGITS, "--signature", "from_bytes")
    assert found == here | {"model": "gs://models/digits", "path": "gs://models/digits"}


def test_a_name_with_wildcards_is_taken_as_it_is(inspect: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model [1]*"
    shutil.copytree(DIGITS, folder)

    assert inspect(str(folder))["size_bytes"] == SIZE
    assert inspect(f"{folder}/")["size_bytes"] == SIZE


def test_tensorflow_is_not_imported() -> None:
    code = (
        "import sys; from pipeline.inspect_model import main; "
        f"main(['--model', {DIGITS!r}, '--signature', 'from_images']); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("flags", [(), ("--signature", "from_images", "--preprocess", "scale=0..1")])
def test_the_lines_fit_a_terminal(inspect_as_text: Any, flags: Sequence[str]) -> None:
    assert max(map(len, inspect_as_text(DIGITS, *flags).splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["--model is missing"]),
        (["--model", "examples"], ["--model examples is no model; give a folder that holds saved_model.pb"]),
        (["--model", "none.keras"], ["none.keras"]),
        (["--model", DIGITS, "--input_kind", "pictures"], ["--input_kind must be one of names, bytes"]),
        (["--model", DIGITS, "--preprocess", "size=big"], ["--preprocess size must be WIDTHxHEIGHT"]),
        (["--top_k", "0"], ["--model is missing", "--top_k must be a whole number"]),
        (["--model", DIGITS, "--outptu", "x"], ["unknown flag --outptu"]),
        (["--model"], ["--model has no value; put one behind it", "--model is missing"]),
    ],
)
def test_wrong_flags_and_models_are_told_at_once(arguments: Sequence[str], told: Sequence[str]) -> None:
    with pytest.raises(UsageError) as raised:
        main(arguments)

    assert len(raised.value.problems) == len(told)
    for problem, expected in zip(raised.value.problems, told, strict=True):
        assert expected in problem


def test_the_help_lists_the_flags_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "--item_input NAME" in printed
    assert "--json" in printed
    assert "--output " not in printed
    assert "--model_poll_interval" not in printed


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert the digits; a folder that holds nothing else."""
    require("litert")
    path = tmp_path_factory.mktemp("tflite") / "digits.tflite"
    flags = ("--to", "tflite", "--output", str(path))
    assert convert(["--model", str(ROOT / DIGITS), "--signature", "from_images", *flags]) == 0
    return path


def test_a_file_is_told_of_and_so_is_a_folder_that_holds_it(inspect: Any, tflite: Path) -> None:
    flags = ("--preprocess", "scale=0..1")
    found = inspect(str(tflite), *flags)

    assert found["kind"] == "TensorFlow Lite file"
    assert (found["size_bytes"], found["files"]) == (tflite.stat().st_size, 1)
    assert found["use"]["input_kind"] == "images"
    assert inspect(str(tflite.parent), *flags) == found | {"model": str(tflite.parent)}


def test_a_file_that_the_pipeline_would_refuse_is_told_of_all_the_same(inspect: Any, tflite: Path) -> None:
    found = inspect(str(tflite))

    assert found["use"] is None
    assert "with --preprocess" in found["problems"]["use"]
    assert found["signatures"][0]["inputs"] == [
        {"name": "images", "dtype": "float32", "shape": [None, 8, 8, 1]}
    ]
