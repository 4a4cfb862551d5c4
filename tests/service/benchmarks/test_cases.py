import pytest

from service.benchmarks import cases
from service.benchmarks.cases import UnexpectedResponse
from service.testbed.asgi import HttpResponse
from service.testbed.devices import synthetic_device


@pytest.mark.parametrize(
    ("check", "response"),
    [
        (cases.expect_no_update, HttpResponse(200, b'{"need_update":true,"directive":{}}')),
        (cases.expect_no_update, HttpResponse(503, b"{}")),
        (cases.expect_offer, HttpResponse(200, b'{"need_update":false}')),
        (cases.expect_events_accepted, HttpResponse(202, b'{"accepted":49,"duplicates":1}')),
        (cases.expect_ok, HttpResponse(422, b"{}")),
    ],
)
def test_a_response_that_the_case_does_not_measure_fails_the_benchmark(check, response):
    with pytest.raises(UnexpectedResponse, match=f"status {response.status}"):
        check(response)


def test_each_round_uses_other_devices_until_all_have_had_a_turn():
    blocks = cases.device_blocks([synthetic_device(number) for number in range(2500)])
    assert [len(next(blocks)) for _ in range(4)] == [1000, 1000, 500, 1000]
