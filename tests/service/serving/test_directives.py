import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import Directive, timestamp
from service.serving.directives import DirectiveSeal, form
from service.signing import KeySigner

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KIND = ("action", "ext", "manifest_sha256", "model", "reason", "variant")


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
        {"variant": "int4", "manifest_sha256": "b" * 64, "nonce": "n" * 43},
        {"ext": {"retry": True, "activation": "hold"}, "attempt_id": "4b25b5a4-d5ae-4be0-a7e1-0f4e22fb8d7e"},
        {"device_id": "A:b@c.d_e-f", "next_poll_s": 0, "action": "hold", "reason": "killed"},
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
    common = {name: fields.get(name) for name in KIND}
    own = {"attempt_id": None, "nonce": None} | {
        name: value for name, value in fields.items() if name not in {*KIND, "issued", "expires"}
    }
    short = DirectiveSeal(signer).sealed(form(common), NOW, **own)
    assert short == Directive(**fields).seal([signer])
    assert json.loads(short)["payloadType"] == Directive.payload_type
