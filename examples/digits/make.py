"""Make the images, the labels and the model of this folder, the same ones each time.

Run from anywhere: `python examples/digits/make.py`. It takes about half a minute. It needs TensorFlow
and scikit-learn; scikit-learn holds the data and is needed for nothing but remaking these files:
`pip install scikit-learn==1.9.1`.
"""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
IMAGES = HERE / "images"
LABELS = HERE / "labels.csv"
MODEL = HERE / "model"

SEED = 20
SIDE = 8
CLASSES = 10
INK_LEVELS = 16
WHITE = 255
HELD_OUT = 0.2
EPOCHS = 60
PARALLEL_DECODES = 16

# Rec. 601 luma in thousandths: integers, so that a gray pixel keeps its exact value.
LUMA = (299, 587, 114)
LUMA_SUM = 1000

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """Some rows of scikit-learn's digits.

    Attributes:
        ids: Row numbers in `load_digits()`, shape [n].
        pixels: Grayscale images, 0 (paper) to 255 (ink), shape [n, 8, 8, 1].
        labels: Which digit each image shows, shape [n].
    """

    ids: Ints
    pixels: Bytes
    labels: Ints

    def take(self, rows: Ints) -> "Digits":
        """Return the digits at these positions."""
        return Digits(self.ids[rows], self.pixels[rows], self.labels[rows])


class DigitClassifier(tf.Module):
    """The exported model: four ways in, one set of outputs.

    Each way to predict returns `label` (int64, [n]), `probability` of that label (float32, [n]) and `scores`
    (the probabilities of all ten digits, float32, [n, 10]).
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="digit_classifier")
        self.network = network

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="filenames")])
    def from_filenames(self, filenames: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict on files that the graph itself reads."""
        return self._predict(map_to_images(lambda name: decode(tf.io.read_file(name)), filenames))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict on the bytes of image files."""
        return self._predict(map_to_images(decode, image_bytes))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def preprocess(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Turn the bytes of image files into what `from_images` takes."""
        return {"images": map_to_images(decode, image_bytes)}

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 1], tf.float32, name="images")])
    def from_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict on decoded images: float32, 0 to 1, shape [n, 8, 8, 1]."""
        return self._predict(images)

    def _predict(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.nn.softmax(self.network(images, training=False))
        return {
            "label": tf.argmax(scores, axis=-1, output_type=tf.int64),
            "probability": tf.reduce_max(scores, axis=-1),
            "scores": scores,
        }


def map_to_images(to_image: Callable[[tf.Tensor], tf.Tensor], items: tf.Tensor) -> tf.Tensor:
    """Apply `to_image` to each string, several at a time: [n] to float32 [n, 8, 8, 1]."""
    return tf.map_fn(
        to_image,
        items,
        parallel_iterations=PARALLEL_DECODES,
        fn_output_signature=tf.TensorSpec([SIDE, SIDE, 1], tf.float32),
    )


def decode(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decode one PNG, JPEG, BMP, WebP or GIF (its first frame) to float32, 0 to 1, shape [8, 8, 1].

    An image of another size is resized; one of 8 x 8 keeps its exact pixels.
    """
    # Not `channels=1`: TensorFlow refuses it for BMP, GIF and WebP files, and for JPEGs in CMYK.
    color = tf.io.decode_image(image_bytes, channels=3, expand_animations=False)
    luma = tf.reduce_sum(tf.cast(color, tf.int32) * LUMA, axis=-1, keepdims=True)
    gray = tf.cast((luma + LUMA_SUM // 2) // LUMA_SUM, tf.uint8)
    return tf.image.resize(to_unit_range(gray), (SIDE, SIDE), method="bilinear", antialias=True)


def to_unit_range(pixels: tf.Tensor | Bytes) -> tf.Tensor:
    """Scale 0..255 to 0..1 in float32, alike in training and in the exported graph."""
    return tf.image.convert_image_dtype(pixels, tf.float32)


def load_split() -> tuple[Digits, Digits]:
    """Return the digits to train on (80%) and those held out (20%), each in order of their ids."""
    levels, labels = load_digits(return_X_y=True)
    digits = Digits(np.arange(len(labels)), to_gray(levels).reshape(-1, SIDE, SIDE, 1), labels)
    train, held_out = train_test_split(digits.ids, test_size=HELD_OUT, stratify=labels, random_state=SEED)
    return digits.take(np.sort(train)), digits.take(np.sort(held_out))


def to_gray(levels: npt.NDArray[np.float64]) -> Bytes:
    """Scale 0..16 to 0..255, rounding to the nearest and halves up."""
    return ((levels.astype(np.int64) * WHITE + INK_LEVELS // 2) // INK_LEVELS).astype(np.uint8)


def write_images(digits: Digits) -> list[Path]:
    """Write each digit as `images/<id>.png`, and nothing else there."""
    shutil.rmtree(IMAGES, ignore_errors=True)
    IMAGES.mkdir()
    paths = [IMAGES / f"{row:04d}.png" for row in digits.ids]
    for path, pixels in zip(paths, digits.pixels, strict=True):
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    return paths


def write_labels(paths: list[Path], labels: Ints) -> None:
    """Write `labels.csv`: the files, relative to the repository's root, and the digits they show."""
    with LABELS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["uri", "label"])
        writer.writerows(
            (path.relative_to(REPOSITORY).as_posix(), label)
            for path, label in zip(paths, labels.tolist(), strict=True)
        )


def build_network() -> keras.Sequential:
    """Build the convolutional network: images [n, 8, 8, 1] to logits [n, 10]."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            *build_convolution(24),
            *build_convolution(24),
            layers.MaxPooling2D(),
            *build_convolution(48),
            *build_convolution(48),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(CLASSES),
        ],
        name="network",
    )


def build_convolution(filters: int) -> list[keras.Layer]:
    """Build a 3 x 3 convolution; the normalization after it makes a bias of its own superfluous."""
    layers = keras.layers
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
    ]


def build_augmentation() -> keras.Sequential:
    """Build the random shifts, turns and zooms that a training image goes through."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            layers.RandomRotation(0.03, fill_mode="constant"),
            layers.RandomZoom(0.1, fill_mode="constant"),
        ],
        name="augmentation",
    )


def train_network(digits: Digits) -> keras.Sequential:
    """Train a network; only the wrapper around it has an optimizer, so the network exports without one."""
    network = build_network()
    trainee = keras.Sequential([keras.Input((SIDE, SIDE, 1)), build_augmentation(), network])
    batch_size = 32
    steps = EPOCHS * -(-len(digits.ids) // batch_size)
    trainee.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    trainee.fit(to_unit_range(digits.pixels), digits.labels, batch_size=batch_size, epochs=EPOCHS, verbose=0)
    return network


def export(classifier: DigitClassifier) -> None:
    """Write the SavedModel with its four signatures."""
    shutil.rmtree(MODEL, ignore_errors=True)
    signatures = {
        "serving_default": classifier.from_filenames,
        "from_bytes": classifier.from_bytes,
        "preprocess": classifier.preprocess,
        "from_images": classifier.from_images,
    }
    tf.saved_model.save(classifier, str(MODEL), signatures=signatures)


def measure_accuracy(paths: list[Path], labels: Ints) -> float:
    """Return the share of the files that the exported model, loaded anew, labels rightly."""
    predict = tf.saved_model.load(str(MODEL)).signatures["serving_default"]
    predicted = predict(filenames=tf.constant([str(path) for path in paths]))["label"]
    return float(np.mean(predicted.numpy() == labels))


def count_bytes(folder: Path) -> int:
    """Return the size of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Make everything, and print what came of it."""
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    train, held_out = load_split()
    paths = write_images(held_out)
    write_labels(paths, held_out.labels)
    export(DigitClassifier(train_network(train)))
    accuracy = measure_accuracy(paths, held_out.labels)
    print(f"held-out accuracy: {accuracy:.2%} of {len(paths)} images")
    print(f"images: {count_bytes(IMAGES):,} bytes; model: {count_bytes(MODEL):,} bytes")


if __name__ == "__main__":
    main()
