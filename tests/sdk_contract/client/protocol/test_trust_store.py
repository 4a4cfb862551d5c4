import pytest

from sdk_contract.client.errors import StateDamaged
from sdk_contract.client.protocol.device_api import DeviceApi
from sdk_contract.client.protocol.trust_store import MAX_PAGES, TrustStore
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.errors import ContractError
from tests.sdk_contract.client.documents import Key


@pytest.fixture
def bundles(server):
    """Bundles 1 to 6."""
    return make_bundles(server, 6)


def make_bundles(server, count):
    """A chain of bundles, each with a new root key."""
    keys = dict(server.keys)
    envelopes = list(server.trust_chain)
    for version in range(2, count + 1):
        fresh = keys | {"root": Key()}
        envelopes.append(server.trust_bundle(version, fresh).sign([keys["root"], fresh["root"]]))
        keys = fresh
    return envelopes


class PagedTrustApi(DeviceApi):
    """The trust endpoint, with a number of bundles per page."""

    def __init__(self, bundles, size):
        self.bundles, self.size, self.requests = bundles, size, 0

    def trust_bundles_after(self, version):
        self.requests += 1
        return self.bundles[version : version + self.size]


def test_a_chain_is_followed_bundle_by_bundle_and_page_by_page(bundles, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), bundles[0])
    store.follow_to(PagedTrustApi(bundles, 2), 6)
    assert store.bundle.version == 6
    assert TrustStore(tmp_path, LocalFileSystem()).bundle.version == 6


def test_a_missing_bundle_stops_the_chain_and_verified_bundles_stay(bundles, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), bundles[0])
    with pytest.raises(ContractError, match="unknown_key: no signature is by a key of this role"):
        store.follow_to(PagedTrustApi([*bundles[:3], *bundles[4:]], 9), 6)
    assert TrustStore(tmp_path, LocalFileSystem()).bundle.version == 3


def test_a_replayed_bundle_is_rejected(bundles, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), bundles[0])
    with pytest.raises(ContractError, match="trust_chain_broken: version 1 does not follow 1"):
        store.follow_to(PagedTrustApi([bundles[0], bundles[0]], 1), 2)
    assert store.bundle.version == 1


def test_an_endless_announcement_is_followed_for_a_limited_number_of_pages(bundles, tmp_path):
    store, pages = TrustStore.install(tmp_path, LocalFileSystem(), bundles[0]), PagedTrustApi(bundles, 1)
    store.follow_to(pages, 10**9)
    assert pages.requests <= MAX_PAGES


def test_a_new_enrollment_does_not_restore_an_older_bundle(bundles, tmp_path):
    TrustStore.install(tmp_path, LocalFileSystem(), bundles[3])
    assert TrustStore.install(tmp_path, LocalFileSystem(), bundles[0]).bundle.version == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"{}", "an envelope is"),
        (b"\xff" * 100, "'utf-8' codec can't decode"),
        (b"[" * 50_000, "oversize"),
    ],
)
def test_a_file_without_a_valid_bundle_is_reported(tmp_path, data, message):
    (tmp_path / "trust.json").write_bytes(data)
    with pytest.raises(StateDamaged, match=message):
        TrustStore(tmp_path, LocalFileSystem())


def test_the_end_of_the_chain_is_found_without_an_announcement(bundles, tmp_path):
    store = TrustStore.install(tmp_path, LocalFileSystem(), bundles[0])
    assert store.follow_to_end(PagedTrustApi(bundles, 2))
    assert store.bundle.version == 6
    assert not store.follow_to_end(PagedTrustApi(bundles, 2))


def test_an_endless_chain_is_followed_for_a_limited_number_of_pages(server, tmp_path):
    endless = make_bundles(server, 2 * MAX_PAGES)
    store = TrustStore.install(tmp_path, LocalFileSystem(), endless[0])
    store.follow_to_end(PagedTrustApi(endless, 1))
    assert store.bundle.version == 1 + MAX_PAGES
