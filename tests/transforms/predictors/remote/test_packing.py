from transforms.predictors.remote.packing import pack
from transforms.predictors.remote.wire import EncodedItem


def sized(*sizes: int) -> list[EncodedItem]:
    return [EncodedItem((b"x" * size,), size) for size in sizes]


def test_all_that_fits_goes_into_one_request() -> None:
    assert pack(sized(3, 3, 4), 10, None) == [[0, 1, 2]]


def test_no_request_is_larger_than_allowed() -> None:
    assert pack(sized(6, 4, 1, 9, 9), 10, None) == [[0, 1], [2, 3], [4]]


def test_no_request_has_more_items_than_allowed() -> None:
    assert pack(sized(1, 1, 1), 10, 1) == [[0], [1], [2]]
    assert pack(sized(1, 1, 1), 10, 2) == [[0, 1], [2]]


def test_items_whose_arrays_have_other_shapes_go_into_other_requests() -> None:
    items = [EncodedItem((b"",), 1, ((size,),)) for size in (8, 8, 9, 8)]
    assert pack(items, 10, None) == [[0, 1], [2], [3]]


def test_nothing_needs_no_request() -> None:
    assert pack([], 10, None) == []
