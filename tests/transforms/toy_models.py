"""Small SavedModels, made on the fly, that show one trait of real ones each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transforms.predictors.tensorflow_runtime import import_tensorflow
from transforms.records import FileBytes, FileRef

DTYPES = (
    *("bool", "bfloat16", "float16", "float32", "float64", "string"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


def save_toys(folder: Path) -> str:
    """Save one model with many signatures, and return its folder.

    dtypes          the length of the content as an output of each dtype that a table holds
    shapes          scalars, vectors, matrices, vectors of varying length, a tensor of unknown rank
    texts           the content itself, and a vector of it
    lengths         the length of the content
    refuses         lengths, but the contents `bad` and `worse` fail the call
    fewer_rows      all rows but the first
    no_rows         one number for the whole batch
    waves           an output that no table holds
    two_inputs, numbers, undecided, a_scalar, a_matrix
                    inputs that cannot be fed, or not without help
    """
    tf = import_tensorflow()
    sizes_of = tf.strings.length

    def dtypes(content: Any) -> Any:
        sizes = sizes_of(content)
        return {
            name: tf.strings.as_string(sizes) if name == "string" else tf.cast(sizes, name) for name in DTYPES
        }

    def shapes(content: Any) -> Any:
        sizes = tf.cast(sizes_of(content), tf.float32)
        matrix = tf.stack([tf.stack([sizes, sizes + 1], 1), tf.stack([-sizes, 0 * sizes], 1)], 1)
        return {
            "scalar": sizes,
            "vector": matrix[:, 0],
            "matrix": matrix,
            "varying": tf.repeat(sizes[:, tf.newaxis], tf.reduce_max(sizes_of(content)), axis=1),
            "unknown": tf.compat.v1.placeholder_with_default(matrix, shape=None),
        }

    def texts(content: Any) -> Any:
        return {"text": content, "vector": tf.stack([content, content + b"!"], 1)}

    def lengths(content: Any) -> Any:
        return {"length": sizes_of(content)}

    def refuses(content: Any) -> Any:
        bad = tf.reduce_any((content == b"bad") | (content == b"worse"))
        with tf.control_dependencies([tf.debugging.Assert(~bad, ["the content is bad"])]):
            return {"length": sizes_of(content)}

    def fewer_rows(content: Any) -> Any:
        return {"length": sizes_of(content)[1:]}

    def no_rows(content: Any) -> Any:
        return {"length": tf.reduce_sum(sizes_of(content))}

    def waves(content: Any) -> Any:
        return {"wave": tf.cast(sizes_of(content), tf.complex64)}

    def two_inputs(image_bytes: Any, extra: Any) -> Any:
        return {"length": sizes_of(image_bytes) + extra}

    def numbers(images: Any) -> Any:
        return {"mean": tf.reduce_mean(images, axis=(1, 2, 3))}

    def a_matrix(content: Any) -> Any:
        return {"length": sizes_of(content)[:, 0]}

    content = tf.TensorSpec((None,), tf.string, "content")
    functions = (dtypes, shapes, texts, lengths, refuses, fewer_rows, no_rows, waves)
    signatures = {function.__name__: _concrete(function, content) for function in functions} | {
        "two_inputs": _concrete(
            two_inputs,
            tf.TensorSpec((None,), tf.string, "image_bytes"),
            tf.TensorSpec((None,), tf.int32, "extra"),
        ),
        "numbers": _concrete(numbers, tf.TensorSpec((None, 8, 8, 1), tf.float32, "images")),
        "undecided": _concrete(lengths, tf.TensorSpec((None,), tf.string, "x")),
        "a_scalar": _concrete(lengths, tf.TensorSpec((), tf.string, "content")),
        "a_matrix": _concrete(a_matrix, tf.TensorSpec((None, 1), tf.string, "content")),
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return str(folder)


def save_adder(folder: Path, number: int) -> str:
    """Save a model that adds a number, kept in a variable, to the length of the content."""
    tf = import_tensorflow()
    model = tf.Module()
    model.number = tf.Variable(number)

    def add(content: Any) -> Any:
        return {"sum": tf.strings.length(content) + model.number}

    signatures = {"serving_default": _concrete(add, tf.TensorSpec((None,), tf.string, "content"))}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return str(folder)


def save_numbered(folder: Path) -> str:
    """Save a model that takes a content, its number in a sequence, and how often its length counts.

    The number is passed through, so that a prediction tells which item it was made of.
    """
    tf = import_tensorflow()

    def weigh(image_bytes: Any, sequence: Any, weight: Any) -> Any:
        return {"sequence": sequence, "weighed": tf.cast(tf.strings.length(image_bytes), tf.float32) * weight}

    specs = (
        tf.TensorSpec((None,), tf.string, "image_bytes"),
        tf.TensorSpec((None,), tf.int64, "sequence"),
        tf.TensorSpec((), tf.float32, "weight"),
    )
    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": _concrete(weigh, *specs)})
    return str(folder)


def save_vocabulary(folder: Path, words: list[str]) -> str:
    """Save a model that looks the content up in a vocabulary, kept in a file among the model's assets."""
    tf = import_tensorflow()
    file = folder.parent / "vocabulary.txt"
    file.write_text("".join(f"{word}\n" for word in words))
    lines = tf.lookup.TextFileInitializer(
        str(file),
        key_dtype=tf.string,
        key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        value_dtype=tf.int64,
        value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    model = tf.Module()
    model.table = tf.lookup.StaticHashTable(lines, default_value=-1)

    def look_up(content: Any) -> Any:
        return {"word": model.table.lookup(content)}

    signatures = {"serving_default": _concrete(look_up, tf.TensorSpec((None,), tf.string, "content"))}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return str(folder)


def _concrete(function: Callable[..., Any], *inputs: Any) -> Any:
    return import_tensorflow().function(function, input_signature=inputs).get_concrete_function()


def items(*contents: bytes) -> list[FileBytes]:
    """Return files of these contents, whose names do not matter."""
    return [FileBytes(FileRef(f"{number}.bin"), content) for number, content in enumerate(contents)]
