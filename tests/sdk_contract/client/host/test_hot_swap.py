"""ONNX Runtime serves requests while versions are swapped."""

import contextlib
import sys
import threading
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sdk_contract.client.errors import LoadFailed, SmokeFailed
from sdk_contract.client.host.hot_swap import HotSwap, NothingLoaded
from tests.sdk_contract.client.conftest import TORTURE
from tests.waiting import wait_until

WIDTH = 64


def build_network(version: int) -> bytes:
    """A network whose output, relu(x W) summed, times the version, identifies its version."""
    values = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("ReduceSum", ["r"], ["s"], keepdims=0),
            helper.make_node("Mul", ["s", "version"], ["y"]),
        ],
        "demo",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [
            numpy_helper.from_array(values, "w"),
            numpy_helper.from_array(np.array(version, np.float32), "version"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


INPUT = np.ones((1, WIDTH), dtype=np.float32)


class OnnxRuntime:
    """Loads a session, and tests it with one input."""

    def __init__(self):
        self.open = 0

    def load(self, installed):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(installed.components["net"].read_bytes(), options)
        self.open += 1
        return [session]

    def smoke_test(self, loaded):
        response = infer(loaded)
        if not response > 0:
            raise ValueError(response)
        return {"quality": 1.0}

    def close(self, loaded):
        loaded.clear()  # a later use of the model raises an error
        self.open -= 1


def infer(loaded):
    return float(loaded[0].run(None, {"x": INPUT})[0])


UNIT_RESULT = infer([onnxruntime.InferenceSession(build_network(1))])


@pytest.fixture
def agent(server, enroll):
    for counter in (1, 2, 3):
        server.publish(f"v{counter}", counter, {"net": build_network(counter)})
    onnx.checker.check_model(onnx.load_from_string(build_network(1)))
    return enroll("v1")


def offer(server, version):
    server.target, server.attempt = version, f"attempt-{version}-{time.monotonic_ns()}"


def test_a_new_lease_has_the_new_version_and_an_old_lease_keeps_its_own(server, agent):
    runtime = OnnxRuntime()
    swap = HotSwap(runtime)
    swap.start(agent.begin_start())
    with swap.acquire() as old:
        offer(server, "v2")
        assert agent.update(activator=swap).status == "updated"
        assert infer(old.model) == pytest.approx(UNIT_RESULT)
        with swap.acquire() as new:
            assert new.installed.version == "v2"
            assert infer(new.model) == pytest.approx(2 * UNIT_RESULT)
        assert runtime.open == 2
    assert runtime.open == 1
    swap.close()
    assert runtime.open == 0


def test_a_version_that_fails_its_smoke_test_never_serves_requests(server, agent):
    swap = HotSwap(OnnxRuntime())
    swap.start(agent.begin_start())
    server.publish("v9", 9, {"net": build_network(-9)})
    offer(server, "v9")
    assert agent.update(activator=swap).code == "smoke_failed"
    with swap.acquire() as lease:
        assert infer(lease.model) == pytest.approx(UNIT_RESULT)


@pytest.mark.parametrize("mode", ["side_by_side", "exclusive"])
def test_the_old_version_keeps_serving_if_the_runtime_cannot_load_the_new_one(server, agent, mode):
    runtime = OnnxRuntime()
    swap = HotSwap(runtime, mode=mode)
    swap.start(agent.begin_start())
    server.publish("v9", 9, {"net": b"not a model"})
    offer(server, "v9")
    assert agent.update(activator=swap).code == "load_failed"
    with swap.acquire() as lease:
        assert infer(lease.model) == pytest.approx(UNIT_RESULT)
    assert runtime.open == 1


def test_exclusive_mode_never_has_two_versions_in_memory(server, agent):
    class OnlyOne(OnnxRuntime):
        def load(self, installed):
            assert self.open == 0
            return super().load(installed)

    swap = HotSwap(OnlyOne(), mode="exclusive")
    swap.start(agent.begin_start())
    offer(server, "v2")
    assert agent.update(activator=swap).status == "updated"
    with swap.acquire() as lease:
        assert lease.installed.version == "v2"


def test_exclusive_mode_fails_if_requests_on_the_old_version_do_not_end(agent):
    swap = HotSwap(OnnxRuntime(), mode="exclusive", drain_timeout_s=0.05)
    swap.start(agent.begin_start())
    with (
        swap.acquire() as lease,
        pytest.raises(
            LoadFailed, match=r"load_failed: requests on the old version did not end within 0\.05 s"
        ),
    ):
        swap.activate(lease.installed)
    with swap.acquire() as lease:
        assert lease.installed.version == "v1"


def test_without_a_loaded_version_there_is_no_lease():
    with pytest.raises(NothingLoaded, match="nothing_loaded"), HotSwap(OnnxRuntime()).acquire():
        pass


def test_a_failed_smoke_test_closes_the_new_version(agent):
    class Picky(OnnxRuntime):
        def smoke_test(self, loaded):
            raise ValueError("no")

    runtime = Picky()
    swap = HotSwap(runtime)
    installed = agent.begin_start()
    swap.start(installed)
    with pytest.raises(SmokeFailed, match="smoke_failed: ValueError: no"):
        swap.activate(installed)
    assert runtime.open == 1


class Load:
    """Two threads of requests; each result is compared with the version of its lease.

    Attributes:
        wrong: wrong results and errors.
        times: per request whether a swap was in progress, and its duration in seconds.
    """

    def __init__(self, swap):
        self.swap, self.wrong, self.times = swap, [], []
        self.swapping, self.stop = threading.Event(), threading.Event()

    def wait_for_requests(self, count):
        wait_until(lambda: len(self.times) >= count, f"{count} requests")

    def serve(self):
        while not self.stop.is_set():
            started, during = time.perf_counter(), self.swapping.is_set()
            try:
                with self.swap.acquire() as lease:
                    result = infer(lease.model)
                    if result != pytest.approx(UNIT_RESULT * lease.installed.counter, rel=1e-4):
                        self.wrong.append(result)
            except Exception as error:  # noqa: BLE001  # every failure of a request counts
                self.wrong.append(error)
            self.times.append((during, time.perf_counter() - started))

    @contextlib.contextmanager
    def running(self):
        workers = [threading.Thread(target=self.serve) for _ in range(2)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self.stop.set()
            for worker in workers:
                worker.join()

    def assert_swaps_do_not_slow_requests(self):
        during, outside = ([took for flag, took in self.times if flag is side] for side in (True, False))
        tails = float(np.percentile(during, 99)), float(np.percentile(outside, 99))
        sys.stdout.write(f"p99 during swaps {tails[0] * 1000:.2f} ms, outside {tails[1] * 1000:.2f} ms\n")
        assert tails[0] <= 3 * tails[1]


def test_ten_thousand_requests_during_twenty_swaps_each_see_one_complete_version(server, agent):
    runtime = OnnxRuntime()
    swap = HotSwap(runtime)
    swap.start(agent.begin_start())
    load = Load(swap)
    with load.running():
        for number in range(20):
            label = f"v{number % 2 + 2}"
            server.action = "rollback" if number > 1 and number % 2 == 0 else "install"
            offer(server, label)
            load.swapping.set()
            result = agent.update(activator=swap)
            load.swapping.clear()
            assert (result.status, result.version) == ("updated", label)
            load.wait_for_requests(500 * (number + 1))
    assert load.wrong == []
    assert len(load.times) >= 10_000
    if TORTURE:  # the ratio of two tails is meaningful on a quiet machine only
        load.assert_swaps_do_not_slow_requests()
    swap.close()
    assert runtime.open == 0
