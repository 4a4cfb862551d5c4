"""Mutated documents and credentials: refused with a known error, or equivalent to the original.

The tests run a fixed number of mutations; GRAYLAG_FUZZ_SECONDS makes each case run for that many seconds.
"""

import json
import os
import random
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from sdk_contract.documents import (
    Component,
    Directive,
    FileDigest,
    Manifest,
    PatchDescriptor,
    TrustBundle,
    Variant,
    format_timestamp,
)
from sdk_contract.errors import ContractError
from service.errors import Forbidden, ServiceError, Unauthorized
from service.infrastructure import signing, tokens
from tests.service.support import fuzzing
from tests.service.support.device_requests import (
    ED,
    NOW,
    P256,
    POLL,
    RSA,
    AuthHarness,
    device_assertion,
    hmac_headers,
    jwk,
    provider_token,
)

SECONDS = float(os.environ.get("GRAYLAG_FUZZ_SECONDS", "0"))
ROUNDS = 300
LATER = format_timestamp(NOW + timedelta(days=9))
SPECIAL = [
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
    blob = FileDigest(sha256="a" * 64, size=9)
    component = Component(name="w", path="w.bin", sha256=blob.sha256, size=blob.size)
    issued = format_timestamp(NOW)
    yield Manifest(
        model="m",
        version="v1",
        counter=1,
        variants=[Variant(name="d", components=[component])],
        issued=issued,
        expires=LATER,
    )
    yield PatchDescriptor(format="glp1", source=blob, target=blob, patch=blob, working_set=1, issued=issued)
    yield Directive(
        device_id="d",
        model="m",
        request_sha256="b" * 64,
        action="none",
        reason="up_to_date",
        next_poll_s=1,
        issued=issued,
        expires=LATER,
    )


DOCUMENTS = list(_documents())


def mutations(data, seed):
    """Random mutations: bytes deleted, replaced, doubled, inserted, or replaced with special ones."""
    rng = random.Random(seed)
    started, number = time.monotonic(), 0
    while number < ROUNDS or time.monotonic() - started < SECONDS:
        number += 1
        fuzzing.count_mutation(f"mutated {seed}")
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            start = rng.randrange(len(mutated) + 1)
            end = min(len(mutated), start + rng.choice((0, 1, 1, 2, 16)))
            mutated[start:end] = rng.choice(
                (b"", bytes([rng.randrange(256)]), rng.choice(SPECIAL), bytes(mutated[start:end]) * 2)
            )
        yield bytes(mutated)


def result_of(call, expected):
    """The result of the call, or the expected error that it raised."""
    try:
        return call()
    except expected as error:
        return error


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_mutated_envelope_is_refused_or_contains_what_was_signed(document, signers, bundle):
    role = TrustBundle.from_initial_envelope(bundle).for_role(document.role)
    for mutation in mutations(document.sign(signers[document.role]), seed=document.role):
        result = result_of(lambda: type(document).from_envelope(mutation, role), ContractError)  # noqa: B023 - called at once
        assert isinstance(result, ContractError) or result == document, mutation


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_mutated_payload_with_a_valid_signature_is_refused(document):
    """What an attacker with the key could send."""
    for mutation in mutations(document.to_bytes(), seed=document.role):
        result = result_of(lambda: type(document).from_payload(mutation), ContractError)  # noqa: B023 - called at once
        assert isinstance(result, (ContractError, type(document))), mutation


def test_a_mutated_trust_bundle_is_never_accepted_as_the_successor(signers, bundle):
    first = TrustBundle.from_initial_envelope(bundle)
    second = replace(first, version=2)
    for mutation in mutations(second.sign(signers["root"]), seed="trust"):
        result = result_of(lambda: first.verify_successor(mutation), ContractError)  # noqa: B023 - called at once
        assert isinstance(result, ContractError) or result == second, mutation


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ed", device_assertion),
        ("p256", lambda: device_assertion("p256", P256, "ES256")),
        ("phone-1", provider_token),
        ("d1", lambda: AuthHarness().auth.access_tokens.issue("d1", {}, NOW)),
    ],
)
def test_a_mutated_token_is_refused_or_names_the_same_device(name, make):
    harness = AuthHarness()
    for mutation in mutations(make().encode(), seed=name):
        result = result_of(lambda: harness.send_token(mutation.decode("latin-1")), (Forbidden, Unauthorized))  # noqa: B023 - called at once
        assert isinstance(result, ServiceError) or result.device_id == name, mutation


@pytest.mark.parametrize("header", sorted(hmac_headers()))
def test_a_signed_request_with_a_mutated_header_is_refused(header):
    harness, valid = AuthHarness(), hmac_headers()
    for mutation in mutations(valid[header].encode(), seed=header):
        headers = valid | {header: mutation.decode("latin-1")}
        result = result_of(lambda: harness.send(headers, POLL), Unauthorized)  # noqa: B023 - called at once
        assert isinstance(result, Unauthorized) or result.device_id == "tiny", mutation


def test_a_mutated_key_set_is_refused_or_parsed():
    key_set = json.dumps({"keys": [jwk(RSA, "r"), jwk(P256, "p"), jwk(ED, "e")]}).encode()
    for mutation in mutations(key_set, seed="jwks"):
        result = result_of(lambda: tokens.parse_key_set(mutation), ValueError)  # noqa: B023 - called at once
        assert isinstance(result, dict) or "JWK" in str(result), mutation
