import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import Directive, timestamp
from service.serving.compose import DirectiveSeal
from service.signing import KeySigner

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"nonce": "n" * 22},
        {
            "action": "install",
            "reason": "update",
            "manifest_sha256": "b" * 64,
            "variant": "default",
            "attempt_id": "4b25b5a4-d5ae-4be0-a7e1-0f4e22fb8d7e",
        },
    ],
)
def test_a_directive_sealed_in_short_is_byte_for_byte_the_one_that_the_contract_makes(more):
    signer = KeySigner(Ed25519PrivateKey.generate())
    fields = {
        "device_id": "dev_1",
        "model": "m",
        "request_sha256": "a" * 64,
        "action": "none",
        "reason": "up_to_date",
        "next_poll_s": 3600,
        "issued": timestamp(NOW),
        "expires": timestamp(NOW + timedelta(hours=1)),
    } | more
    absent = {"variant": None, "manifest_sha256": None, "attempt_id": None, "nonce": None} | fields
    short = DirectiveSeal(signer).sealed(absent)
    assert short == Directive(**fields).seal([signer])
    assert json.loads(short)["payloadType"] == Directive.payload_type
