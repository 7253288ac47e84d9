from __future__ import annotations

import asyncio
import threading

import pytest

from fer_edge.serve.batcher import Batcher


def test_what_comes_during_a_call_goes_together_in_the_next() -> None:
    calls: list[list[int]] = []
    started, release = threading.Event(), threading.Event()

    def double(items: list[int]) -> list[int]:
        calls.append(items)
        started.set()
        release.wait(60)
        return [2 * item for item in items]

    async def main() -> list[list[int]]:
        batcher = Batcher(double)
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.to_thread(started.wait, 60)
        others = [asyncio.create_task(batcher.submit([n, n + 1])) for n in (2, 4)]
        await asyncio.sleep(0)
        release.set()
        answers = await asyncio.gather(first, *others)
        await batcher.close()
        return answers

    assert asyncio.run(main()) == [[2], [4, 6], [8, 10]]
    assert calls == [[1], [2, 3, 4, 5]]


def test_a_call_takes_no_more_than_the_engine_does() -> None:
    calls: list[int] = []

    def count(items: list[int]) -> list[int]:
        calls.append(len(items))
        return items

    async def main() -> None:
        batcher = Batcher(count, 3)
        await batcher.submit(range(7))
        await batcher.close()

    asyncio.run(main())
    assert calls == [3, 3, 1]


def test_an_error_reaches_those_whose_call_failed_and_the_next_call_works() -> None:
    def fail_on_zero(items: list[int]) -> list[float]:
        return [1 / item for item in items]

    async def main() -> list[float]:
        batcher = Batcher(fail_on_zero)
        with pytest.raises(ZeroDivisionError):
            await batcher.submit([0])
        answers = await batcher.submit([2])
        await batcher.close()
        return answers

    assert asyncio.run(main()) == [0.5]


def test_whoever_is_cancelled_is_left_out() -> None:
    calls: list[list[str]] = []
    started, release = threading.Event(), threading.Event()

    def note(items: list[str]) -> list[str]:
        calls.append(items)
        started.set()
        release.wait(60)
        return items

    async def main() -> None:
        batcher = Batcher(note)
        first = asyncio.create_task(batcher.submit(["first"]))
        await asyncio.to_thread(started.wait, 60)
        gone = asyncio.create_task(batcher.submit(["gone"]))
        await asyncio.sleep(0)
        gone.cancel()
        last = asyncio.create_task(batcher.submit(["last"]))
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(first, last)
        await batcher.close()

    asyncio.run(main())
    assert calls == [["first"], ["last"]]
