"""How a signature is fed: what it tells itself, what the user must tell, and what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.errors import ModelError
from transforms.predictors.arrays import ArrayDecoder
from transforms.predictors.base import Signature, TensorSpec
from transforms.predictors.choose_feed import Wishes, choose_feed
from transforms.predictors.images import ImagePreparation
from transforms.predictors.preprocessing import Preprocessing

SCORES = TensorSpec("scores", "float32", (None, 10))
IMAGES = TensorSpec("images", "float32", (None, 8, 8, 3))


def strings(name: str) -> TensorSpec:
    return TensorSpec(name, "string", (None,))


def numbers(name: str, *shape: int | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, (None, *shape))


def signature(*inputs: TensorSpec, name: str = "serving_default") -> Signature:
    return Signature(name, inputs, (SCORES,))


KINDS: dict[str, tuple[Signature, str]] = {
    "filenames": (signature(strings("filenames")), "names"),
    "input_path": (signature(strings("input_path")), "names"),
    "uris": (signature(strings("uris")), "names"),
    "image_bytes": (signature(strings("image_bytes")), "bytes"),
    "b64": (signature(strings("b64")), "bytes"),
    "told by the signature": (signature(strings("inputs"), name="from_bytes"), "bytes"),
    "the input's name first": (signature(strings("filenames"), name="from_bytes"), "names"),
    "a vector": (signature(numbers("x", 4)), "arrays"),
    "a number": (signature(numbers("x")), "arrays"),
    "a video": (signature(numbers("x", 16, 8, 8, 3)), "arrays"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_signature_tells_what_it_takes(kind: str) -> None:
    given, expected = KINDS[kind]

    assert choose_feed(given, Wishes()).kind == expected


def test_images_are_prepared_as_the_user_says() -> None:
    feed = choose_feed(signature(IMAGES), Wishes(preprocessing=Preprocessing(scale="-1..1")))

    assert feed.kind == "images"
    assert isinstance(feed.decoder, ImagePreparation)
    assert feed.decoder.how.size == (8, 8)
    assert feed.decoder.how.color == "rgb"


def test_images_may_come_as_arrays() -> None:
    feed = choose_feed(signature(IMAGES), Wishes(kind="arrays"))

    assert feed.decoder == ArrayDecoder(IMAGES)


ITEMS: dict[str, tuple[tuple[TensorSpec, ...], Wishes, str]] = {
    "the only string": ((strings("inputs"), numbers("scale")), Wishes(kind="bytes"), "inputs"),
    "the string that tells": ((strings("caption"), strings("image_bytes")), Wishes(), "image_bytes"),
    "the only image": ((IMAGES, numbers("scale")), Wishes(preprocessing=Preprocessing()), "images"),
    "what is left of constants": (
        (numbers("scale"), numbers("x", 4)),
        Wishes(constants={"scale": "1"}),
        "x",
    ),
    "what the user says": (
        (strings("caption"), strings("image_bytes")),
        Wishes("caption", "bytes"),
        "caption",
    ),
}


@pytest.mark.parametrize("kind", ITEMS)
def test_one_input_takes_the_item_and_the_others_attributes(kind: str) -> None:
    inputs, wishes, expected = ITEMS[kind]

    feed = choose_feed(signature(*inputs), wishes)

    assert feed.item.name == expected
    others = {spec.name for spec in inputs} - {expected}
    assert {spec.name for spec in feed.attributes} == others - wishes.constants.keys()
    assert {constant.spec.name for constant in feed.constants} == set(wishes.constants)


def test_constants_are_read_as_the_signature_types_them() -> None:
    inputs = (strings("image_bytes"), numbers("box", 2), TensorSpec("training", "bool", ()))

    feed = choose_feed(signature(*inputs), Wishes(constants={"box": "[1, 2]", "training": "false"}))

    box, training = feed.constants
    np.testing.assert_array_equal(box.value, np.float32([1, 2]))
    assert training.value.shape == ()
    assert not training.value


WRONG: dict[str, tuple[Signature, dict[str, Any], str]] = {
    "names or bytes?": (signature(strings("inputs")), {}, "pass --input_kind names or --input_kind bytes"),
    "names and bytes": (
        signature(strings("file_id")),
        {},
        "pass --input_kind names or --input_kind bytes",
    ),
    "which string?": (signature(strings("a"), strings("b")), {}, "pass --item_input"),
    "which vector?": (signature(numbers("a", 2), numbers("b", 2)), {}, "pass --item_input"),
    "no input": (signature(), {}, "pass --item_input"),
    "images, unprepared": (signature(IMAGES), {}, "with --preprocess.* pass --input_kind arrays"),
    "no such input": (
        signature(IMAGES),
        {"item_input": "pixels"},
        "--item_input pixels: .* has no such input",
    ),
    "an item that is a constant": (
        signature(strings("filenames"), numbers("x")),
        {"item_input": "x", "constants": {"x": "1"}},
        "--item_input x: --model_inputs gives this input one value for all files",
    ),
    "a preparation of bytes": (
        signature(strings("image_bytes")),
        {"preprocessing": Preprocessing()},
        "--preprocess has no effect: .* takes bytes; leave it out",
    ),
    "a preparation of names": (
        signature(strings("filenames")),
        {"preprocessing": Preprocessing()},
        "--preprocess has no effect: .* takes names; leave it out",
    ),
    "a preparation of arrays": (
        signature(IMAGES),
        {"preprocessing": Preprocessing(), "kind": "arrays"},
        "--preprocess has no effect: .* takes arrays; leave it out",
    ),
    "a constant for the item": (
        signature(strings("filenames")),
        {"constants": {"y": "1"}},
        "--model_inputs y: .* has no such other input, but none",
    ),
    "a constant of another type": (
        signature(strings("filenames"), numbers("x")),
        {"constants": {"x": "much"}},
        "--model_inputs x: must be float32",
    ),
    "an attribute without a batch": (
        signature(strings("filenames"), TensorSpec("training", "bool", ())),
        {},
        "has no batch dimension: pass --model_inputs training=VALUE",
    ),
    "numbers of names": (signature(numbers("x", 4)), {"kind": "names"}, "that is images or arrays"),
    "images of strings": (signature(strings("filenames")), {"kind": "images"}, "that is names or bytes"),
    "a sparse output": (
        Signature("s", (strings("filenames"),), (TensorSpec("y", "sparse", (None, 3)),)),
        {},
        "output 'y' is sparse",
    ),
    "a scalar output": (
        Signature("s", (strings("filenames"),), (TensorSpec("y", "float32", ()),)),
        {},
        "output 'y' is one number for the whole batch",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_fed_is_refused_with_a_remedy(kind: str) -> None:
    given, wishes, words = WRONG[kind]

    with pytest.raises(ModelError, match=words):
        choose_feed(given, Wishes(**wishes))
