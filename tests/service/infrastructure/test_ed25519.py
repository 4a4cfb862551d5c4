"""Ed25519 by libsodium, compared with OpenSSL."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from service.infrastructure.ed25519 import SodiumSigner, verify_signature

ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD = 2**255 - 19
KEYS = [Ed25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([n])).digest()) for n in range(40)]
KEY = KEYS[0]
PUBLIC = KEY.public_key().public_bytes_raw()
MESSAGE = b"a poll request"
VALID = KEY.sign(MESSAGE)

# The eight points of small order in canonical form, and two in non-canonical form (RFC 8032, 5.1.3).
SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_both_libraries_make_the_same_signatures_and_accept_each_other(key):
    public, signer = key.public_key().public_bytes_raw(), SodiumSigner.of(key)
    for size in (0, 1, 63, 64, 300, 5000):
        message = bytes(range(256)) * 20
        message = message[:size]
        assert signer.sign(message) == key.sign(message)
        assert verify_signature(public, key.sign(message), message)
    assert signer.public_key == public


def test_the_first_vector_of_rfc_8032_is_reproduced():
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    signature = SodiumSigner.of(key).sign(b"")
    assert signature.hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    assert verify_signature(key.public_key().public_bytes_raw(), signature, b"")


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_a_signature_with_a_flipped_bit_is_invalid(bit):
    flipped = bytearray(VALID)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify_signature(PUBLIC, bytes(flipped), MESSAGE)


def test_a_signature_is_invalid_for_another_message_or_key():
    assert not verify_signature(PUBLIC, VALID, MESSAGE + b"!")
    assert not verify_signature(PUBLIC, VALID, b"")
    assert not verify_signature(KEYS[1].public_key().public_bytes_raw(), VALID, MESSAGE)


@pytest.mark.parametrize("times", [1, 2, 8, 15])
def test_a_signature_with_unreduced_s_is_invalid(times):
    s = int.from_bytes(VALID[32:], "little") + times * ORDER
    assert s < 2**256
    assert not verify_signature(PUBLIC, VALID[:32] + s.to_bytes(32, "little"), MESSAGE)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_a_key_of_small_order_is_rejected(point):
    """OpenSSL accepts such signatures: with S = 0 and R = A or the neutral element, some message is always valid."""
    for r in SMALL_ORDER:
        for number in range(16):
            assert not verify_signature(point, r + bytes(32), b"%d" % number)
    accepted = 0
    for number in range(64):
        try:
            Ed25519PublicKey.from_public_bytes(SMALL_ORDER[0]).verify(
                SMALL_ORDER[0] + bytes(32), b"%d" % number
            )
        except InvalidSignature:
            continue
        accepted += 1
    assert accepted


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_a_signature_with_r_of_small_order_is_invalid(point):
    """With R of small order, S = k * a verifies for the owner of the key, but no honest signer uses such an R."""
    digest = bytearray(hashlib.sha512(KEY.private_bytes_raw()).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    secret = int.from_bytes(digest, "little")
    k = int.from_bytes(hashlib.sha512(point + PUBLIC + MESSAGE).digest(), "little")
    s = k * secret % ORDER
    assert not verify_signature(PUBLIC, point + s.to_bytes(32, "little"), MESSAGE)


def test_a_key_in_non_canonical_form_is_rejected():
    for value in (FIELD, FIELD + 1, FIELD + 3, 2**255 - 1):
        assert not verify_signature(value.to_bytes(32, "little"), VALID, MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 65])
def test_a_key_of_the_wrong_length_is_rejected(size):
    assert not verify_signature((PUBLIC * 3)[:size], VALID, MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_the_wrong_length_is_invalid(size):
    assert not verify_signature(PUBLIC, (VALID * 3)[:size], MESSAGE)


def test_the_representation_of_a_signer_does_not_contain_its_key():
    shown = repr(SodiumSigner.of(KEY))
    assert KEY.private_bytes_raw().hex() not in shown
    assert repr(KEY.private_bytes_raw())[2:20] not in shown
