"""Several clients' crops in one call of the engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_MOST = 64
"""Items of one call. More gain nothing, and the first of them would wait longer."""


class Batcher(Generic[Item, Answer]):
    """Collects what comes during a call of the engine, for the next call.

    Nobody waits for a batch to fill: with one client, each call has that client's items. ``infer``
    answers a list of items in order; it runs in one thread. ``most`` bounds the items of a call
    where the engine has a bound. Belongs to one event loop.
    """

    def __init__(
        self, infer: Callable[[list[Item]], Sequence[Answer]], most: int | None = None
    ) -> None:
        self._infer = infer
        self._most = min(most or _MOST, _MOST)
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fer-edge-infer")
        self._task: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """Wait for the answers of some items. Raises what ``infer`` raises."""
        loop = asyncio.get_running_loop()
        pairs: list[tuple[Item, asyncio.Future[Answer]]] = [
            (item, loop.create_future()) for item in items
        ]
        self._waiting.extend(pairs)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        results: list[Any] = await asyncio.gather(*(future for _, future in pairs))
        return results

    async def close(self) -> None:
        """Cancel what waits, and wait for the call that is under way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            count = min(len(self._waiting), self._most)
            taken = [self._waiting.popleft() for _ in range(count)]
            # whoever went away meanwhile needs no answer
            wanted = [(item, future) for item, future in taken if not future.done()]
            if not wanted:
                continue
            try:
                answers = await loop.run_in_executor(
                    self._thread, self._infer, [item for item, _ in wanted]
                )
            except Exception as problem:  # whatever it is, those who wait are to get it
                for _, future in wanted:
                    if not future.done():
                        future.set_exception(problem)
                continue
            for (_, future), answer in zip(wanted, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
