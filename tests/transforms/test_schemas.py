"""From records and signatures to the schemas of tables."""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.errors import ModelError
from transforms.predictors.base import Signature, TensorSpec
from transforms.records import DeadLetter, Prediction
from transforms.schemas import arrow_schema, output_type

SIGNATURE = Signature(
    "from_bytes",
    inputs=(TensorSpec("image_bytes", "string", (None,)),),
    outputs=(
        TensorSpec("label", "int64", (None,)),
        TensorSpec("probability", "float32", (None,)),
        TensorSpec("scores", "float32", (None, 10)),
    ),
)

TIME = pa.timestamp("us", tz="UTC")


def test_the_schema_of_predictions() -> None:
    outputs = pa.struct(
        [("label", pa.int64()), ("probability", pa.float32()), ("scores", pa.list_(pa.float32()))]
    )
    assert arrow_schema(Prediction, SIGNATURE) == pa.schema(
        [
            pa.field("prediction_id", pa.string(), nullable=False),
            pa.field("uri", pa.string(), nullable=False),
            pa.field("generation", pa.int64()),
            pa.field("model", pa.string(), nullable=False),
            pa.field("model_version", pa.string(), nullable=False),
            pa.field("signature", pa.string(), nullable=False),
            pa.field("outputs", outputs, nullable=False),
            pa.field("attributes", pa.string(), nullable=False),
            pa.field("predicted_at", TIME, nullable=False),
        ]
    )


def test_the_schema_of_dead_letters() -> None:
    assert arrow_schema(DeadLetter, SIGNATURE) == pa.schema(
        [
            pa.field("prediction_id", pa.string()),
            pa.field("uri", pa.string()),
            pa.field("generation", pa.int64()),
            pa.field("stage", pa.string(), nullable=False),
            pa.field("error", pa.string(), nullable=False),
            pa.field("message", pa.string(), nullable=False),
            pa.field("retryable", pa.bool_(), nullable=False),
            pa.field("attempts", pa.int64(), nullable=False),
            pa.field("model_version", pa.string()),
            pa.field("attributes", pa.string(), nullable=False),
            pa.field("payload", pa.string()),
            pa.field("failed_at", TIME, nullable=False),
        ]
    )


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("bool", pa.bool_()),
        ("int8", pa.int8()),
        ("int16", pa.int16()),
        ("int32", pa.int32()),
        ("int64", pa.int64()),
        ("uint8", pa.uint8()),
        ("uint16", pa.uint16()),
        ("uint32", pa.uint32()),
        ("uint64", pa.uint64()),
        ("bfloat16", pa.float32()),
        ("float16", pa.float16()),
        ("float32", pa.float32()),
        ("float64", pa.float64()),
        ("string", pa.string()),
    ],
)
def test_each_dtype_has_its_type(dtype: str, kind: pa.DataType) -> None:
    assert output_type(TensorSpec("x", dtype, (None,))) == kind
    assert output_type(TensorSpec("x", dtype, (None, 3))) == pa.list_(kind)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((None,), pa.int64()),
        ((32,), pa.int64()),
        ((None, 3), pa.list_(pa.int64())),
        ((None, None), pa.list_(pa.int64())),
        ((None, 1), pa.list_(pa.int64())),
        ((None, 2, None), pa.list_(pa.list_(pa.int64()))),
        ((None, 8, 8, 1), pa.list_(pa.list_(pa.list_(pa.int64())))),
        (None, pa.string()),
    ],
)
def test_each_dimension_but_the_batchs_is_a_list_and_an_unknown_rank_is_json(
    shape: tuple[int | None, ...] | None, kind: pa.DataType
) -> None:
    assert output_type(TensorSpec("x", "int64", shape)) == kind


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "dtype-20"])
def test_a_dtype_that_no_table_holds_is_refused_with_the_output(dtype: str) -> None:
    signature = Signature("s", (), (TensorSpec("wave", dtype, (None,)),))
    with pytest.raises(ModelError, match=rf"output wave: {dtype} \[\?\] cannot be written"):
        arrow_schema(Prediction, signature)


def test_dead_letters_do_not_care_what_the_outputs_are() -> None:
    strange = Signature("s", (), (TensorSpec("wave", "complex64", (None,)),))
    assert arrow_schema(DeadLetter, strange) == arrow_schema(DeadLetter, SIGNATURE)
