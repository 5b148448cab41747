"""Whether a signature takes names or bytes."""

from __future__ import annotations

import pytest
from transforms.predictors.input_kind import choose_input_kind

from transforms.errors import ModelError
from transforms.predictors.base import InputKind, Signature, TensorSpec


def signature(name: str, *inputs: TensorSpec) -> Signature:
    return Signature(name, inputs, (TensorSpec("y", "float32", (None,)),))


def strings(name: str) -> TensorSpec:
    return TensorSpec(name, "string", (None,))


@pytest.mark.parametrize("name", ["filenames", "file", "paths", "FILENAME", "gcs_uri", "file_path", "uri:0"])
def test_an_input_called_after_names_takes_names(name: str) -> None:
    assert choose_input_kind(signature("serve", strings(name))) == "names"


@pytest.mark.parametrize(
    "name", ["image_bytes", "b64", "encoded_image", "JPEG", "content", "bytes_inputs:0", "raw-image"]
)
def test_an_input_called_after_contents_takes_bytes(name: str) -> None:
    assert choose_input_kind(signature("serve", strings(name))) == "bytes"


@pytest.mark.parametrize(("name", "kind"), [("from_bytes", "bytes"), ("from_paths", "names")])
def test_where_the_input_tells_nothing_the_signature_does(name: str, kind: InputKind) -> None:
    assert choose_input_kind(signature(name, strings("x"))) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("image_path", "names"),
        ("image_url", "names"),
        ("image_filepath", "names"),
        ("file_contents", "bytes"),
    ],
)
def test_of_two_words_the_stronger_one_tells(name: str, kind: InputKind) -> None:
    assert choose_input_kind(signature("serve", strings(name))) == kind


def test_the_input_goes_before_the_signature() -> None:
    assert choose_input_kind(signature("from_bytes", strings("filenames"))) == "names"


@pytest.mark.parametrize("name", ["x", "input_1", "image_id", "file_key", "profiles", "imagery", ""])
def test_a_name_that_tells_nothing_needs_the_users_word(name: str) -> None:
    undecided = signature("serving_default", strings(name))
    with pytest.raises(ModelError, match="pass --input_kind names or --input_kind bytes") as raised:
        choose_input_kind(undecided)
    assert str(undecided) in str(raised.value)
    assert choose_input_kind(undecided, "names") == "names"
    assert choose_input_kind(undecided, "bytes") == "bytes"


def test_the_users_word_goes_before_every_name() -> None:
    assert choose_input_kind(signature("from_bytes", strings("image_bytes")), "names") == "names"


@pytest.mark.parametrize("wanted", [None, "names", "bytes"])
@pytest.mark.parametrize("inputs", [(), (strings("image_bytes"), TensorSpec("threshold", "float32", ()))])
def test_a_signature_with_another_number_of_inputs_than_one_is_refused(
    inputs: tuple[TensorSpec, ...], wanted: InputKind | None
) -> None:
    with pytest.raises(
        ModelError, match=f"has {len(inputs)} inputs; choose one with a single input"
    ) as raised:
        choose_input_kind(signature("serve", *inputs), wanted)
    assert str(signature("serve", *inputs)) in str(raised.value)


@pytest.mark.parametrize("wanted", [None, "names", "bytes"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "dtype-20"])
def test_a_signature_that_takes_numbers_is_refused(dtype: str, wanted: InputKind | None) -> None:
    with pytest.raises(ModelError, match=f"takes {dtype}; choose one that takes the names or the bytes"):
        choose_input_kind(signature("serve", TensorSpec("images", dtype, (None, 8, 8, 1))), wanted)


@pytest.mark.parametrize("shape", [(), (None, 1), (None, 3)])
def test_a_signature_that_takes_no_vector_of_strings_is_refused(shape: tuple[int | None, ...]) -> None:
    """Each of its calls would fail, and every input become a dead letter."""
    with pytest.raises(ModelError, match="image_bytes"):
        choose_input_kind(signature("serve", TensorSpec("image_bytes", "string", shape)))


@pytest.mark.parametrize("shape", [(None,), None])
def test_a_vector_of_any_length_or_an_unknown_rank_is_taken(shape: tuple[None, ...] | None) -> None:
    assert choose_input_kind(signature("serve", TensorSpec("image_bytes", "string", shape))) == "bytes"
