"""Predicting with a SavedModel."""

from __future__ import annotations

import base64
import copy
import logging
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.transforms import digits
from tests.transforms.conftest import loaded, opened
from tests.transforms.storage.names import AWKWARD_NAMES
from tests.transforms.toy_models import DTYPES, items, save_adder
from transforms.errors import ContractError, DecodeError, FileMissing, ItemError, ModelError, PredictionError
from transforms.predictors.base import Outcome
from transforms.predictors.contract import predict_checked
from transforms.predictors.local import LocalPredictor
from transforms.predictors.saved_model_files import fingerprint
from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

BATCH = 32
IMAGES = digits.IMAGES[:BATCH]


@pytest.fixture(scope="module")
def by(digits_by_name: LocalPredictor, digits_by_bytes: LocalPredictor) -> Any:
    """Return the digits' predictors, with the function that makes their items, by kind of input."""
    return {
        "names": (digits_by_name, digits.with_names),
        "bytes": (digits_by_bytes, digits.with_bytes),
    }


@pytest.fixture
def counted_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[LocalPredictor], list[int]]:
    """Return a function that notes the size of each batch that a predictor's model is called with."""

    def count(predictor: LocalPredictor) -> list[int]:
        sizes: list[int] = []
        function: Any = predictor.function
        call = function._call

        def counting(**inputs: Any) -> Any:
            sizes.append(len(next(iter(inputs.values()))))
            return call(**inputs)

        monkeypatch.setattr(function, "_call", counting)
        return sizes

    return count


@pytest.fixture
def damaged(tmp_path: Path) -> dict[str, str]:
    """Write files that are no images, each bad in its own way."""
    whole = Path(IMAGES[0]).read_bytes()
    contents = {
        "text.png": b"this is no image",
        "truncated.png": whole[: len(whole) // 2],
        "magic.png": whole[:8],
        "damaged.png": whole[:20] + b"\0" * 20 + whole[40:],
        "truncated.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
        "empty.png": b"",
        "zeros.png": bytes(100),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def called_directly(model: str, signature: str, values: Sequence[str | bytes]) -> list[dict[str, Any]]:
    """Call a model's signature as TensorFlow's own documentation does; return a row of outputs an item."""
    tf = import_tensorflow()
    call = tf.saved_model.load(model).signatures[signature]
    ((name, _),) = call.structured_input_signature[1].items()
    columns = {key: value.numpy() for key, value in call(**{name: tf.constant(list(values))}).items()}
    return [{key: column[row] for key, column in columns.items()} for row in range(len(values))]


def assert_same(outcome: Outcome, expected: dict[str, Any]) -> None:
    assert not isinstance(outcome, ItemError), outcome
    assert outcome.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(outcome[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
        assert outcome[name].dtype == value.dtype


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    """Call the digits' model directly on the batch."""
    return called_directly(digits.MODEL, "serving_default", IMAGES)


class TestPredictions:
    @pytest.mark.parametrize("kind", ["names", "bytes"])
    def test_they_are_those_of_the_model_called_directly(self, by: Any, expected: Any, kind: str) -> None:
        predictor, make = by[kind]
        outcomes = predict_checked(predictor, make(*IMAGES))
        for outcome, row in zip(outcomes, expected, strict=True):
            assert_same(outcome, row)

    def test_names_and_bytes_give_the_same(self, by: Any) -> None:
        outcomes = [predictor.predict(make(*IMAGES)) for predictor, make in by.values()]
        for by_name, by_bytes in zip(*outcomes, strict=True):
            assert_same(by_name, by_bytes)

    @pytest.mark.parametrize("size", [1, 7])
    def test_they_do_not_depend_on_the_size_of_the_batch(self, by: Any, expected: Any, size: int) -> None:
        predictor, make = by["bytes"]
        for outcome, row in zip(predictor.predict(make(*IMAGES[:size])), expected, strict=False):
            assert_same(outcome, row)

    def test_the_model_is_called_once_for_a_good_batch(self, by: Any, counted_calls: Any) -> None:
        predictor, make = by["bytes"]
        calls = counted_calls(predictor)
        predictor.predict(make(*IMAGES))
        assert calls == [BATCH]

    def test_several_threads_get_the_same_as_one(self, by: Any, expected: Any) -> None:
        predictor, make = by["bytes"]
        batches = [make(*IMAGES[start : start + 4]) for start in range(0, BATCH, 4)] * 5
        with ThreadPoolExecutor(4) as pool:
            for number, outcomes in enumerate(pool.map(predictor.predict, batches)):
                for offset, outcome in enumerate(outcomes):
                    assert_same(outcome, expected[(4 * number + offset) % BATCH])

    @pytest.mark.parametrize("name", AWKWARD_NAMES)
    def test_a_file_is_found_by_an_awkward_name(
        self, by: Any, expected: Any, tmp_path: Path, name: str
    ) -> None:
        predictor, make = by["names"]
        (outcome,) = predictor.predict(make(shutil.copy(IMAGES[0], tmp_path / name)))
        assert_same(outcome, expected[0])


@pytest.mark.parametrize("kind", ["names", "bytes"])
class TestBadItems:
    @pytest.mark.parametrize("position", [0, 13, BATCH - 1])
    def test_one_corrupt_image_costs_one_outcome(
        self, by: Any, expected: Any, damaged: dict[str, str], kind: str, position: int
    ) -> None:
        predictor, make = by[kind]
        paths = list(IMAGES)
        paths[position] = damaged["text.png"]
        outcomes = list(predict_checked(predictor, make(*paths)))
        assert isinstance(outcomes.pop(position), DecodeError)
        for outcome, row in zip(outcomes, expected[:position] + expected[position + 1 :], strict=True):
            assert_same(outcome, row)

    def test_one_corrupt_image_costs_two_calls_more(
        self, by: Any, damaged: dict[str, str], counted_calls: Any, kind: str
    ) -> None:
        predictor, make = by[kind]
        calls = counted_calls(predictor)
        predictor.predict(make(*IMAGES[1:], damaged["text.png"]))
        assert calls == [BATCH, BATCH - 1, 1]

    def test_all_kinds_of_damage_in_one_batch(
        self, by: Any, expected: Any, damaged: dict[str, str], kind: str
    ) -> None:
        predictor, make = by[kind]
        outcomes = predict_checked(predictor, make(*IMAGES[:16], *damaged.values(), *IMAGES[16:]))
        good = [*outcomes[:16], *outcomes[16 + len(damaged) :]]
        for outcome, row in zip(good, expected, strict=True):
            assert_same(outcome, row)
        bad = outcomes[16 : 16 + len(damaged)]
        assert {type(outcome) for outcome in bad} == {DecodeError}

    def test_a_batch_of_corrupt_images_only(self, by: Any, damaged: dict[str, str], kind: str) -> None:
        predictor, make = by[kind]
        outcomes = predict_checked(predictor, make(*damaged.values()))
        assert [type(outcome) for outcome in outcomes] == [DecodeError] * len(damaged)

    def test_a_corrupt_image_alone(
        self, by: Any, damaged: dict[str, str], counted_calls: Any, kind: str
    ) -> None:
        predictor, make = by[kind]
        calls = counted_calls(predictor)
        (outcome,) = predict_checked(predictor, make(damaged["truncated.png"]))
        assert isinstance(outcome, DecodeError)
        assert calls == [1]

    def test_the_message_is_for_people(self, by: Any, damaged: dict[str, str], kind: str) -> None:
        predictor, make = by[kind]
        for path in damaged.values():
            (outcome,) = predictor.predict(make(path))
            message = str(outcome)
            assert message
            assert "\n" not in message
            assert not any(noise in message for noise in ("{{", "[[", "Graph execution", "node ", "Detected"))


class TestBadNames:
    def test_a_file_that_vanished_is_missing(self, by: Any, expected: Any, tmp_path: Path) -> None:
        predictor, make = by["names"]
        first, bad, last = predictor.predict(make(IMAGES[0], tmp_path / "nothing.png", IMAGES[1]))
        assert isinstance(bad, FileMissing)
        assert "nothing.png" in str(bad)
        assert_same(first, expected[0])
        assert_same(last, expected[1])

    def test_a_folder_costs_itself_only(self, by: Any, expected: Any, tmp_path: Path) -> None:
        predictor, make = by["names"]
        bad, good = predictor.predict(make(tmp_path, IMAGES[0]))
        assert isinstance(bad, ItemError)
        assert_same(good, expected[0])


class TestItemsThatAModelRefuses:
    """A model that takes no images: its items cannot be told apart by decoding them."""

    @pytest.fixture(scope="class")
    def picky(self, toys: str) -> LocalPredictor:
        return loaded(toys, "refuses")

    def test_each_costs_itself_only(self, picky: LocalPredictor) -> None:
        batch = items(b"a", b"bad", b"bb", b"worse", b"ccc", b"")
        outcomes: list[Any] = list(predict_checked(picky, batch))
        assert [type(outcome) for outcome in outcomes[1:4:2]] == [PredictionError, PredictionError]
        assert [outcomes[position]["length"] for position in (0, 2, 4, 5)] == [1, 2, 3, 0]

    def test_one_among_many_costs_few_calls(self, picky: LocalPredictor, counted_calls: Any) -> None:
        calls = counted_calls(picky)
        picky.predict(items(*[b"good"] * 31, b"bad"))
        assert len(calls) <= 11

    def test_one_among_images_costs_few_calls_too(self, picky: LocalPredictor, counted_calls: Any) -> None:
        calls = counted_calls(picky)
        picky.predict([*digits.with_bytes(*IMAGES[1:]), *items(b"bad")])
        assert calls == [32, 31, 1]

    def test_the_models_words_are_kept(self, picky: LocalPredictor) -> None:
        (outcome,) = picky.predict(items(b"bad"))
        assert "the content is bad" in str(outcome)


class TestBrokenPromises:
    @pytest.mark.parametrize("size", [1, 2, 32])
    def test_fewer_rows_than_items_are_refused(self, toys: str, size: int) -> None:
        predictor = loaded(toys, "fewer_rows")
        with pytest.raises(
            ContractError, match=rf"'length' of the shape \[{size - 1}\] for a batch of {size}"
        ):
            predictor.predict(items(*[b"x"] * size))

    def test_one_number_for_the_batch_is_refused_at_launch(self, toys: str) -> None:
        with pytest.raises(ModelError, match="'length' is one number for the whole batch"):
            opened(toys, "no_rows")

    def test_an_item_without_the_bytes_that_the_signature_takes_is_refused(self, toys: str) -> None:
        predictor = loaded(toys, "lengths")
        with pytest.raises(ContractError, match=r"a\.bin came without its bytes"):
            predictor.predict([FileBytes(FileRef("a.bin"), None)])


class TestOutputs:
    def test_every_dtype_comes_as_numpys_own_and_bfloat16_as_float32(self, toys: str) -> None:
        predictor = loaded(toys, "dtypes")
        for number, outputs in zip((0, 3), predict_checked(predictor, items(b"", b"123")), strict=True):
            assert not isinstance(outputs, ItemError)
            assert outputs.keys() == set(DTYPES)
            for name, value in outputs.items():
                if name == "string":
                    assert value == str(number)
                else:
                    assert value.dtype == ("float32" if name == "bfloat16" else name)
                    assert value == (bool(number) if name == "bool" else number)

    def test_shapes_lose_the_batch_only(self, toys: str) -> None:
        predictor = loaded(toys, "shapes")
        _, outputs = predict_checked(predictor, items(b"1", b"123"))
        assert not isinstance(outputs, ItemError)
        assert {name: np.asarray(value).tolist() for name, value in outputs.items()} == {
            "scalar": 3.0,
            "vector": [3.0, 4.0],
            "matrix": [[3.0, 4.0], [-3.0, 0.0]],
            "varying": [3.0, 3.0, 3.0],
            "unknown": [[3.0, 4.0], [-3.0, 0.0]],
        }

    @pytest.mark.parametrize("content", [b"", b"text", "déjà 数字 🙂".encode(), b"\0", b"line\nbreak\r"])
    def test_text_is_text(self, toys: str, content: bytes) -> None:
        (outputs,) = predict_checked(loaded(toys, "texts"), items(content))
        assert not isinstance(outputs, ItemError)
        assert outputs["text"] == content.decode()
        assert outputs["vector"].tolist() == [content.decode(), content.decode() + "!"]
        assert all(type(value) is str for value in outputs["vector"])

    def test_bytes_that_are_no_text_are_base64(self, toys: str) -> None:
        (outputs,) = predict_checked(loaded(toys, "texts"), items(b"\xff\0"))
        assert not isinstance(outputs, ItemError)
        assert base64.b64decode(outputs["text"]) == b"\xff\0"

    @pytest.mark.parametrize("content", [b"a\0\0\0", b"\0", b"\0\0a", b" ", b"\xff" * 100_000])
    def test_every_byte_reaches_the_model(self, toys: str, content: bytes) -> None:
        (outputs, _) = predict_checked(loaded(toys, "lengths"), items(content, b"longer" * 100))
        assert not isinstance(outputs, ItemError)
        assert outputs["length"] == len(content)


class TestBeforeLoading:
    def test_it_can_be_pickled_with_what_is_known_and_loaded_there(self, toys: str) -> None:
        predictor = opened(toys, "lengths")
        known = predictor.signature, predictor.input_kind, predictor.model_version
        there = copy.copy(pickle.loads(pickle.dumps(predictor)))  # noqa: S301
        assert (there.signature, there.input_kind, there.model_version) == known
        there.load()
        assert there.predict(items(b"123")) == [{"length": 3}]

    def test_the_version_is_the_fingerprint(self, toys: str) -> None:
        assert opened(toys, "lengths").model_version == fingerprint(toys)

    def test_a_missing_signature_is_told_with_those_that_exist(self) -> None:
        with pytest.raises(ModelError, match=r"has no signature 'predict'; pass --signature") as raised:
            _ = opened(digits.MODEL, "predict").signature
        message = str(raised.value)
        assert "\n    from_bytes(image_bytes: string [?]) -> (label: int64 [?], " in message
        assert "scores: float32 [?, 10])" in message
        for name in ("serving_default", "preprocess", "from_images"):
            assert f"\n    {name}(" in message

    @pytest.mark.parametrize(
        ("signature", "message"),
        [
            ("undecided", "pass --input_kind names or --input_kind bytes"),
            ("a_scalar", "a_scalar"),
            ("a_matrix", "a_matrix"),
        ],
    )
    def test_a_signature_that_cannot_be_fed_is_refused(self, toys: str, signature: str, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            _ = opened(toys, signature).input_kind

    def test_the_users_word_decides_what_the_names_do_not_tell(self, toys: str) -> None:
        predictor = loaded(toys, "undecided", wanted_input_kind="names")
        assert predictor.input_kind == "names"
        outcomes = predictor.predict(digits.with_names("five.", "4444"))
        assert outcomes == [{"length": 5}, {"length": 4}]


class TestLoad:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return Path(save_adder(tmp_path / "model", 1))

    def refused(self, model: Path) -> None:
        with pytest.raises(ModelError, match=str(model)) as raised:
            opened(str(model)).load()
        assert "\n" not in str(raised.value)

    def test_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nothing")

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        self.refused(tmp_path)

    def test_a_file_is_refused(self, model: Path) -> None:
        self.refused(model / "saved_model.pb")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
    def test_a_damaged_graph_is_refused(self, model: Path, content: bytes) -> None:
        (model / "saved_model.pb").write_bytes(content)
        self.refused(model)

    def test_a_graph_that_was_cut_off_is_refused(self, model: Path) -> None:
        os.truncate(model / "saved_model.pb", (model / "saved_model.pb").stat().st_size // 2)
        self.refused(model)

    def test_missing_variables_are_refused(self, model: Path) -> None:
        shutil.rmtree(model / "variables")
        self.refused(model)

    def test_variables_that_were_cut_off_are_refused(self, model: Path) -> None:
        (data,) = (model / "variables").glob("variables.data*")
        os.truncate(data, 1)
        self.refused(model)

    def test_a_missing_signature_is_refused(self, model: Path) -> None:
        with pytest.raises(ModelError, match="nothing"):
            opened(str(model), "nothing").load()

    def test_a_relative_folder_is_loaded(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(model.parent)
        assert loaded("model", "serving_default").predict(items(b"123")) == [{"sum": 4}]


class TestWarmUp:
    @pytest.mark.parametrize("kind", ["names", "bytes"])
    def test_it_calls_the_model_once_with_the_batchs_size(
        self, by: Any, counted_calls: Any, kind: str
    ) -> None:
        predictor, _ = by[kind]
        calls = counted_calls(predictor)
        predictor.warm_up(7)
        assert calls == [7]

    def test_a_model_that_refuses_the_sample_starts_cold(
        self, toys: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(inputs: Any) -> Any:
            raise ValueError("no sample")

        predictor = loaded(toys, "lengths")
        monkeypatch.setattr(predictor.function, "call", refuse)
        with caplog.at_level(logging.INFO):
            predictor.warm_up(1)
        assert "was not warmed up: it refuses a sample (no sample)" in caplog.text
