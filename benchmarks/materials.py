"""What the benchmarks predict on and with: photos from a fixed seed, and models without a past."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from transforms.predictors.tensorflow_runtime import import_tensorflow

SEED = 20
HEIGHT, WIDTH = 480, 640
SIDE = 224
PARALLEL_DECODES = 16
PHOTO_BYTES = 50_000

_DISTINCT_PHOTOS = 16
_COMMENT = b"\xff\xfe"  # the marker of a JPEG's comment, which decoders pass over

Result = TypeVar("Result")


def in_own_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a process that ends with it.

    TensorFlow's memory goes with the process: Linux counts what a program held when it started another as
    that one's peak.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write_photos(folder: Path, count: int, size: int = PHOTO_BYTES) -> list[Path]:
    """Write JPEG files of about 50 kB, or another size, 640 x 480, each with a content of its own."""
    folder.mkdir(parents=True)
    contents = [_photo(number, size) for number in range(min(count, _DISTINCT_PHOTOS))]
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(_commented(contents[number % len(contents)], path.name.encode()))
    return paths


def write_list(file: Path, paths: Sequence[Path]) -> str:
    """Write a list of names, and return it as an `--input`."""
    file.write_text("".join(f"{path}\n" for path in paths))
    return f"@{file}"


def save_features(folder: Path) -> None:
    """Save a model that decodes, resizes, and computes next to nothing."""
    tf = import_tensorflow()

    def features(images: Any) -> Any:
        pooled = tf.nn.avg_pool2d(images, SIDE // 8, SIDE // 8, "VALID")
        scores = tf.reshape(tf.reduce_mean(pooled, axis=-1), [-1, 64])
        return {"brightness": tf.reduce_mean(images, [1, 2, 3]), "scores": scores}

    _save(tf.Module(), features, folder)


def save_mobilenet(folder: Path) -> None:
    """Save MobileNetV2 with random weights, behind a decoder."""
    tf = import_tensorflow()
    keras = tf.keras
    keras.utils.set_random_seed(SEED)
    module = tf.Module()
    module.network = keras.applications.MobileNetV2(weights=None)

    def classify(images: Any) -> Any:
        scores = module.network(images / 127.5 - 1, training=False)
        return {"label": tf.argmax(scores, axis=-1, output_type=tf.int64), "scores": scores}

    _save(module, classify, folder)


def save_free(folder: Path) -> None:
    """Save a model with the outputs of `save_mobilenet`, which looks at nothing."""
    tf = import_tensorflow()

    def classify(image_bytes: Any) -> Any:
        count = tf.size(image_bytes)
        return {"label": tf.zeros([count], tf.int64), "scores": tf.zeros([count, 1000])}

    strings = tf.TensorSpec([None], tf.string, name="image_bytes")
    module = tf.Module()
    module.from_bytes = tf.function(classify, input_signature=[strings])
    tf.saved_model.save(module, str(folder), signatures={"from_bytes": module.from_bytes})


def _save(module: Any, predict: Callable[[Any], Any], folder: Path) -> None:
    """Save a model of images with two signatures: one takes names, one takes bytes."""
    tf = import_tensorflow()

    def decode(content: Any) -> Any:
        image = tf.io.decode_jpeg(content, channels=3)
        return tf.image.resize(image, (SIDE, SIDE))

    def images(to_image: Callable[[Any], Any], items: Any) -> Any:
        spec = tf.TensorSpec([SIDE, SIDE, 3], tf.float32)
        return tf.map_fn(to_image, items, parallel_iterations=PARALLEL_DECODES, fn_output_signature=spec)

    def from_filenames(filenames: Any) -> Any:
        return predict(images(lambda name: decode(tf.io.read_file(name)), filenames))

    def from_bytes(image_bytes: Any) -> Any:
        return predict(images(decode, image_bytes))

    def signature(function: Callable[[Any], Any], name: str) -> Any:
        return tf.function(function, input_signature=[tf.TensorSpec([None], tf.string, name=name)])

    module.from_filenames = signature(from_filenames, "filenames")
    module.from_bytes = signature(from_bytes, "image_bytes")
    signatures = {"serving_default": module.from_filenames, "from_bytes": module.from_bytes}
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _photo(number: int, size: int) -> bytes:
    """Encode noise of several scales, as in a photo, with the quality that comes nearest to a size."""
    tf = import_tensorflow()

    def noise(octave: int) -> Any:
        shape = (HEIGHT >> octave, WIDTH >> octave, 3)
        fine = tf.random.stateless_normal(shape, seed=(SEED, 100 * number + octave))
        return tf.image.resize(fine, (HEIGHT, WIDTH), "bicubic") * 2.0 ** (octave + 1)

    pixels = tf.cast(tf.clip_by_value(128.0 + sum(map(noise, range(6))), 0, 255), tf.uint8)
    encoded: Iterator[bytes] = (
        tf.io.encode_jpeg(pixels, quality=quality).numpy() for quality in range(40, 90)
    )
    return min(encoded, key=lambda content: abs(len(content) - size))


def _commented(jpeg: bytes, comment: bytes) -> bytes:
    length = (len(comment) + 2).to_bytes(2, "big")
    return jpeg[:2] + _COMMENT + length + comment + jpeg[2:]
