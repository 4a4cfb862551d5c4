"""Family `trust`: correctly signed bundles with invalid fields."""

from tests.sdk_contract.vectors.generator.keys import ROOT, b64, encode
from tests.sdk_contract.vectors.generator.trust import bundle, case, signed


def cases():
    yield from wrong_roles()
    yield from wrong_versions()
    yield from wrong_expiry_times()
    yield from wrong_keys()
    yield from wrong_bytes()


def malformed(name, value, problem=None):
    comment = f"correctly signed, {problem or 'malformed: ' + name.replace('-', ' ')}"
    envelope = signed(value, ROOT)
    return case(f"malformed-{name}", comment, envelope, [], "malformed", attack="parser_differences")


def with_roles(**roles):
    return {**bundle(), "roles": {**bundle()["roles"], **roles}}


def wrong_roles():
    without_root = {name: role for name, role in bundle()["roles"].items() if name != "root"}
    yield malformed("no-root", {**bundle(), "roles": without_root})
    yield malformed("missing-key", {**bundle(), "keys": {}})
    yield malformed("unknown-role", with_roles(janitor={"keys": [ROOT.id], "threshold": 1}))
    yield malformed("unknown-field", bundle(color="blue"))
    yield malformed("threshold-zero", bundle(thresholds={"root": 0}))
    yield malformed("threshold-negative", bundle(thresholds={"root": -1}))
    yield malformed("no-keys-in-role", with_roles(root={"keys": [], "threshold": 1}))


def wrong_versions():
    yield malformed("version-string", bundle("1"))
    yield malformed("version-true", bundle(True))
    yield malformed("version-negative", bundle(-1))


def wrong_expiry_times():
    missing = {key: value for key, value in bundle().items() if key != "expires"}
    yield malformed("expires-missing", missing)
    for name, expires in (
        ("date-only", "2027-06-01"),
        ("30-february", "2027-02-30T00:00:00Z"),
        ("offset", "2027-06-01T00:00:00+00:00"),
        ("lower-case", "2027-06-01t00:00:00z"),
        ("wide-digits", "２０２７-06-01T00:00:00Z"),
        ("null", None),
    ):
        yield malformed(f"expires-{name}", bundle(expires=expires))


def wrong_keys():
    short = bundle()
    short["keys"][ROOT.id] = {"public": b64(ROOT.public_key[:31])}
    yield malformed("key-31-bytes", short)
    other = bundle()
    other["keys"][ROOT.id] = {"alg": "rsa", "public": b64(ROOT.public_key)}
    yield malformed("key-other-algorithm", other)
    named = bundle()
    named["keys"]["ROOT"] = named["keys"][ROOT.id]
    yield malformed("key-id-not-hex", named)


def wrong_bytes():
    twice = encode(bundle())[:-1] + b',"version":9}'
    yield malformed("two-versions", twice, "two versions")
    decimal = encode(bundle()).replace(b'"version":1', b'"version":1.0')
    yield malformed("version-float", decimal, "a float")
    yield case(
        "oversize",
        "more than 32 KiB",
        signed(bundle(ext={"x": "a" * 32768}), ROOT),
        [],
        "oversize",
        attack="endless_data",
    )
