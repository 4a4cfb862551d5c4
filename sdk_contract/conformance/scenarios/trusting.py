"""The chain of trust bundles."""

from sdk_contract.conformance.scenario import Book
from sdk_contract.conformance.stage import Stage, content

BOOK = Book("trust")
NEW_ROOT = {"root": ("root2",)}


def _refused(words: str, text: str, attack: str, link: bytes | None = None, **how: object) -> None:
    def play(stage: Stage) -> None:
        world = stage.ready().world
        made = link or world.trust(**how)  # type: ignore[arg-type]  # the table below names its parameters
        world.chain.append(made)
        stage.refuses(str(how.pop("code", "")) or CODES[words])
        stage.trusts(1)
        world.chain[1:] = [world.trust(2, ("root",))]
        stage.updates_to("v2")
        stage.trusts(2)

    BOOK.add(words, text, play, attack)


CODES = {
    "only-the-old-root": "unknown_key",
    "only-the-new-root": "unknown_key",
    "a-strangers-bundle": "unknown_key",
    "signed-by-the-director": "unknown_key",
    "version-skipped": "trust_chain",
    "version-repeated": "trust_chain",
    "far-future-version": "trust_chain",
    "oversize": "oversize",
}
_refused(
    "only-the-old-root",
    "A new root has to sign, too.",
    "key_compromise",
    version=2,
    signers=("root",),
    roles=NEW_ROOT,
)
_refused(
    "only-the-new-root",
    "The old root has to sign, too.",
    "key_compromise",
    version=2,
    signers=("root2",),
    roles=NEW_ROOT,
)
_refused(
    "a-strangers-bundle",
    "A stranger's bundle is refused.",
    "arbitrary_software",
    version=2,
    signers=("stranger",),
    roles={"root": ("stranger",), "publisher": ("stranger",), "director": ("stranger",)},
)
_refused(
    "signed-by-the-director",
    "The director is no root.",
    "key_compromise",
    version=2,
    signers=("director",),
)
_refused("version-skipped", "Version 3 does not follow 1.", "fast_forward", version=3, signers=("root",))
_refused("version-repeated", "Version 1 does not follow 1.", "rollback", version=1, signers=("root",))
_refused(
    "far-future-version",
    "Nor does the last version that there can be.",
    "fast_forward",
    version=2**53 - 1,
    signers=("root",),
)
_refused(
    "oversize",
    "A bundle of more than 32 KiB is refused.",
    "endless_data",
    version=2,
    signers=("root",),
    ext={"x": "a" * 40_000},
)


@BOOK.scenario()
def next_bundle(stage: Stage) -> None:
    """A successor is believed and kept."""
    stage.ready().world.chain.append(stage.world.trust(2, ("root",)))
    stage.updates_to("v2")
    stage.trusts(2)
    stage.stays("v2")
    stage.require(stage.world.polls[-1].trust_version == 2, "the poll must name the new bundle")
    stage.require(len(stage.world.requests("/v1/trust")) == 1, "the chain was walked twice")


@BOOK.scenario()
def root_rotated(stage: Stage) -> None:
    """Old and new root sign; from then on the new one alone."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root", "root2"), NEW_ROOT))
    world.chain.append(world.trust(3, ("root2",), NEW_ROOT))
    stage.updates_to("v2")
    stage.trusts(3)


@BOOK.scenario()
def rotated_before_the_offer(stage: Stage) -> None:
    """An offer by a new publisher and a new director is good once the chain says so."""
    world = stage.ready().world
    roles = {"publisher": ("publisher2",), "director": ("director2",)}
    world.chain.append(world.trust(2, ("root",), roles))
    world.lies.manifest.signers, world.lies.directive.signers = ("publisher2",), ("director2",)
    stage.updates_to("v2")


@BOOK.scenario()
def rotated_without_a_word(stage: Stage) -> None:
    """Keys that are not known here: the chain is asked once, also where no newer bundle was announced."""
    world = stage.ready().world
    roles = {"publisher": ("publisher2",), "director": ("director2",)}
    world.chain.append(world.trust(2, ("root",), roles))
    world.lies.manifest.signers, world.lies.directive.signers = ("publisher2",), ("director2",)
    world.lies.answer = lambda answer: {
        name: value for name, value in answer.items() if name != "trust_version"
    }
    stage.updates_to("v2")
    stage.trusts(2)


@BOOK.scenario("endless_data")
def strangers_are_looked_up_once(stage: Stage) -> None:
    """A stranger's answer does not send the device round in circles."""
    world = stage.ready().world
    world.lies.directive.signers = ("stranger",)
    stage.refuses("unknown_key")
    stage.require(len(world.requests("/v1/trust")) <= 2, "it asked for the chain again and again")


@BOOK.scenario("key_compromise")
def retired_director(stage: Stage) -> None:
    """A director that was rotated out is a stranger."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root",), {"director": ("director2",)}))
    stage.refuses("unknown_key")
    stage.trusts(2)
    world.lies.directive.signers = ("director2",)
    stage.updates_to("v2")


@BOOK.scenario("key_compromise")
def retired_publisher(stage: Stage) -> None:
    """So is a publisher."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root",), {"publisher": ("publisher2",)}))
    stage.refuses("unknown_key")
    world.lies.manifest.signers = ("publisher2",)
    stage.updates_to("v2")


@BOOK.scenario("key_compromise")
def retired_root(stage: Stage) -> None:
    """So is a root."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root", "root2"), NEW_ROOT))
    world.chain.append(world.trust(3, ("root",), NEW_ROOT))
    stage.refuses("unknown_key")
    stage.trusts(2)


@BOOK.scenario("key_compromise")
def broken_link_in_the_middle(stage: Stage) -> None:
    """The links before a broken one hold, those behind it do not."""
    world = stage.ready().world
    world.chain += [world.trust(2, ("root",)), world.trust(3, ("stranger",)), world.trust(4, ("root",))]
    stage.refuses("unknown_key")
    stage.trusts(2)


@BOOK.scenario("rollback")
def older_chain(stage: Stage) -> None:
    """A server that has only older bundles changes nothing."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root",)))
    world.offered = None
    stage.stays("v1")
    stage.trusts(2)
    del world.chain[1]
    world.offered = "v2"
    stage.updates_to("v2")
    stage.trusts(2)


@BOOK.scenario("key_compromise")
def shipped_by_a_stranger(stage: Stage) -> None:
    """A shipped bundle has to vouch for itself."""
    stage.world.publish("v1", 1, {"backbone": content("a")})
    stage.shipped_trust = stage.world.trust(1, ("stranger",))
    stage.require(stage.init().exit_code == 1, "init must refuse the bundle")


@BOOK.scenario("arbitrary_software")
def shipped_model_by_a_stranger(stage: Stage) -> None:
    """What shipped with the app is verified like everything else."""
    stage.world.publish("v1", 1, {"backbone": content("a")})
    stage.world.lies.manifest.signers = ("stranger",)
    stage.require(stage.init("v1").exit_code == 1, "init must refuse the shipped manifest")


@BOOK.scenario("freeze")
def announced_but_not_served(stage: Stage) -> None:
    """A later bundle that is announced and never served is no reason to break."""
    world = stage.ready().world
    world.chain.append(world.trust(2, ("root",)))
    world.lies.chain = []
    stage.updates_to("v2")
    stage.trusts(1)
