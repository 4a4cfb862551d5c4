"""Family `directive`: responses that are accepted."""

from tests.sdk_contract.vectors.generator.directives.responses import (
    GOOD,
    NOTHING,
    case,
    edited,
    full,
    nothing,
    offer,
    patch,
)
from tests.sdk_contract.vectors.generator.manifests import component, manifest, variant


def cases():
    yield from orders()
    yield from deferrals()
    yield from unsigned_fields()
    yield from chosen_components()
    yield from wrong_clocks_and_the_running_version()


def orders():
    part = component()
    yield case("install", "a newer version as whole files", offer(), GOOD)
    yield case("install-first", "on a device with no version", offer(), GOOD, current_counter=None)
    yield case(
        "install-patch",
        "a patch first, the whole file last",
        offer(options={"backbone": [patch(part), full(part)]}),
        {**GOOD, "options": {"backbone": ["glp1", "full"]}},
    )
    yield case("none", "nothing to install", nothing(), NOTHING)
    yield case(
        "pause", "change nothing", nothing(action="pause", reason="paused"), {**NOTHING, "action": "pause"}
    )
    back = offer(
        manifest(3), order={"action": "rollback", "reason": "rollback"}, plain={"action": "rollback"}
    )
    yield case("rollback", "an order to roll back", back, {**GOOD, "action": "rollback", "version": "v3"})
    yield case("model-not-asked", "the poll named no model", offer(), GOOD, model=None)


def deferrals():
    yield case("extension", "a directive with an extension", offer(order={"ext": {"retry": True}}), GOOD)
    deferred = {"activation": "deferred"}
    yield case(
        "deferred",
        "stage the version and wait",
        offer(order={"ext": deferred}),
        {**GOOD, "activation_deferred": True},
    )
    yield case(
        "deferred-no-more", "a directive without deferral", offer(order={"ext": {"activation": "now"}}), GOOD
    )


def unsigned_fields():
    deferred = {"activation": "deferred"}
    yield case(
        "deferred-by-plain-field",
        "unsigned fields do not defer activation",
        offer(plain={"ext": deferred, **deferred}),
        GOOD,
    )
    yield case(
        "plain-fields-lie",
        "unsigned fields are ignored",
        offer(
            plain={"need_update": False, "target_version": "v99", "action": "none", "reason": "no_rollout"}
        ),
        GOOD,
    )
    yield case("unknown-plain-field", "an unknown unsigned field", offer(plain={"color": "blue"}), GOOD)
    yield case("unknown-reason", "an unknown reason", offer(plain={"reason": "full_moon"}), GOOD)


def chosen_components():
    several = manifest(variants=[variant(component("backbone"), component("vision"))])
    yield case(
        "wanted-components",
        "only the wanted components",
        offer(several),
        {**GOOD, "components": ["vision"], "options": {"vision": ["full"]}},
        wanted_components=["vision"],
    )
    yield case(
        "all-components",
        "all components",
        offer(several),
        {**GOOD, "components": ["backbone", "vision"], "options": {"backbone": ["full"], "vision": ["full"]}},
    )
    yield case(
        "nothing-to-download",
        "a component that is on disk needs no option",
        edited(offer(), lambda a: a.update(downloads=[])),
        {**GOOD, "options": {"backbone": []}},
    )
    small = manifest(variants=[variant(name="int4"), variant(component("big"), name="int8")])
    yield case(
        "named-variant",
        "one variant of several",
        offer(small, order={"variant": "int8"}),
        {**GOOD, "components": ["big"], "options": {"big": []}},
    )


def wrong_clocks_and_the_running_version():
    yield case(
        "clock-slow",
        "a clock that is years behind does not count",
        offer(),
        GOOD,
        now="2001-01-01T00:00:00Z",
    )
    yield case(
        "clock-fast", "a clock that is years ahead does not count", offer(), GOOD, now="2040-01-01T00:00:00Z"
    )
    yield case("same-version", "the running version again", offer(manifest(4)), {**GOOD, "version": "v4"})
