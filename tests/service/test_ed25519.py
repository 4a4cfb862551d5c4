import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from service.ed25519 import QuickSigner, fits

ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD = 2**255 - 19
KEYS = [Ed25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([n])).digest()) for n in range(40)]
KEY = KEYS[0]
PUBLIC = KEY.public_key().public_bytes_raw()
MESSAGE = b"may I have something new?"
GOOD = KEY.sign(MESSAGE)

# The eight points of small order in their canonical form, and two that are not canonical (RFC 8032, 5.1.3).
SMALL = [
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
def test_both_libraries_make_the_same_signature_and_each_takes_that_of_the_other(key):
    public, quick = key.public_key().public_bytes_raw(), QuickSigner.of(key)
    for size in (0, 1, 63, 64, 300, 5000):
        message = bytes(range(256)) * 20
        message = message[:size]
        assert quick.sign(message) == key.sign(message)
        assert fits(public, key.sign(message), message)
    assert quick.public_key == public


def test_the_first_vector_of_rfc_8032_comes_out():
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    signature = QuickSigner.of(key).sign(b"")
    assert signature.hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    assert fits(key.public_key().public_bytes_raw(), signature, b"")


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_a_signature_with_a_bit_turned_does_not_fit(bit):
    turned = bytearray(GOOD)
    turned[bit // 8] ^= 1 << bit % 8
    assert not fits(PUBLIC, bytes(turned), MESSAGE)


def test_another_message_or_another_key_does_not_fit():
    assert not fits(PUBLIC, GOOD, MESSAGE + b"!")
    assert not fits(PUBLIC, GOOD, b"")
    assert not fits(KEYS[1].public_key().public_bytes_raw(), GOOD, MESSAGE)


@pytest.mark.parametrize("times", [1, 2, 8, 15])
def test_a_signature_has_one_form(times):
    s = int.from_bytes(GOOD[32:], "little") + times * ORDER
    assert s < 2**256
    assert not fits(PUBLIC, GOOD[:32] + s.to_bytes(32, "little"), MESSAGE)


@pytest.mark.parametrize("point", SMALL, ids=lambda point: point.hex()[:8])
def test_a_key_of_small_order_vouches_for_nothing(point):
    """OpenSSL takes such signatures: with S = 0 and R = A or the neutral element, some message always fits."""
    for r in SMALL:
        for number in range(16):
            assert not fits(point, r + bytes(32), b"%d" % number)
    taken = 0
    for number in range(64):
        try:
            Ed25519PublicKey.from_public_bytes(SMALL[0]).verify(SMALL[0] + bytes(32), b"%d" % number)
        except InvalidSignature:
            continue
        taken += 1
    assert taken


@pytest.mark.parametrize("point", SMALL, ids=lambda point: point.hex()[:8])
def test_a_commitment_of_small_order_does_not_fit(point):
    """R of small order: S = k * a would fit for whoever has the key, and no honest signer ever draws it."""
    digest = bytearray(hashlib.sha512(KEY.private_bytes_raw()).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    secret = int.from_bytes(digest, "little")
    k = int.from_bytes(hashlib.sha512(point + PUBLIC + MESSAGE).digest(), "little")
    s = k * secret % ORDER
    assert not fits(PUBLIC, point + s.to_bytes(32, "little"), MESSAGE)


def test_a_key_that_is_not_in_its_canonical_form_is_none():
    for value in (FIELD, FIELD + 1, FIELD + 3, 2**255 - 1):
        assert not fits(value.to_bytes(32, "little"), GOOD, MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 65])
def test_what_has_not_the_length_of_a_key_is_none(size):
    assert not fits((PUBLIC * 3)[:size], GOOD, MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_what_has_not_the_length_of_a_signature_is_none(size):
    assert not fits(PUBLIC, (GOOD * 3)[:size], MESSAGE)


def test_a_signer_does_not_print_its_secret():
    shown = repr(QuickSigner.of(KEY))
    assert KEY.private_bytes_raw().hex() not in shown
    assert repr(KEY.private_bytes_raw())[2:20] not in shown
