"""Family `directive`: directives with invalid fields, and responses without a readable directive."""

from tests.sdk_contract.vectors.generator.directives.responses import REQUEST, case, directive, edited, offer
from tests.sdk_contract.vectors.generator.keys import DIRECTIVE, DIRECTOR, encode, sealed, sha
from tests.sdk_contract.vectors.generator.manifests import manifest


def cases():
    yield from wrong_fields()
    yield from wrong_bytes()


def genuine():
    return directive(sha(encode(manifest())))


def with_directive(value):
    return edited(offer(), lambda response: response.update(directive=sealed(value, DIRECTIVE, DIRECTOR)))


def wrong_fields():
    base = genuine()
    for name, value in {
        "unknown-field": {**base, "color": "blue"},
        "unknown-action": {**base, "action": "format_disk"},
        "no-action": {key: value for key, value in base.items() if key != "action"},
        "no-expiry": {key: value for key, value in base.items() if key != "expires"},
        "no-nonce-type": {**base, "nonce": 7},
        "device-list": {**base, "device_id": ["dev-1"]},
        "next-poll-negative": {**base, "next_poll_s": -1},
        "next-poll-years": {**base, "next_poll_s": 10**9},
        "next-poll-string": {**base, "next_poll_s": "3600"},
        "issued-9999": {**base, "issued": "9999-12-31T23:59:59Z", "expires": "9999-12-31T23:59:59Z"},
        "issued-30-february": {**base, "issued": "2026-02-30T00:00:00Z"},
        "digest-upper-case": {**base, "request_sha256": sha(REQUEST).upper()},
        "attempt-long": {**base, "attempt_id": "a" * 65},
    }.items():
        comment = f"correctly signed, malformed: {name.replace('-', ' ')}"
        yield case(
            f"malformed-{name}", comment, with_directive(value), "malformed", attack="parser_differences"
        )


def wrong_bytes():
    base, attack = genuine(), "parser_differences"
    twice = with_directive(encode(base)[:-1] + b',"action":"none"}')
    yield case("malformed-two-actions", "correctly signed, two actions", twice, "malformed", attack=attack)
    huge = with_directive({**base, "ext": {"x": "a" * 16384}})
    yield case("oversize", "more than 16 KiB", huge, "oversize", attack="endless_data")
    empty = edited(offer(), lambda response: response.update(directive={}))
    yield case("no-envelope", "a response without a directive", empty, "malformed", attack="freeze")
    half = edited(offer(), lambda response: response["directive"].update(note=float("nan")))
    yield case("nan-beside", "NaN in the envelope", half, "malformed", attack=attack)
