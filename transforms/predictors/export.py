"""From a Keras model and a function that prepares images to a SavedModel that takes files.

What is exported has four signatures, so that a pipeline can choose what it sends, and so that the images are
prepared by the very function that prepared them in training:

    serving_default  filenames    the names of files, which the graph reads itself
    from_bytes       image_bytes  the bytes of files
    preprocess       image_bytes  -> images, as `from_images` takes them
    from_images      images       prepared images
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transforms.errors import ModelError
from transforms.predictors.preprocessing import SCALES, Scale
from transforms.predictors.tensorflow_runtime import import_tensorflow

Preprocess = Callable[[Any], Any]
"""From the bytes of one image, a scalar string tensor, to one image tensor."""

Scores = Literal["probabilities", "logits"]
Color = Literal["rgb", "gray"]

PARALLEL_DECODES = 16

# Rec. 601 luma in thousandths: integers, so that a gray pixel keeps its exact value.
_LUMA = (299, 587, 114)


def export_model(keras_model: Any, preprocess: Preprocess, folder: str, scores: Scores | None = None) -> None:
    """Write a Keras model with its preprocessing as a SavedModel of four signatures.

    Args:
        keras_model: Built, and with one input, which takes a batch of images.
        preprocess: Makes an image of the bytes of a file, with TensorFlow's operations; see
            `decode_and_resize`.
        folder: Where to write, local or `gs://`; there must be nothing yet.
        scores: For a classifier, what the model's output [n, classes] holds. Then the outputs are `label`
            (int64, [n]), its `probability` ([n]) and `scores` (the probabilities, [n, classes]). None for any
            other model: then the outputs are the model's own, by their names, and a single one is `output`.

    Raises:
        ModelError: There is something in the folder, the model does not take what the function makes, or its
            outputs have no names.

    Example:
        >>> export_model(network, decode_and_resize(224, scale="-1..1"), "my_model", scores="logits")
    """
    tf = import_tensorflow()
    if tf.io.gfile.exists(folder) and tf.io.gfile.listdir(folder):
        raise ModelError(f"{folder} is not empty: give a folder that is not there yet, or is empty")
    converted = tf.function(preprocess)  # for the `if` and `for` in it; what is here has none
    exported = _Exported(keras_model, converted, _image_spec(keras_model, converted), scores)
    archive = tf.keras.export.ExportArchive()  # unlike tf.saved_model.save, it leaves the optimizer out
    archive.track(_holder(keras_model, preprocess))
    for name, function in exported.signatures().items():
        function.get_concrete_function()
        archive.add_endpoint(name, function)
    archive.write_out(folder, verbose=False)


def _holder(*parts: Any) -> Any:
    """Put a model and a function into one object, whose lookup tables Keras then finds.

    Of a model itself Keras 3.15 would write the variables twice.
    """
    holder = import_tensorflow().Module()
    holder.parts = parts
    return holder


def decode_and_resize(
    size: int | tuple[int, int], scale: Scale = "0..1", color: Color = "rgb", *, antialias: bool = True
) -> Preprocess:
    """Make the usual preprocessing: decode an image, stretch it to a size, scale its numbers.

    It takes PNG, JPEG, BMP, WebP and GIF (its first frame), and ignores EXIF's orientation. Use the same
    function in training, as in `dataset.map(preprocess)`.

    Args:
        size: Height and width in pixels; one number for squares.
        scale: The range of the numbers, which are float32.
        color: The channels of the image: three, or one of gray.
        antialias: Whether shrinking takes all pixels into account; False for models that were trained with
            `keras.utils.image_dataset_from_directory`, which leaves pixels out.

    Returns:
        A function from a scalar string tensor to a tensor of float32 [height, width, channels].
    """
    height, width = (size, size) if isinstance(size, int) else size
    subtracted, divided = SCALES[scale]

    def preprocess(image_bytes: Any) -> Any:
        image = import_tensorflow().image
        pixels = _decoded(image_bytes, color)
        resized = image.resize(pixels, (height, width), method="bilinear", antialias=antialias)
        return (resized - subtracted) / divided

    return preprocess


def _decoded(image_bytes: Any, color: Color) -> Any:
    """Return the pixels of an image, 0 to 255, with three channels or one."""
    tf = import_tensorflow()
    # Not `channels=1`: TensorFlow refuses it for BMP, GIF and WebP files, and for JPEGs in CMYK.
    pixels = tf.io.decode_image(image_bytes, channels=3, expand_animations=False)
    if color == "rgb":
        return pixels
    luma = tf.reduce_sum(tf.cast(pixels, tf.int32) * _LUMA, axis=-1, keepdims=True)
    return (luma + sum(_LUMA) // 2) // sum(_LUMA)


@dataclass(frozen=True)
class _Exported:
    """The functions that are exported.

    Attributes:
        keras_model: Takes a batch of images.
        preprocess: Makes an image of the bytes of a file.
        image: The shape and dtype of that image.
        scores: See `export_model`.
    """

    keras_model: Any
    preprocess: Preprocess
    image: Any
    scores: Scores | None

    def signatures(self) -> dict[str, Any]:
        """Make the functions by the names of their signatures."""
        string = import_tensorflow().string
        images = (self.image.dtype, *self.image.shape)
        return {
            "serving_default": _function(lambda names: self.predict(self.read(names)), "filenames", string),
            "from_bytes": _function(
                lambda contents: self.predict(self.prepare(contents)), "image_bytes", string
            ),
            "preprocess": _function(
                lambda contents: {"images": self.prepare(contents)}, "image_bytes", string
            ),
            "from_images": _function(self.predict, "images", *images),
        }

    def read(self, names: Any) -> Any:
        """Make images of the names of files."""
        read_file = import_tensorflow().io.read_file
        return self._each(lambda name: self.preprocess(read_file(name)), names)

    def prepare(self, contents: Any) -> Any:
        """Make images of the bytes of files."""
        return self._each(self.preprocess, contents)

    def predict(self, images: Any) -> dict[str, Any]:
        """Make the outputs of images, by their names."""
        outputs = self.keras_model(images, training=False)
        if self.scores is not None:
            return _class_outputs(outputs, self.scores)
        return _named_outputs(outputs, getattr(self.keras_model, "output_names", None) or ())

    def _each(self, to_image: Preprocess, items: Any) -> Any:
        """Make an image of each string, several at a time."""
        tf = import_tensorflow()
        return tf.map_fn(
            lambda item: tf.ensure_shape(to_image(item), self.image.shape),
            items,
            parallel_iterations=PARALLEL_DECODES,
            fn_output_signature=self.image,
        )


def _function(body: Callable[[Any], Any], name: str, dtype: Any, *item_shape: int) -> Any:
    """Make a function of a batch, whose signature calls its input by that name."""
    tf = import_tensorflow()
    batch = tf.TensorSpec([None, *item_shape], dtype, name)
    return tf.function(body, input_signature=[batch], autograph=False)


def _image_spec(keras_model: Any, preprocess: Any) -> Any:
    """Tell what one image is by tracing a `tf.function`, and see that the model takes it."""
    tf = import_tensorflow()
    made = preprocess.get_concrete_function(tf.TensorSpec([], tf.string)).structured_outputs
    if not tf.is_tensor(made):
        raise ModelError(f"preprocess must return one tensor, an image; it returns {made}")
    taken = _taken_shape(keras_model)
    if not made.shape.is_compatible_with(taken):
        raise ModelError(f"preprocess makes images of the shape {made.shape}; the model takes {taken}")
    shape = made.shape.merge_with(taken)
    if not shape.is_fully_defined():
        raise ModelError(
            f"preprocess makes images of the shape {shape}: let it resize them, for a batch needs one size"
        )
    return tf.TensorSpec(shape, made.dtype)


def _taken_shape(keras_model: Any) -> Any:
    """Return the shape of what the model takes for one item, as far as it tells."""
    inputs = getattr(keras_model, "inputs", None) or ()
    if len(inputs) > 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise ModelError(f"the model has the inputs {names}; export_model takes models with one input")
    return import_tensorflow().TensorShape(inputs[0].shape[1:] if inputs else None)


def _named_outputs(outputs: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if not isinstance(outputs, (list, tuple)):
        return {"output": outputs}
    if len(set(names)) != len(outputs):
        raise ModelError("the model returns several outputs without names: let it return a dict")
    return dict(zip(names, outputs, strict=True))


def _class_outputs(outputs: Any, scores: Scores) -> dict[str, Any]:
    tf = import_tensorflow()
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] == 1:  # noqa: PLR2004
        raise ModelError(
            f"scores={scores!r} is for a model with one output, of the shape [n, classes]; "
            f"this one returns {outputs}"
        )
    probabilities = tf.nn.softmax(outputs) if scores == "logits" else outputs
    return {
        "label": tf.argmax(probabilities, axis=-1, output_type=tf.int64),
        "probability": tf.reduce_max(probabilities, axis=-1),
        "scores": probabilities,
    }
