import pytest

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.protocol.trust_store import MAX_PAGES, TrustStore
from sdk_contract.client.storage.file_system import LocalFileSystem
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
        envelopes.append(server.trust_bundle(version, fresh).sign([keys["root"], fresh["root"]]))
        keys = fresh
    return envelopes


class Pages:
    """The trust endpoint, so many bundles at a time."""

    def __init__(self, chain, size):
        self.chain, self.size, self.asked = chain, size, 0

    def trust_bundles_after(self, version):
        self.asked += 1
        return self.chain[version : version + self.size]


def test_a_chain_is_followed_bundle_by_bundle_and_page_by_page(chain, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), chain[0])
    store.follow_to(Pages(chain, 2), 6)
    assert store.bundle.version == 6
    assert TrustStore(tmp_path, LocalFileSystem()).bundle.version == 6


def test_a_missing_bundle_stops_the_chain_and_verified_bundles_stay(chain, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), chain[0])
    with pytest.raises(ContractError):
        store.follow_to(Pages([*chain[:3], *chain[4:]], 9), 6)
    assert TrustStore(tmp_path, LocalFileSystem()).bundle.version == 3


def test_a_replayed_bundle_is_rejected(chain, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), chain[0])
    with pytest.raises(ContractError):
        store.follow_to(Pages([chain[0], chain[0]], 1), 2)
    assert store.bundle.version == 1


def test_an_endless_announcement_is_followed_for_a_limited_number_of_pages(chain, tmp_path):
    store, pages = TrustStore.install(tmp_path, LocalFileSystem(), chain[0]), Pages(chain, 1)
    store.follow_to(pages, 10**9)
    assert pages.asked <= MAX_PAGES


def test_a_new_enrollment_does_not_restore_an_older_bundle(chain, tmp_path):
    TrustStore.install(tmp_path, LocalFileSystem(), chain[3])
    assert TrustStore.install(tmp_path, LocalFileSystem(), chain[0]).bundle.version == 4


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 100, b"[" * 50_000])
def test_a_file_without_a_valid_bundle_is_reported(tmp_path, data):
    (tmp_path / "trust.json").write_bytes(data)
    with pytest.raises(StateDamaged):
        TrustStore(tmp_path, LocalFileSystem())


def test_the_end_of_the_chain_is_found_without_an_announcement(chain, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), chain[0])
    assert store.follow_to_end(Pages(chain, 2))
    assert store.bundle.version == 6
    assert not store.follow_to_end(Pages(chain, 2))


def test_an_endless_chain_is_followed_for_a_limited_number_of_pages(server, tmp_path):
    endless = links(server, 2 * MAX_PAGES)
    store = TrustStore.install(tmp_path, LocalFileSystem(), endless[0])
    store.follow_to_end(Pages(endless, 1))
    assert store.bundle.version == 1 + MAX_PAGES
