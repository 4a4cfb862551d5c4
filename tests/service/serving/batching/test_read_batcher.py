import asyncio

from service.serving.batching.read_batcher import ReadBatcher


class Doubler:
    """Doubles numbers in batches, and records the batches."""

    def __init__(self):
        self.batches = []

    async def __call__(self, keys):
        self.batches.append(list(keys))
        # Let other reads arrive while this batch runs.
        await asyncio.sleep(0)
        if 13 in keys:
            raise ValueError("13")
        return [2 * number for number in keys]


def test_concurrent_reads_share_batches_and_each_gets_its_own_value():
    doubler = Doubler()

    async def run():
        batcher = ReadBatcher(doubler, max_batch=4)
        return await asyncio.gather(*(batcher.read(number) for number in range(6)))

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]
    assert doubler.batches == [[0, 1, 2, 3], [4, 5]]


def test_a_failure_reaches_the_whole_batch_and_no_later_one():
    async def run():
        batcher = ReadBatcher(Doubler())
        failed = await asyncio.gather(*(batcher.read(number) for number in (1, 13)), return_exceptions=True)
        return failed, await batcher.read(4)

    failed, later = asyncio.run(run())
    assert [type(error) for error in failed] == [ValueError, ValueError]
    assert later == 8


def test_a_canceled_read_does_not_stop_the_others():
    async def run():
        batcher = ReadBatcher(Doubler())
        canceled = asyncio.create_task(batcher.read(1))
        other = asyncio.create_task(batcher.read(2))
        # One turn of the event loop lets both reads join the batch.
        await asyncio.sleep(0)
        canceled.cancel()
        return await other

    assert asyncio.run(run()) == 4
