"""What a SavedModel says of itself, read without TensorFlow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from emulators.storage import fake_gcs_server, storage_client_of
from tests.transforms import digits
from tests.transforms.toy_models import save_adder, save_vocabulary
from transforms.errors import ModelError
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.saved_model_files import fingerprint, read_signatures
from transforms.predictors.tensorflow_runtime import import_tensorflow


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_adder(tmp_path_factory.mktemp("models") / "adder", 1)


@pytest.fixture
def copied(tmp_path: Path, adder: str) -> Path:
    """Copy a model, to do it harm."""
    return Path(shutil.copytree(adder, tmp_path / "copy"))


def told_by_tensorflow(model: str) -> dict[str, Signature]:
    def shape(spec: Any) -> tuple[int | None, ...] | None:
        return None if spec.shape.rank is None else tuple(spec.shape.as_list())

    def specs(tensors: Any) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                name, spec.dtype.name, None if spec.shape.rank is None else tuple(spec.shape.as_list())
            )
            for name, spec in sorted(tensors.items())
        )

    loaded = import_tensorflow().saved_model.load(model)
    return {
        name: Signature(name, specs(call.structured_input_signature[1]), specs(call.structured_outputs))
        for name, call in loaded.signatures.items()
    }


class TestSignatures:
    def test_those_of_the_digits_are_what_tensorflow_tells(self) -> None:
        signatures = read_signatures(digits.MODEL)
        assert signatures == told_by_tensorflow(digits.MODEL)
        assert sorted(signatures) == ["from_bytes", "from_images", "preprocess", "serving_default"]

    def test_those_of_the_toys_are_what_tensorflow_tells(self, toys: str) -> None:
        signatures = read_signatures(toys)
        assert signatures == told_by_tensorflow(toys)
        assert len(signatures) == 13

    def test_every_dtype_has_numpys_name(self, toys: str) -> None:
        outputs = read_signatures(toys)["dtypes"].outputs
        assert len(outputs) == 14
        assert all(spec.name == spec.dtype for spec in outputs)

    def test_shapes_have_none_for_what_varies(self, toys: str) -> None:
        shapes = {spec.name: spec.shape for spec in read_signatures(toys)["shapes"].outputs}
        assert shapes == {
            "scalar": (None,),
            "vector": (None, 2),
            "matrix": (None, 2, 2),
            "varying": (None, None),
            "unknown": None,
        }

    def test_a_signature_is_written_for_people(self, toys: str) -> None:
        signatures = read_signatures(toys)
        assert str(signatures["lengths"]) == "lengths(content: string [?]) -> (length: int32 [?])"
        assert "unknown: float32 [any shape]" in str(signatures["shapes"])
        assert "varying: float32 [?, ?]" in str(signatures["shapes"])

    def test_a_folder_may_end_in_a_slash(self, adder: str) -> None:
        assert read_signatures(f"{adder}/") == read_signatures(adder)

    def test_a_model_in_cloud_storage_is_read(self, adder: str) -> None:
        with fake_gcs_server() as host, storage_client_of(host) as client:
            bucket = client.create_bucket("bucket")
            for name in ("saved_model.pb", "variables/variables.index"):
                bucket.blob(f"models/1/{name}").upload_from_filename(f"{adder}/{name}")
            assert read_signatures("gs://bucket/models/1") == read_signatures(adder)
            assert fingerprint("gs://bucket/models/1") == fingerprint(adder)
            with pytest.raises(ModelError, match="gs://bucket/models/2 is not a SavedModel"):
                read_signatures("gs://bucket/models/2")


class TestWhatIsNoModel:
    @pytest.mark.parametrize("read", [read_signatures, fingerprint])
    def test_a_folder_without_a_model_is_refused(self, tmp_path: Path, read: Any) -> None:
        for model in (tmp_path, tmp_path / "nothing"):
            with pytest.raises(ModelError, match=rf"--model {model} is not a SavedModel: there is no file"):
                read(str(model))

    @pytest.mark.parametrize("read", [read_signatures, fingerprint])
    def test_a_file_is_refused(self, copied: Path, read: Any) -> None:
        with pytest.raises(ModelError, match=r"is not a SavedModel.*give the folder that holds saved_"):
            read(str(copied / "saved_model.pb"))

    @pytest.mark.parametrize("read", [read_signatures, fingerprint])
    def test_a_folder_of_the_models_name_is_refused(self, copied: Path, read: Any) -> None:
        (copied / "saved_model.pb").unlink()
        (copied / "saved_model.pb").mkdir()
        with pytest.raises(ModelError, match="is not a SavedModel"):
            read(str(copied))

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
    def test_a_model_that_was_cut_off_is_refused(self, copied: Path, share: float) -> None:
        file = copied / "saved_model.pb"
        os.truncate(file, int(file.stat().st_size * share))
        with pytest.raises(ModelError, match=f"--model {copied}"):
            read_signatures(str(copied))

    @pytest.mark.parametrize("content", [b"hello", b"\xff" * 100, b"<html>Not Found</html>"])
    def test_anything_else_of_its_name_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "saved_model.pb").write_bytes(content)
        with pytest.raises(ModelError, match=f"--model {tmp_path}"):
            read_signatures(str(tmp_path))

    def test_a_model_that_cannot_be_served_is_refused_with_its_tags(self, copied: Path) -> None:
        import_tensorflow()
        from tensorflow.core.protobuf import saved_model_pb2

        file = copied / "saved_model.pb"
        proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        proto.meta_graphs[0].meta_info_def.tags[:] = ["train", "gpu"]
        file.write_bytes(proto.SerializeToString())
        with pytest.raises(ModelError, match=r"no graph is tagged 'serve'; .* \['gpu', 'train'\]"):
            read_signatures(str(copied))


class TestFingerprint:
    def test_it_is_sixteen_hexadecimal_digits(self, adder: str) -> None:
        assert len(fingerprint(adder)) == 16
        int(fingerprint(adder), 16)

    def test_a_copy_keeps_it_wherever_and_whenever_it_was_made(self, copied: Path, adder: str) -> None:
        for path in copied.rglob("*"):
            os.utime(path, (0, 0))
        assert fingerprint(str(copied)) == fingerprint(adder)
        assert fingerprint(f"{copied}/") == fingerprint(adder)

    def test_another_graph_has_another(self, adder: str, toys: str) -> None:
        assert len({fingerprint(model) for model in (adder, toys, digits.MODEL)}) == 3

    def test_other_weights_have_another(self, copied: Path, tmp_path: Path) -> None:
        """The graph stays as it is, as when training goes on."""
        other = save_adder(tmp_path / "other", 2)
        before = fingerprint(str(copied))
        shutil.rmtree(copied / "variables")
        shutil.copytree(f"{other}/variables", copied / "variables")
        assert fingerprint(str(copied)) != before

    def test_another_vocabulary_has_another(self, tmp_path: Path) -> None:
        """Assets are part of a model, and may be all that is new in it."""
        model = Path(save_vocabulary(tmp_path / "model", ["zero", "one"]))
        before = fingerprint(str(model))
        (model / "assets" / "vocabulary.txt").write_text("one\nzero\n")
        assert fingerprint(str(model)) != before

    def test_a_vocabulary_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        model = Path(save_vocabulary(tmp_path / "model", ["zero", "one"]))
        file = model / "assets" / "vocabulary.txt"
        file.unlink()
        file.symlink_to("nothing")
        with pytest.raises(ModelError, match=f"--model {model}"):
            fingerprint(str(model))

    def test_a_model_without_variables_has_one(self, toys: str, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(toys, tmp_path / "copy"))
        shutil.rmtree(copy / "variables")
        assert len(fingerprint(str(copy))) == 16
