import re

import pytest

from transforms.predictors.base import TensorSpec
from transforms.predictors.remote.schema_text import EXAMPLE, INPUT_EXAMPLE, parse_schema


def test_names_have_types_and_the_shape_of_one_item() -> None:
    assert parse_schema("scores:float32[10],label:int64, boxes : float16 [ ?, 4 ]") == (
        TensorSpec("boxes", "float16", (None, None, 4)),
        TensorSpec("label", "int64", (None,)),
        TensorSpec("scores", "float32", (None, 10)),
    )


@pytest.mark.parametrize("text", [EXAMPLE, INPUT_EXAMPLE, "a:bfloat16", "a-b.c/d:bool[]"])
def test_examples_can_be_read(text: str) -> None:
    assert parse_schema(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "such as label:int64"),
        ("label", "at 'label'"),
        ("label:", "at 'label:'"),
        ("a:int64 b:int64", "at 'a:int64 b:int64'"),
        ("a:int64,b:int64[2", "at 'b:int64[2'"),
        ("a:number", "'number' is none"),
        ("a:int", "'int' is none"),
        ("a:object", "'object' is none"),
        ("a:complex64", "'complex64' is none"),
        ("a:int64[x]", "at 'a:int64[x]'"),
        ("a:int64[1,,2]", "[1,,2] is none"),
        ("a:int64,a:int32", "'a' comes again"),
        ("a:int64,", "at 'a:int64,'"),
        ("a:int64, ", "at 'a:int64, '"),
        (",a:int64", "at ',a:int64'"),
        ("a:int64[\N{ARABIC-INDIC DIGIT THREE}]", "at 'a:int64["),
        ("a:int\N{FULLWIDTH DIGIT EIGHT}", "at 'a:int"),
    ],
)
def test_what_is_none_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_schema(text)
