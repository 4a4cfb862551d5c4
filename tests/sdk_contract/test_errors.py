import re

import pytest

import sdk_contract.client.errors
import sdk_contract.patch.errors
from sdk_contract.errors import ContractError, InputHashMismatch, Reaction, SignatureInvalid


def families(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in families(child))]


OURS = [kind for kind in families(ContractError) if kind.__module__.startswith("sdk_contract.")]
LEAVES = [kind for kind in OURS if not kind.__subclasses__()]


def test_the_errors_of_client_and_patch_are_contract_errors():
    modules = {kind.__module__ for kind in OURS}
    assert {
        "sdk_contract.errors",
        sdk_contract.client.errors.__name__,
        sdk_contract.patch.errors.__name__,
    } <= modules


def test_codes_and_numbers_are_unique():
    pairs = {(kind.code, kind.number) for kind in LEAVES}
    assert len({code for code, _ in pairs}) == len(pairs)
    assert len({number for _, number in pairs}) == len(pairs)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_a_code_is_a_short_identifier_and_its_number_has_a_known_class(kind):
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,40}", kind.code)
    assert kind.number // 1000 in {1, 2, 3, 4, 5}
    assert kind.reaction in Reaction


@pytest.mark.parametrize(
    "kind", [kind for kind in LEAVES if kind.number // 1000 == 2], ids=lambda kind: kind.__name__
)
def test_a_security_error_is_never_retried(kind):
    assert kind.reaction is not Reaction.RETRY


def test_a_wrong_digest_leads_to_a_full_download():
    assert InputHashMismatch.reaction is Reaction.FULL_DOWNLOAD


def test_the_text_of_an_error_starts_with_its_code():
    assert str(SignatureInvalid("by nobody")) == "signature_invalid: by nobody"
    assert str(SignatureInvalid()) == "signature_invalid"
