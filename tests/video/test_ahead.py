import threading
import time
from collections.abc import Generator

import pytest

from facetell.video.ahead import Ahead


def counting(made: list[int], closed: threading.Event, count: int = 1000) -> Generator[int, None, None]:
    try:
        for number in range(count):
            made.append(number)
            yield number
    finally:
        closed.set()


def test_items_come_in_order_and_only_so_many_ahead() -> None:
    made, closed = [], threading.Event()
    items = Ahead(counting(made, closed), size=3)
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.05)
    assert len(made) <= 8
    items.close()


def test_stopping_early_closes_the_generator_and_ends_its_thread() -> None:
    closed = threading.Event()
    before = threading.active_count()
    items = Ahead(counting([], closed), size=2)
    next(items)
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before
    assert list(items) == []


def test_an_error_reaches_the_consumer_after_the_items_before_it() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise KeyError("lost")

    items = Ahead(failing(), size=4)
    assert next(items) == 1
    with pytest.raises(KeyError, match="lost"):
        next(items)
    assert list(items) == []
