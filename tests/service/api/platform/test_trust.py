"""Trust bundles: how operators add them and devices get them."""

import json
from dataclasses import replace

from sdk_contract.documents import TrustBundle
from service.infrastructure import signing
from tests.service.support import actors
from tests.service.support.actors import ok, refused


def test_anyone_can_read_the_trust_bundles_after_a_version(live):
    actors.refresh(live)
    assert ok(live.client.get("/v1/trust"))["bundles"] == [json.loads(live.trust)]
    assert ok(live.client.get("/v1/trust?after=1"))["bundles"] == []
    refused(live.client.get("/v1/trust?after=-1"), 422, "invalid", "after")


def test_a_new_trust_bundle_must_succeed_the_newest_one(live):
    root = signing.load_signer(f"file:{live.settings.scratch_dir}/root.pem", "root")
    newest = TrustBundle.from_initial_envelope(live.trust)
    second = replace(newest, version=2)

    def add(envelope):
        return live.call("POST", "/v1/admin/trust", {"envelope": envelope})

    skipped = replace(newest, version=3).sign([root])
    assert refused(add(json.loads(skipped)), 422, "invalid_trust_bundle", "envelope")["contract_code"]
    foreign = second.sign([signing.create_key(live.settings.scratch_dir / "other.pem")])
    refused(add(json.loads(foreign)), 422, "invalid_trust_bundle", "envelope")
    assert ok(add(json.loads(second.sign([root])))) == {"version": 2}
    assert ok(add(json.loads(second.sign([root])))) == {"version": 2}
    refused(add({"payload": 1.5}), 422, "invalid_trust_bundle", "envelope")
    refused(
        live.client.post("/v1/admin/trust", content=b'{"envelope": {"a": NaN}}', headers=bearer(live)),
        422,
        "invalid",
    )
    actors.refresh(live)
    assert len(ok(live.client.get("/v1/trust"))["bundles"]) == 2


def bearer(live):
    return {"Authorization": f"Bearer {live.tokens['admin']}"}
