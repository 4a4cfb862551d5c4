import pytest

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.files import DiskFiles
from sdk_contract.client.trust import MAX_PAGES, TrustStore
from sdk_contract.errors import ContractError
from tests.sdk_contract.client.simulator import Key


@pytest.fixture
def chain(server):
    """Bundles 1 to 6."""
    return links(server, 6)


def links(server, number):
    """So many bundles, the root key changing each time."""
    keys = dict(server.keys)
    envelopes = list(server.trust_chain)
    for version in range(2, number + 1):
        fresh = keys | {"root": Key()}
        envelopes.append(server.trust_bundle(version, fresh).seal([keys["root"], fresh["root"]]))
        keys = fresh
    return envelopes


class Pages:
    """The trust endpoint, so many bundles at a time."""

    def __init__(self, chain, size):
        self.chain, self.size, self.asked = chain, size, 0

    def trust_after(self, version):
        self.asked += 1
        return self.chain[version : version + self.size]


def test_a_chain_is_followed_link_by_link_and_page_by_page(chain, tmp_path):
    store = TrustStore.install(tmp_path, DiskFiles(), chain[0])
    store.follow(Pages(chain, 2), 6)
    assert store.bundle.version == 6
    assert TrustStore(tmp_path, DiskFiles()).bundle.version == 6


def test_a_missing_link_stops_the_walk_and_what_was_proved_stays(chain, tmp_path):
    store = TrustStore.install(tmp_path, DiskFiles(), chain[0])
    with pytest.raises(ContractError):
        store.follow(Pages([*chain[:3], *chain[4:]], 9), 6)
    assert TrustStore(tmp_path, DiskFiles()).bundle.version == 3


def test_a_replayed_link_is_refused(chain, tmp_path):
    store = TrustStore.install(tmp_path, DiskFiles(), chain[0])
    with pytest.raises(ContractError):
        store.follow(Pages([chain[0], chain[0]], 1), 2)
    assert store.bundle.version == 1


def test_a_server_that_announces_without_end_is_not_obeyed(chain, tmp_path):
    store, pages = TrustStore.install(tmp_path, DiskFiles(), chain[0]), Pages(chain, 1)
    store.follow(pages, 10**9)
    assert pages.asked <= MAX_PAGES


def test_enrolling_again_does_not_bring_an_older_bundle_back(chain, tmp_path):
    TrustStore.install(tmp_path, DiskFiles(), chain[3])
    assert TrustStore.install(tmp_path, DiskFiles(), chain[0]).bundle.version == 4


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 100, b"[" * 50_000])
def test_a_file_that_holds_no_bundle_is_named_as_such(tmp_path, data):
    (tmp_path / "trust.json").write_bytes(data)
    with pytest.raises(StateDamaged):
        TrustStore(tmp_path, DiskFiles())


def test_the_end_of_the_chain_is_found_where_nothing_was_announced(chain, tmp_path):
    store = TrustStore.install(tmp_path, DiskFiles(), chain[0])
    assert store.look_further(Pages(chain, 2))
    assert store.bundle.version == 6
    assert not store.look_further(Pages(chain, 2))


def test_a_chain_without_end_is_not_followed_to_its_end(server, tmp_path):
    endless = links(server, 2 * MAX_PAGES)
    store = TrustStore.install(tmp_path, DiskFiles(), endless[0])
    store.look_further(Pages(endless, 1))
    assert store.bundle.version == 1 + MAX_PAGES
