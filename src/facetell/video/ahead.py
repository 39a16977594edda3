"""An iterator that runs ahead of its consumer in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()


class Ahead(Iterator[T], Generic[T]):
    """Takes items from a generator in a thread, at most `size` more than were asked for.

    An error in the generator is raised again where the items are consumed. `close` may be called at any time: it waits
    for the item being made, if any, and closes the generator within its own thread.

    >>> items = Ahead((k * k for k in range(4)), size=2)
    >>> list(items)
    [0, 1, 4, 9]
    """

    def __init__(self, items: Generator[T, None, None], size: int) -> None:
        self._items = items
        self._queue: SimpleQueue = SimpleQueue()
        self._slots = threading.Semaphore(size)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="facetell-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._slots.acquire()
                if self._stopped:
                    break
                item = next(self._items, _END)
                self._queue.put((item, None))
                if item is _END:
                    break
        except Exception as error:  # whatever it is belongs to the consumer
            self._queue.put((_END, error))
        finally:
            self._items.close()

    def __next__(self) -> T:
        if self._stopped:
            raise StopIteration
        item, error = self._queue.get()
        self._slots.release()
        if item is _END:
            self.close()
            if error is not None:
                raise error
            raise StopIteration
        return item

    def close(self) -> None:
        self._stopped = True
        self._slots.release()
        self._thread.join()
