"""Documents and proofs with their bytes changed: refused by a name that clients know, or worth what they were.

A bounded run is part of the tests; GRAYLAG_FUZZ_SECONDS makes each case go on for so long.
"""

import json
import os
import random
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from sdk_contract.documents import Directive, Manifest, PatchDescriptor, TrustBundle, timestamp
from sdk_contract.errors import ContractError
from service import signing, tokens
from service.errors import Forbidden, ServiceError, Unauthorized
from tests.service import fuzzing
from tests.service.proofs import (
    ED,
    NOW,
    P256,
    POLL,
    RSA,
    Bench,
    device_token,
    jwk,
    mac_headers,
    provider_token,
)

SECONDS = float(os.environ.get("GRAYLAG_FUZZ_SECONDS", "0"))
ROUNDS = 300
LATER = timestamp(NOW + timedelta(days=9))
ODD = [
    b"\0",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"}" * 3,
    b"\xff",
    b"\xed\xa0\x80",
    b"1e999",
    b"-0",
    b"NaN",
    b"9" * 400,
    b"=",
    b".",
]


@pytest.fixture(scope="module")
def signers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {role: [signing.create_key(folder / f"{role}.pem")] for role in signing.ROLES}


@pytest.fixture(scope="module")
def bundle(signers):
    return signing.first_trust_bundle(signers, now=NOW)


def _documents():
    bytes_of = {"sha256": "a" * 64, "size": 9}
    component = {"name": "w", "path": "w.bin", **bytes_of}
    span = {"issued": timestamp(NOW), "expires": LATER}
    yield Manifest(
        model="m", version="v1", counter=1, variants=[{"name": "d", "components": [component]}], **span
    )
    yield PatchDescriptor(
        format="glp1", source=bytes_of, target=bytes_of, patch=bytes_of, working_set=1, issued=timestamp(NOW)
    )
    yield Directive(
        device_id="d",
        model="m",
        request_sha256="b" * 64,
        action="none",
        reason="up_to_date",
        next_poll_s=1,
        **span,
    )


DOCUMENTS = list(_documents())


def mutants(data, seed):
    """Ever new changes of some bytes: flipped, cut, doubled, put in, swapped with odd ones."""
    chance = random.Random(seed)
    started, number = time.monotonic(), 0
    while number < ROUNDS or time.monotonic() - started < SECONDS:
        number += 1
        fuzzing.note(f"mutated {seed}")
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            place = chance.randrange(len(changed) + 1)
            end = min(len(changed), place + chance.choice((0, 1, 1, 2, 16)))
            changed[place:end] = chance.choice(
                (b"", bytes([chance.randrange(256)]), chance.choice(ODD), bytes(changed[place:end]) * 2)
            )
        yield bytes(changed)


def attempt(call, refusal):
    """What came of it: a value, or a refusal of the one family that clients know."""
    try:
        return call()
    except refusal as fault:
        return fault


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_changed_envelope_is_refused_by_name_or_still_holds_what_was_signed(document, signers, bundle):
    role = TrustBundle.open_first(bundle).for_role(document.role)
    for mutant in mutants(document.seal(signers[document.role]), seed=document.role):
        came = attempt(lambda: type(document).open(mutant, role), ContractError)  # noqa: B023 - called at once
        assert isinstance(came, ContractError) or came == document, mutant


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_changed_payload_with_a_good_signature_is_refused_by_name(document):
    """What a signer in the wrong hands could send."""
    for mutant in mutants(document.to_bytes(), seed=document.role):
        came = attempt(lambda: type(document).from_payload(mutant), ContractError)  # noqa: B023 - called at once
        assert isinstance(came, (ContractError, type(document))), mutant


def test_a_changed_trust_bundle_is_never_the_successor(signers, bundle):
    first = TrustBundle.open_first(bundle)
    second = replace(first, version=2)
    for mutant in mutants(second.seal(signers["root"]), seed="trust"):
        came = attempt(lambda: first.open_next(mutant), ContractError)  # noqa: B023 - called at once
        assert isinstance(came, ContractError) or came == second, mutant


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ed", device_token),
        ("p256", lambda: device_token("p256", P256, "ES256")),
        ("phone-1", provider_token),
        ("d1", lambda: Bench().auth.access_tokens.issue("d1", {}, NOW)),
    ],
)
def test_a_changed_token_is_refused_by_name_or_means_the_same_device(name, make):
    bench = Bench()
    for mutant in mutants(make().encode(), seed=name):
        came = attempt(lambda: bench.bearer(mutant.decode("latin-1")), (Forbidden, Unauthorized))  # noqa: B023 - called at once
        assert isinstance(came, ServiceError) or came.device_id == name, mutant


@pytest.mark.parametrize("header", sorted(mac_headers()))
def test_a_changed_header_of_a_signed_request_is_refused_by_name(header):
    bench, good = Bench(), mac_headers()
    for mutant in mutants(good[header].encode(), seed=header):
        said = good | {header: mutant.decode("latin-1")}
        came = attempt(lambda: bench.ask(said, POLL), Unauthorized)  # noqa: B023 - called at once
        assert isinstance(came, Unauthorized) or came.device_id == "tiny", mutant


def test_a_changed_key_set_of_a_provider_is_refused_by_name_or_read():
    key_set = json.dumps({"keys": [jwk(RSA, "r"), jwk(P256, "p"), jwk(ED, "e")]}).encode()
    for mutant in mutants(key_set, seed="jwks"):
        came = attempt(lambda: tokens.provider_keys(mutant), ValueError)  # noqa: B023 - called at once
        assert isinstance(came, dict) or "JWK" in str(came), mutant
