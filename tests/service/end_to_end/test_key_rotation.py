"""Every key is rotated while devices poll; devices that were offline follow later."""

from contextlib import contextmanager

import pytest

from sdk_contract.documents import TrustBundle
from tests.service.support import actors
from tests.service.support.live_fleet import Fleet, listening, updated
from tests.waiting import wait_until


@pytest.fixture
def fleet(live, tmp_path):
    with listening(live.settings) as port:
        created = Fleet(live, port, tmp_path)
        actors.refresh(live)
        yield created


def trust_version(agent):
    return agent.status()["trust_version"]


def old_key(live, role):
    return next(iter(TrustBundle.from_initial_envelope(live.trust).for_role(role).keys))


@contextmanager
def signing_with_new_key(fleet, role):
    """Settings and a worker with the new key, as after a rolling restart."""
    changed = fleet.live.settings.model_copy(update={f"{role}_key": f"file:{fleet.folder}/{role}-v2.pem"})
    with fleet.live.worker_with(settings=changed):
        yield changed


@pytest.mark.parametrize("role", ["publisher", "patcher", "director"])
def test_a_key_is_replaced_and_every_device_follows(live, tmp_path, role):
    with listening(live.settings) as port:
        fleet = Fleet(live, port, tmp_path)
        fleet.release(1)
        online, offline = fleet.device("online"), fleet.device("offline")
        updated(online, "v1")
        updated(offline, "v1")
        fleet.keys("rotate", role, roots=["root.pem"])
        wait_until(lambda: online.update().ok and trust_version(online) == 2, "trust bundle 2 on the device")
    with signing_with_new_key(fleet, role) as changed, listening(changed, port):
        fleet.release(2)
        assert updated(online, "v2").download_format == "glp1"
        fleet.keys("remove", role, old_key(live, role), roots=["root.pem"])
        wait_until(lambda: online.update().ok and trust_version(online) == 3, "trust bundle 3 on the device")
        assert trust_version(offline) == 1
        assert updated(offline, "v2").download_format == "glp1"
        assert trust_version(offline) == 3


def test_the_root_key_is_replaced_and_every_device_follows(fleet, live):
    fleet.release(1)
    online, offline = fleet.device("online"), fleet.device("offline")
    updated(online, "v1")
    updated(offline, "v1")
    fleet.keys("rotate", "root", roots=["root.pem"])
    wait_until(lambda: online.update().ok and trust_version(online) == 2, "trust bundle 2 on the device")
    fleet.keys("remove", "root", old_key(live, "root"), roots=["root.pem", "root-v2.pem"])
    last = fleet.keys("renew", roots=["root-v2.pem"])
    fleet.release(2)
    updated(online, "v2")
    updated(offline, "v2")
    assert trust_version(online) == trust_version(offline) == last.version == 4


def test_a_device_with_an_old_trust_bundle_walks_the_chain_before_verification(fleet, live, tmp_path):
    fleet.release(1)
    device = fleet.device("late")
    fleet.keys("rotate", "director", roots=["root.pem"])
    fleet.keys("remove", "director", old_key(live, "director"), roots=["root.pem"])
    with signing_with_new_key(fleet, "director") as changed, listening(changed) as port:
        late = Fleet(live, port, tmp_path / "elsewhere").device("later")
        assert trust_version(late) == trust_version(device) == 1
        assert updated(late, "v1").version == "v1"
        assert trust_version(late) == 3


def test_a_manifest_signed_only_with_a_removed_key_is_refused(fleet, live):
    fleet.release(1)
    device = fleet.device("strict")
    fleet.keys("rotate", "director", roots=["root.pem"])
    fleet.keys("remove", "director", old_key(live, "director"), roots=["root.pem"])
    wait_until(lambda: device.update().code == "unknown_key", "the device to miss the removed key")
    assert device.installed() is None or device.installed().version == "v1"
