import re

import pytest

import sdk_contract.client.errors
import sdk_contract.patch.errors
from sdk_contract.errors import ContractError, InputHashMismatch, Reaction, SignatureInvalid


def families(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in families(child))]


OURS = [kind for kind in families(ContractError) if kind.__module__.startswith("sdk_contract.")]
LEAVES = [kind for kind in OURS if not kind.__subclasses__()]


def test_the_errors_of_client_and_patch_belong_to_the_same_family():
    modules = {kind.__module__ for kind in OURS}
    assert {
        "sdk_contract.errors",
        sdk_contract.client.errors.__name__,
        sdk_contract.patch.errors.__name__,
    } <= modules


def test_a_code_and_its_number_always_go_together():
    pairs = {(kind.code, kind.number) for kind in LEAVES}
    assert len({code for code, _ in pairs}) == len(pairs)
    assert len({number for _, number in pairs}) == len(pairs)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_a_code_is_stable_text_and_its_number_is_in_a_class(kind):
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,40}", kind.code)
    assert kind.number // 1000 in {1, 2, 3, 4, 5}
    assert kind.reaction in Reaction


@pytest.mark.parametrize(
    "kind", [kind for kind in LEAVES if kind.number // 1000 == 2], ids=lambda kind: kind.__name__
)
def test_a_breach_of_security_never_tries_the_same_again(kind):
    assert kind.reaction is not Reaction.RETRY


def test_bytes_that_do_not_fit_lead_to_the_full_file():
    assert InputHashMismatch.reaction is Reaction.FULL_DOWNLOAD


def test_an_error_says_its_code_first():
    assert str(SignatureInvalid("by nobody")) == "signature_invalid: by nobody"
    assert str(SignatureInvalid()) == "signature_invalid"
