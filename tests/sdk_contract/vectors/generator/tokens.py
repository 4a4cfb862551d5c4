"""Family `token`: the assertion that a device exchanges for an access token, as a server judges it."""

import base64
import hashlib
import hmac
import json
from datetime import datetime

from tests.sdk_contract.vectors.generator.case import case
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


def one(name, comment, assertion, code=None, attack="replay", now=NOW):  # noqa: PLR0917 - the columns of a table
    inputs = {"assertion": b64(assertion.encode()), "public_key": b64(DEVICE.public_key)}
    verdict = code or {"jti": CLAIMS["jti"]}
    return case(f"token.{name}", comment, inputs, verdict, attack=attack if code else None, now=now)


def cases():
    yield from assertions()
    yield from bound()
    yield from macs()


def assertions():
    good = jwt()
    yield one("good", "EdDSA, four minutes", good)
    yield one("five-minutes", "as long as allowed", jwt(claims={"exp": SECONDS + 300}))
    yield one("clock-fast-59", "a clock 59 s ahead", jwt(claims={"iat": SECONDS + 59, "exp": SECONDS + 299}))
    yield one("clock-slow-59", "expired 59 s ago", jwt(claims={"iat": SECONDS - 299, "exp": SECONDS - 59}))
    yield one("extra-claim", "a claim that we do not know", jwt(claims={"colour": "blue"}))
    yield one("alg-rfc-9864", "the newer name of EdDSA with this curve", jwt(header={"alg": "Ed25519"}))
    yield one(
        "alg-ed448",
        "the name of another curve",
        jwt(header={"alg": "Ed448"}),
        "unauthorized",
        attack="key_compromise",
    )
    yield one("no-kid", "the key id is a hint", jwt(header={"kid": None}))
    yield one("kid-is-a-path", "and never opened", jwt(header={"kid": "../../etc/passwd"}))
    for claim in ("iss", "sub", "aud", "iat", "exp", "jti"):
        yield one(f"no-{claim}", f"without {claim}", jwt(claims={claim: None}), "unauthorized")
    yield one("lives-301-s", "one second too long", jwt(claims={"exp": SECONDS + 301}), "unauthorized")
    yield one("lives-30-years", "for ever", jwt(claims={"exp": SECONDS + 10**9}), "unauthorized")
    yield one(
        "expired",
        "expired 61 s ago",
        jwt(claims={"iat": SECONDS - 300, "exp": SECONDS - 61}),
        "token_expired",
    )
    yield one(
        "from-the-future",
        "issued in 61 s",
        jwt(claims={"iat": SECONDS + 61, "exp": SECONDS + 300}),
        "token_expired",
    )
    yield one("exp-before-iat", "ends before it begins", jwt(claims={"exp": SECONDS - 1}), "unauthorized")
    yield one("exp-string", "a time in quotes", jwt(claims={"exp": str(SECONDS + 240)}), "unauthorized")
    yield one("exp-float", "a fraction of a second", jwt(claims={"exp": SECONDS + 240.5}), "unauthorized")
    yield one("iat-true", "a truth for a time", jwt(claims={"iat": True, "exp": 241}), "unauthorized")
    yield one("aud-other", "for another service", jwt(claims={"aud": "other"}), "unauthorized")
    yield one("aud-list", "for several", jwt(claims={"aud": ["graylag", "other"]}), "unauthorized")
    yield one("iss-not-sub", "one device speaks for another", jwt(claims={"iss": "dev-2"}), "unauthorized")
    yield one("jti-short", "too short to be once", jwt(claims={"jti": "1"}), "unauthorized")
    yield one("jti-number", "not a string", jwt(claims={"jti": 12345678901234567890}), "unauthorized")
    yield one("typ-other", "a token of another kind", jwt(header={"typ": "dpop+jwt"}), "unauthorized")
    yield one(
        "typ-access",
        "an access token is no assertion",
        jwt(header={"typ": "graylag-access+jwt"}),
        "unauthorized",
    )
    yield one("no-typ", "no kind at all", jwt(header={"typ": None}), "unauthorized")
    yield one(
        "alg-none",
        "unsigned",
        jwt(header={"alg": "none"}, sign=lambda _: b""),
        "unauthorized",
        "arbitrary_software",
    )
    confused = jwt(
        header={"alg": "HS256"}, sign=lambda text: hmac.new(DEVICE.public_key, text, hashlib.sha256).digest()
    )
    yield one("alg-confused", "HMAC with the public key", confused, "unauthorized", "arbitrary_software")
    yield one("stranger", "by another key", jwt(key=STRANGER), "unauthorized", "arbitrary_software")
    yield one(
        "critical-extension",
        "an extension that must be understood",
        jwt(header={"crit": ["colour"], "colour": "blue"}),
        "unauthorized",
        "parser_differences",
    )
    head, claims, signature = good.split(".")
    swapped = part(json.dumps({**CLAIMS, "sub": "dev-2", "iss": "dev-2"}).encode())
    yield one(
        "claims-changed",
        "another device's name",
        f"{head}.{swapped}.{signature}",
        "unauthorized",
        "arbitrary_software",
    )
    raw = base64.urlsafe_b64decode(signature + "==")
    yield one(
        "signature-changed",
        "one bit",
        f"{head}.{claims}.{part(flip(raw))}",
        "unauthorized",
        "arbitrary_software",
    )
    yield one("signature-empty", "none", f"{head}.{claims}.", "unauthorized", "arbitrary_software")
    yield one("two-parts", "no signature part", f"{head}.{claims}", "unauthorized", "parser_differences")
    yield one("not-a-jwt", "nothing of the kind", "hello", "unauthorized", "parser_differences")
    yield one("too-long", "more than 4 KiB", jwt(claims={"x": "a" * 4096}), "unauthorized", "endless_data")


BODY = b'{"device_id":"dev-1","current_version":"v1.2"}'
REQUEST = {"method": "POST", "path": "/v1/model/update", "body": b64(BODY)}
BINDING = {
    "htm": "POST",
    "htu": "https://models.example/v1/model/update",
    "bh": hashlib.sha256(BODY).hexdigest(),
}


def bound():
    """Assertions that are the credential of one request."""

    def each(name, comment, claims, code=None):
        found = one(f"bound-{name}", comment, jwt(claims={**BINDING, **claims}), code)
        found["inputs"]["request"] = REQUEST
        return found

    yield each("good", "made for this method, path and body", {})
    yield each(
        "other-host",
        "proxies change the host: the path counts",
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
        "body-digest-upper-case", "digests are lower case", {"bh": BINDING["bh"].upper()}, "unauthorized"
    )


def macs():
    """The signature header of the smallest clients, byte for byte."""
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
        yield case(f"token.mac-{name}", "HMAC-SHA256 over seven lines", inputs, {"mac": mac}, now=NOW)
