"""Descriptions of how images are prepared, read and written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transforms.predictors.preprocessing import Preprocessing

DESCRIPTIONS = {
    "sizes=1x1": "has the parts size, resize",
    "size=224": "size must be WIDTHxHEIGHT",
    "size=0x3": "size must be WIDTHxHEIGHT",
    "resize=fit": "resize must be one of stretch, pad, crop; not 'fit'",
    "scale=1": "scale must be one of 0..1, -1..1, 0..255; not '1'",
    "color=rgba": "color must be one of",
    "layout=nchw": "layout must be one of hwc, chw",
    "mean=1/2": "mean must be one number, or three",
    "mean=nan": "mean must be one number, or three",
    "deviation=0": "deviation must not be 0",
    "max_pixels=0": "max_pixels must be a whole number",
    "size=1x1,size=2x2": "size must be given once",
}


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_a_wrong_description_is_refused(description: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        Preprocessing.parse(description)

    assert DESCRIPTIONS[description] in str(raised.value)


def test_a_wrong_word_is_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match="scale must be one of"):
        Preprocessing(scale="0..2")  # type: ignore[arg-type]


WRITTEN = {
    "size=8x8": "size=8x8,resize=stretch,scale=0..1,orientation=ignore",
    "size=224x160,resize=crop,scale=-1..1,color=bgr,orientation=apply,max_pixels=5": (
        "size=224x160,resize=crop,scale=-1..1,color=bgr,orientation=apply,max_pixels=5"
    ),
    "mean=123.675/116.28/103.53,deviation=58.395/57.12/57.375,layout=chw": (
        "resize=stretch,scale=0..255,mean=123.675/116.28/103.53,deviation=58.395/57.12/57.375,layout=chw,"
        "orientation=ignore"
    ),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_description_is_written_as_it_is_read(text: str) -> None:
    how = Preprocessing.parse(text)

    assert str(how) == WRITTEN[text]
    assert Preprocessing.parse(str(how)) == replace(how, scale=how.effective_scale)


def test_whole_numbers_of_a_mean_are_no_size() -> None:
    assert "mean=1/2/3," in str(Preprocessing(mean=(1, 2, 3)))
