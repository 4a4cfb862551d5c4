"""Family `directive`: one whole poll response against the request that it responses."""

from tests.sdk_contract.vectors.generator.directives.mixed import backwards, malformed, mixed, options
from tests.sdk_contract.vectors.generator.directives.responses import (
    GOOD,
    NONCE,
    NOTHING,
    REQUEST,
    directive,
    edited,
    full,
    nothing,
    offer,
    one,
    patch,
)
from tests.sdk_contract.vectors.generator.keys import (
    DIRECTOR,
    PATCHER,
    PUBLISHER,
    ROOT,
    STRANGER,
    TRUST,
    b64,
    encode,
    sealed,
    sha,
)
from tests.sdk_contract.vectors.generator.manifests import component, manifest, variant
from tests.sdk_contract.vectors.generator.trust import bundle


def cases():
    yield from accepted()
    yield from not_for_us()
    yield from not_now()
    yield from forged()
    yield from mixed()
    yield from backwards()
    yield from options()
    yield from malformed()


def accepted():
    part = component()
    yield one("install", "a newer version, whole", offer(), GOOD)
    yield one("install-first", "on a device with no version", offer(), GOOD, current_counter=None)
    yield one(
        "install-patch",
        "patch first, full last",
        offer(options={"backbone": [patch(part), full(part)]}),
        {**GOOD, "options": {"backbone": ["glp1", "full"]}},
    )
    yield one("none", "nothing new", nothing(), NOTHING)
    yield one("pause", "wait", nothing(action="pause", reason="paused"), {**NOTHING, "action": "pause"})
    back = offer(
        manifest(3), order={"action": "rollback", "reason": "rollback"}, plain={"action": "rollback"}
    )
    yield one("rollback", "an order to go back", back, {**GOOD, "action": "rollback", "version": "v3"})
    yield one("model-not-asked", "the device did not say which model", offer(), GOOD, model=None)
    yield one("extension", "a directive with an extension", offer(order={"ext": {"retry": True}}), GOOD)
    deferred = {"activation": "deferred"}
    yield one(
        "deferred",
        "stage it, and wait for activation",
        offer(order={"ext": deferred}),
        {**GOOD, "activation_deferred": True},
    )
    yield one("deferred-no-more", "activate now", offer(order={"ext": {"activation": "now"}}), GOOD)
    yield one(
        "deferred-by-plain-field",
        "the plain field says nothing",
        offer(plain={"ext": deferred, **deferred}),
        GOOD,
    )
    yield one(
        "plain-fields-lie",
        "the plain fields are not believed",
        offer(
            plain={"need_update": False, "target_version": "v99", "action": "none", "reason": "no_rollout"}
        ),
        GOOD,
    )
    yield one("unknown-plain-field", "nor is one that we do not know", offer(plain={"colour": "blue"}), GOOD)
    yield one(
        "unknown-reason", "a reason that was invented later", offer(plain={"reason": "full_moon"}), GOOD
    )
    several = manifest(variants=[variant(component("backbone"), component("vision"))])
    yield one(
        "wanted-components",
        "only the components that the device wants",
        offer(several),
        {**GOOD, "components": ["vision"], "options": {"vision": ["full"]}},
        wanted_components=["vision"],
    )
    yield one(
        "all-components",
        "all of them",
        offer(several),
        {**GOOD, "components": ["backbone", "vision"], "options": {"backbone": ["full"], "vision": ["full"]}},
    )
    yield one(
        "nothing-to-download",
        "what is on disk already needs no option",
        edited(offer(), lambda a: a.update(downloads=[])),
        {**GOOD, "options": {"backbone": []}},
    )
    small = manifest(variants=[variant(name="int4"), variant(component("big"), name="int8")])
    yield one(
        "named-variant",
        "the variant that the directive names",
        offer(small, order={"variant": "int8"}),
        {**GOOD, "components": ["big"], "options": {"big": []}},
    )
    yield one(
        "clock-slow",
        "a clock years behind is not asked about expiry",
        offer(),
        GOOD,
        now="2001-01-01T00:00:00Z",
    )
    yield one("clock-fast", "a clock years ahead neither", offer(), GOOD, now="2040-01-01T00:00:00Z")
    yield one("same-version", "the version that runs", offer(manifest(4)), {**GOOD, "version": "v4"})


def not_for_us():
    yield one(
        "other-device",
        "a genuine directive for another device",
        offer(order={"device_id": "dev-2"}),
        "wrong_device",
        attack="replay",
    )
    yield one(
        "other-device-none",
        "a genuine no for another device",
        nothing(device_id="dev-2"),
        "wrong_device",
        attack="replay",
    )
    yield one(
        "other-device-case",
        "ids are compared as bytes",
        nothing(device_id="DEV-1"),
        "wrong_device",
        attack="replay",
    )
    yield one(
        "other-nonce",
        "an response to an earlier poll",
        offer(order={"nonce": "n0nce-of-yesterday-000000"}),
        "wrong_nonce",
        attack="freeze",
    )
    yield one(
        "other-nonce-none",
        "an earlier no",
        nothing(nonce="n0nce-of-yesterday-000000"),
        "wrong_nonce",
        attack="freeze",
    )
    yield one(
        "no-nonce", "an response to a poll without one", nothing(nonce=""), "wrong_nonce", attack="freeze"
    )
    yield one(
        "nonce-prefix", "a part of the nonce", nothing(nonce=NONCE[:22]), "wrong_nonce", attack="freeze"
    )
    yield one(
        "other-request",
        "made for other request bytes",
        offer(order={"request_sha256": sha(b"other")}),
        "wrong_request",
        attack="replay",
    )
    blank = REQUEST.replace(b": ", b":")
    yield one(
        "request-respelled",
        "the same fields in other bytes",
        offer(),
        "wrong_request",
        attack="replay",
        request=blank,
    )
    yield one(
        "other-model",
        "of another model",
        offer(order={"model": "other"}),
        "wrong_model",
        attack="mix_and_match",
    )
    yield one(
        "other-model-none",
        "a no about another model",
        nothing(model="other"),
        "wrong_model",
        attack="mix_and_match",
    )


def not_now():
    yield one(
        "directive-expired",
        "the response took longer than it lives",
        offer(),
        "expired",
        attack="freeze",
        elapsed_s=3600.0,
    )
    yield one(
        "directive-expired-none", "so did a no", nothing(), "expired", attack="freeze", elapsed_s=4000.0
    )
    yield one("directive-slow-but-good", "slow, and still good", offer(), GOOD, elapsed_s=3599.0)
    yield one(
        "directive-dead-on-arrival",
        "expires when it was issued",
        nothing(expires="2026-12-01T12:00:00Z"),
        "expired",
        attack="freeze",
    )
    old = manifest(expires="2026-12-01T11:59:59Z")
    yield one("manifest-expired", "the manifest's time is over", offer(old), "expired", attack="freeze")
    yield one(
        "manifest-expired-clock-slow",
        "even where the clock says otherwise",
        offer(old),
        "expired",
        attack="freeze",
        now="2001-01-01T00:00:00Z",
    )
    stale = sealed(bundle(expires="2026-12-01T00:00:00Z"), TRUST, ROOT)
    yield one("trust-expired", "so is the trust bundle's", offer(), "expired", attack="freeze", trust=stale)
    yield one("trust-expired-none", "a no needs no fresh trust", nothing(), NOTHING, trust=stale)
    past = offer(
        manifest(expires="2026-06-01T00:00:00Z"),
        order={"issued": "2026-01-01T00:00:00Z", "expires": "2026-01-01T01:00:00Z"},
    )
    yield one(
        "back-dated",
        "a stolen director key lives in the past; the newest signature ever seen does not",
        past,
        "expired",
        attack="freeze",
        newest_issued="2026-11-30T00:00:00Z",
        now="2001-01-01T00:00:00Z",
    )


def forged():
    for name, key, attack in (
        ("stranger", STRANGER, "arbitrary_software"),
        ("publisher", PUBLISHER, "key_compromise"),
        ("patcher", PATCHER, "key_compromise"),
        ("root", ROOT, "key_compromise"),
    ):
        yield one(
            f"directive-by-{name}", f"signed by the {name}", offer(director=key), "unknown_key", attack=attack
        )
    yield one(
        "none-by-stranger", "a no by a stranger", nothing(director=STRANGER), "unknown_key", attack="freeze"
    )
    for name, key, attack in (
        ("stranger", STRANGER, "arbitrary_software"),
        ("director", DIRECTOR, "key_compromise"),
        ("patcher", PATCHER, "key_compromise"),
    ):
        yield one(
            f"manifest-by-{name}",
            f"a manifest by the {name}",
            offer(publisher=key),
            "unknown_key",
            attack=attack,
        )

    def change(response):
        envelope = response["directive"]
        envelope["payload"] = b64(encode(directive(sha(encode(manifest())), next_poll_s=1)))

    yield one(
        "directive-changed",
        "one field changed",
        edited(offer(), change),
        "signature_invalid",
        attack="arbitrary_software",
    )

    def strip(response):
        response["directive"]["signatures"] = []

    yield one(
        "directive-unsigned",
        "no signature",
        edited(offer(), strip),
        "unknown_key",
        attack="arbitrary_software",
    )
    manifest_for_directive = edited(offer(), lambda a: a.update(directive=a["manifest"]["envelope"]))
    yield one(
        "manifest-as-directive",
        "another kind of document",
        manifest_for_directive,
        "wrong_payload_type",
        attack="mix_and_match",
    )
