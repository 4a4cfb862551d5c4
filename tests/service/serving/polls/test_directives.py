import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sdk_contract.documents import Directive, format_timestamp
from service.infrastructure.signing import LocalSigner
from service.serving.polls.directives import DirectiveSigner, directive_template

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SHARED = ("action", "ext", "manifest_sha256", "model", "reason", "variant")


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
        {
            "ext": {"retry": True, "activation": "deferred"},
            "attempt_id": "4b25b5a4-d5ae-4be0-a7e1-0f4e22fb8d7e",
        },
        {"device_id": "A:b@c.d_e-f", "next_poll_s": 0, "action": "pause", "reason": "model_disabled"},
    ],
)
def test_a_directive_from_a_template_equals_that_of_the_contract_byte_for_byte(more):
    signer = LocalSigner(Ed25519PrivateKey.generate())
    fields = {
        "device_id": "dev_1",
        "model": "m",
        "request_sha256": "a" * 64,
        "action": "none",
        "reason": "up_to_date",
        "next_poll_s": 3600,
        "issued": format_timestamp(NOW),
        "expires": format_timestamp(NOW + timedelta(hours=1)),
    } | more
    shared = {name: fields.get(name) for name in SHARED}
    own = {"attempt_id": None, "nonce": None} | {
        name: value for name, value in fields.items() if name not in {*SHARED, "issued", "expires"}
    }
    signed = DirectiveSigner(signer).sign(directive_template(shared), NOW, **own)
    assert signed == Directive(**fields).sign([signer])
    assert json.loads(signed)["payloadType"] == Directive.payload_type
