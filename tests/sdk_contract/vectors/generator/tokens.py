"""Family `token`: assertions of devices, as a server verifies them."""

import base64
import hashlib
import hmac
import json
from datetime import datetime

from tests.sdk_contract.vectors.generator.case import make_case
from tests.sdk_contract.vectors.generator.keys import DEVICE, STRANGER, b64, flip

NOW = "2026-12-01T12:00:00Z"
SECONDS = int(datetime.fromisoformat(NOW).timestamp())
HEADER = {"alg": "EdDSA", "typ": "graylag-device+jwt", "kid": DEVICE.id}
CLAIMS = {
    "iss": "dev-1",
    "sub": "dev-1",
    "aud": "graylag",
    "iat": SECONDS,
    "exp": SECONDS + 240,
    "jti": "0123456789abcdef01234",
}


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(header=None, claims=None, key=DEVICE, sign=None):
    kept = {name: value for name, value in {**CLAIMS, **(claims or {})}.items() if value is not None}
    head = {name: value for name, value in {**HEADER, **(header or {})}.items() if value is not None}
    text = f"{part(json.dumps(head).encode())}.{part(json.dumps(kept).encode())}"
    return f"{text}.{part((sign or key.sign)(text.encode()))}"


def case(name, comment, assertion, code=None, attack="replay", now=NOW):  # noqa: PLR0917 - the columns of a table
    inputs = {"assertion": b64(assertion.encode()), "public_key": b64(DEVICE.public_key)}
    result = code or {"jti": CLAIMS["jti"]}
    return make_case(f"token.{name}", comment, inputs, result, attack=attack if code else None, now=now)


def cases():
    yield from lifetimes_and_clocks()
    yield from algorithms_and_key_ids()
    yield from missing_claims()
    yield from wrong_lifetimes()
    yield from wrong_claims()
    yield from wrong_types()
    yield from wrong_algorithms_and_keys()
    yield from changed_assertions()
    yield from unparsable_assertions()
    yield from bound()
    yield from macs()


def lifetimes_and_clocks():
    yield case("good", "EdDSA, four minutes", jwt())
    yield case("five-minutes", "the longest allowed lifetime", jwt(claims={"exp": SECONDS + 300}))
    yield case("clock-fast-59", "a clock 59 s ahead", jwt(claims={"iat": SECONDS + 59, "exp": SECONDS + 299}))
    yield case("clock-slow-59", "expired 59 s ago", jwt(claims={"iat": SECONDS - 299, "exp": SECONDS - 59}))
    yield case("extra-claim", "an unknown claim", jwt(claims={"color": "blue"}))


def algorithms_and_key_ids():
    yield case("alg-rfc-9864", "the newer name of EdDSA with Ed25519", jwt(header={"alg": "Ed25519"}))
    yield case(
        "alg-ed448",
        "the algorithm of another curve",
        jwt(header={"alg": "Ed448"}),
        "unauthorized",
        attack="key_compromise",
    )
    yield case("no-kid", "without a key id", jwt(header={"kid": None}))
    yield case("kid-is-a-path", "a key id that looks like a path", jwt(header={"kid": "../../etc/passwd"}))


def missing_claims():
    for claim in ("iss", "sub", "aud", "iat", "exp", "jti"):
        yield case(f"no-{claim}", f"without {claim}", jwt(claims={claim: None}), "unauthorized")


def wrong_lifetimes():
    yield case(
        "lives-301-s", "a lifetime one second too long", jwt(claims={"exp": SECONDS + 301}), "unauthorized"
    )
    yield case(
        "lives-30-years", "a lifetime of 30 years", jwt(claims={"exp": SECONDS + 10**9}), "unauthorized"
    )
    yield case(
        "expired",
        "expired 61 s ago",
        jwt(claims={"iat": SECONDS - 300, "exp": SECONDS - 61}),
        "token_expired",
    )
    yield case(
        "from-the-future",
        "issued in 61 s",
        jwt(claims={"iat": SECONDS + 61, "exp": SECONDS + 300}),
        "token_expired",
    )
    yield case(
        "exp-before-iat", "expires before it was issued", jwt(claims={"exp": SECONDS - 1}), "unauthorized"
    )


def wrong_claims():
    yield case("exp-string", "exp as a string", jwt(claims={"exp": str(SECONDS + 240)}), "unauthorized")
    yield case("exp-float", "exp as a float", jwt(claims={"exp": SECONDS + 240.5}), "unauthorized")
    yield case("iat-true", "iat as a boolean", jwt(claims={"iat": True, "exp": 241}), "unauthorized")
    yield case("aud-other", "for another audience", jwt(claims={"aud": "other"}), "unauthorized")
    yield case("aud-list", "for several audiences", jwt(claims={"aud": ["graylag", "other"]}), "unauthorized")
    yield case("iss-not-sub", "issuer and subject differ", jwt(claims={"iss": "dev-2"}), "unauthorized")
    yield case("jti-short", "a jti that is too short", jwt(claims={"jti": "1"}), "unauthorized")
    yield case(
        "jti-number", "a jti that is not a string", jwt(claims={"jti": 12345678901234567890}), "unauthorized"
    )


def wrong_types():
    yield case("typ-other", "a token of another type", jwt(header={"typ": "dpop+jwt"}), "unauthorized")
    yield case(
        "typ-access",
        "an access token",
        jwt(header={"typ": "graylag-access+jwt"}),
        "unauthorized",
    )
    yield case("no-typ", "without typ", jwt(header={"typ": None}), "unauthorized")


def wrong_algorithms_and_keys():
    yield case(
        "alg-none",
        "unsigned",
        jwt(header={"alg": "none"}, sign=lambda _: b""),
        "unauthorized",
        "arbitrary_software",
    )
    confused = jwt(
        header={"alg": "HS256"}, sign=lambda text: hmac.new(DEVICE.public_key, text, hashlib.sha256).digest()
    )
    yield case("alg-confused", "HMAC with the public key", confused, "unauthorized", "arbitrary_software")
    yield case("stranger", "signed by another key", jwt(key=STRANGER), "unauthorized", "arbitrary_software")
    yield case(
        "critical-extension",
        "an unknown critical extension",
        jwt(header={"crit": ["color"], "color": "blue"}),
        "unauthorized",
        "parser_differences",
    )


def changed_assertions():
    head, claims, signature = jwt().split(".")
    swapped = part(json.dumps({**CLAIMS, "sub": "dev-2", "iss": "dev-2"}).encode())
    yield case(
        "claims-changed",
        "the claims were changed after signing",
        f"{head}.{swapped}.{signature}",
        "unauthorized",
        "arbitrary_software",
    )
    raw = base64.urlsafe_b64decode(signature + "==")
    yield case(
        "signature-changed",
        "one bit of the signature changed",
        f"{head}.{claims}.{part(flip(raw))}",
        "unauthorized",
        "arbitrary_software",
    )
    yield case(
        "signature-empty", "an empty signature", f"{head}.{claims}.", "unauthorized", "arbitrary_software"
    )


def unparsable_assertions():
    head, claims, _ = jwt().split(".")
    yield case(
        "two-parts", "without a signature part", f"{head}.{claims}", "unauthorized", "parser_differences"
    )
    yield case("not-a-jwt", "not a JWT", "hello", "unauthorized", "parser_differences")
    yield case("too-long", "more than 4 KiB", jwt(claims={"x": "a" * 4096}), "unauthorized", "endless_data")


BODY = b'{"device_id":"dev-1","current_version":"v1.2"}'
REQUEST = {"method": "POST", "path": "/v1/model/update", "body": b64(BODY)}
BINDING = {
    "htm": "POST",
    "htu": "https://models.example/v1/model/update",
    "bh": hashlib.sha256(BODY).hexdigest(),
}


def bound():
    """Assertions that are bound to one request."""

    def each(name, comment, claims, code=None):
        found = case(f"bound-{name}", comment, jwt(claims={**BINDING, **claims}), code)
        found["inputs"]["request"] = REQUEST
        return found

    yield each("good", "bound to this method, path and body", {})
    yield each(
        "other-host",
        "another host is allowed because proxies change it",
        {"htu": "http://10.0.0.7:8000/v1/model/update"},
    )
    yield each(
        "other-path", "for another path", {"htu": "https://models.example/v1/model/events"}, "unauthorized"
    )
    yield each("other-method", "for another method", {"htm": "GET"}, "unauthorized")
    yield each("other-body", "for another body", {"bh": hashlib.sha256(b"{}").hexdigest()}, "unauthorized")
    yield each("no-method", "without htm", {"htm": None}, "unauthorized")
    yield each("no-url", "without htu", {"htu": None}, "unauthorized")
    yield each("no-body", "without bh", {"bh": None}, "unauthorized")
    yield each(
        "body-digest-upper-case", "a body digest in uppercase", {"bh": BINDING["bh"].upper()}, "unauthorized"
    )


def macs():
    """The HMAC of the smallest clients."""
    secret = hashlib.sha256(b"graylag test secret, known to everybody").digest()
    requests = [
        ("poll", "POST", "/v1/model/update", BODY),
        ("events", "POST", "/v1/model/events", b"[]"),
        ("no-body", "GET", "/v1/model/info", b""),
        ("utf-8", "POST", "/v1/model/update", '{"device_id":"dev-1","x":"\u96c1"}'.encode()),
    ]
    for name, method, path, body in requests:
        nonce = f"n0nce-of-request-{name}".ljust(24, "0")
        lines = (
            "graylag-hmac-v1",
            "dev-1",
            method,
            path,
            str(SECONDS),
            nonce,
            hashlib.sha256(body).hexdigest(),
        )
        mac = hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
        inputs = {
            "secret": b64(secret),
            "device_id": "dev-1",
            "timestamp": str(SECONDS),
            "nonce": nonce,
            "request": {"method": method, "path": path, "body": b64(body)},
        }
        yield make_case(f"token.mac-{name}", "HMAC-SHA256 over seven lines", inputs, {"mac": mac}, now=NOW)
