"""The chain of trust bundles."""

from typing import Any

from sdk_contract.conformance.fake_server.content import random_content
from sdk_contract.conformance.scenario import Suite
from sdk_contract.conformance.session import Session

SUITE = Suite("trust")
NEW_ROOT = {"root": ("root2",)}


def _add_refusal(name: str, requirement: str, code: str, attack: str, **bundle: Any) -> None:
    """A successor that the device must refuse; `bundle` are the arguments of `FakeServer.trust_envelope`."""

    def run(session: Session) -> None:
        server = session.start_with_offer().server
        server.trust_chain.append(server.trust_envelope(**bundle))
        session.expect_refusal(code)
        session.expect_trust_version(1)
        server.trust_chain[1:] = [server.trust_envelope(2, ("root",))]
        session.expect_update_to("v2")
        session.expect_trust_version(2)

    SUITE.add(name, requirement, run, attack)


_add_refusal(
    "signed-by-old-root-only",
    "A bundle with a new root that only the old root signed is refused.",
    "unknown_key",
    "key_compromise",
    version=2,
    signers=("root",),
    roles=NEW_ROOT,
)
_add_refusal(
    "signed-by-new-root-only",
    "A bundle with a new root that only the new root signed is refused.",
    "unknown_key",
    "key_compromise",
    version=2,
    signers=("root2",),
    roles=NEW_ROOT,
)
_add_refusal(
    "signed-by-stranger",
    "A bundle that a stranger signed is refused.",
    "unknown_key",
    "arbitrary_software",
    version=2,
    signers=("stranger",),
    roles={"root": ("stranger",), "publisher": ("stranger",), "director": ("stranger",)},
)
_add_refusal(
    "signed-by-director",
    "A bundle that the director signed is refused.",
    "unknown_key",
    "key_compromise",
    version=2,
    signers=("director",),
)
_add_refusal(
    "version-skipped",
    "Version 3 after version 1 is refused.",
    "trust_chain_broken",
    "fast_forward",
    version=3,
    signers=("root",),
)
_add_refusal(
    "version-repeated",
    "Version 1 after version 1 is refused.",
    "trust_chain_broken",
    "rollback",
    version=1,
    signers=("root",),
)
_add_refusal(
    "version-far-ahead",
    "Version 2^53 - 1 after version 1 is refused.",
    "trust_chain_broken",
    "fast_forward",
    version=2**53 - 1,
    signers=("root",),
)
_add_refusal(
    "oversize",
    "A bundle of more than 32 KiB is refused.",
    "oversize",
    "endless_data",
    version=2,
    signers=("root",),
    ext={"x": "a" * 40_000},
)


@SUITE.scenario()
def next_bundle(session: Session) -> None:
    """A genuine successor is accepted and stored."""
    session.start_with_offer().server.trust_chain.append(session.server.trust_envelope(2, ("root",)))
    session.expect_update_to("v2")
    session.expect_trust_version(2)
    session.expect_unchanged("v2")
    session.require(session.server.polls[-1].trust_version == 2, "the poll does not name the new bundle")
    session.require(len(session.server.requests_to("/v1/trust")) == 1, "the trust chain was requested twice")


@SUITE.scenario()
def root_rotated(session: Session) -> None:
    """A root rotation that both roots signed is accepted; then the new root signs alone."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root", "root2"), NEW_ROOT))
    server.trust_chain.append(server.trust_envelope(3, ("root2",), NEW_ROOT))
    session.expect_update_to("v2")
    session.expect_trust_version(3)


def _offer_signed_by_rotated_keys(session: Session) -> None:
    server = session.start_with_offer().server
    roles = {"publisher": ("publisher2",), "director": ("director2",)}
    server.trust_chain.append(server.trust_envelope(2, ("root",), roles))
    server.tampering.manifest.signers, server.tampering.directive.signers = ("publisher2",), ("director2",)


@SUITE.scenario()
def publisher_and_director_rotated(session: Session) -> None:
    """An offer signed by rotated keys is accepted after the trust chain was verified."""
    _offer_signed_by_rotated_keys(session)
    session.expect_update_to("v2")


@SUITE.scenario()
def rotation_not_announced(session: Session) -> None:
    """If a key is unknown, the device requests the trust chain once, even if none was announced."""
    _offer_signed_by_rotated_keys(session)
    session.server.tampering.response = lambda response: {
        name: value for name, value in response.items() if name != "trust_version"
    }
    session.expect_update_to("v2")
    session.expect_trust_version(2)


@SUITE.scenario("endless_data")
def unknown_key_requests_the_chain_once(session: Session) -> None:
    """A directive by a stranger does not make the device request the trust chain again and again."""
    server = session.start_with_offer().server
    server.tampering.directive.signers = ("stranger",)
    session.expect_refusal("unknown_key")
    session.require(
        len(server.requests_to("/v1/trust")) <= 2, "the trust chain was requested more than twice"
    )


@SUITE.scenario("key_compromise")
def retired_director(session: Session) -> None:
    """A directive by a retired director key is refused."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root",), {"director": ("director2",)}))
    session.expect_refusal("unknown_key")
    session.expect_trust_version(2)
    server.tampering.directive.signers = ("director2",)
    session.expect_update_to("v2")


@SUITE.scenario("key_compromise")
def retired_publisher(session: Session) -> None:
    """A manifest by a retired publisher key is refused."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root",), {"publisher": ("publisher2",)}))
    session.expect_refusal("unknown_key")
    server.tampering.manifest.signers = ("publisher2",)
    session.expect_update_to("v2")


@SUITE.scenario("key_compromise")
def retired_root(session: Session) -> None:
    """A bundle by a retired root key is refused."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root", "root2"), NEW_ROOT))
    server.trust_chain.append(server.trust_envelope(3, ("root",), NEW_ROOT))
    session.expect_refusal("unknown_key")
    session.expect_trust_version(2)


@SUITE.scenario("key_compromise")
def broken_link_in_the_middle(session: Session) -> None:
    """The device keeps the bundles before a broken link and ignores those after it."""
    server = session.start_with_offer().server
    server.trust_chain += [
        server.trust_envelope(2, ("root",)),
        server.trust_envelope(3, ("stranger",)),
        server.trust_envelope(4, ("root",)),
    ]
    session.expect_refusal("unknown_key")
    session.expect_trust_version(2)


@SUITE.scenario("rollback")
def older_chain(session: Session) -> None:
    """A server with only older bundles changes nothing."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root",)))
    server.offered = None
    session.expect_unchanged("v1")
    session.expect_trust_version(2)
    del server.trust_chain[1]
    server.offered = "v2"
    session.expect_update_to("v2")
    session.expect_trust_version(2)


@SUITE.scenario("key_compromise")
def shipped_bundle_by_stranger(session: Session) -> None:
    """`init` refuses a shipped trust bundle that its own root did not sign."""
    session.server.publish("v1", 1, {"backbone": random_content("a")})
    session.shipped_trust_bundle = session.server.trust_envelope(1, ("stranger",))
    session.require(session.init().exit_code == 1, "init accepted the bundle")


@SUITE.scenario("arbitrary_software")
def shipped_manifest_by_stranger(session: Session) -> None:
    """`init` refuses a shipped manifest that the publishers did not sign."""
    session.server.publish("v1", 1, {"backbone": random_content("a")})
    session.server.tampering.manifest.signers = ("stranger",)
    session.require(session.init("v1").exit_code == 1, "init accepted the shipped manifest")


@SUITE.scenario("freeze")
def announced_but_not_served(session: Session) -> None:
    """An announced bundle that is never served does not stop an update with known keys."""
    server = session.start_with_offer().server
    server.trust_chain.append(server.trust_envelope(2, ("root",)))
    server.tampering.trust_chain = []
    session.expect_update_to("v2")
    session.expect_trust_version(1)
