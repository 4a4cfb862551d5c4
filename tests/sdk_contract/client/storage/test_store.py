import threading
from contextlib import contextmanager

import pytest

from sdk_contract.client.errors import Busy, StateDamaged
from sdk_contract.client.protocol.events import encodable_text, enqueue, new_event_id, valid_metrics
from sdk_contract.client.storage.client_state import MAX_OUTBOX, ClientState
from sdk_contract.client.storage.store import Store
from sdk_contract.wire import Event
from tests.sdk_contract.client.documents import sha256_hex
from tests.waiting import PATIENCE_S


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "device")
    store.create()
    return store


def raise_floor(state):
    state.floor += 1


def test_a_new_directory_has_an_empty_state(store):
    assert store.read_state() == ClientState()


def test_changes_by_many_threads_are_all_kept(store):
    threads = [
        threading.Thread(target=lambda: [store.change_state(raise_floor) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read_state().floor == 80


def test_a_change_that_raises_changes_nothing(store):
    store.change_state(raise_floor)

    def fail_after_change(state):
        state.floor = 99
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        store.change_state(fail_after_change)
    assert store.read_state().floor == 1


def test_an_edit_without_a_change_does_not_write_to_the_disk(store):
    store.change_state(raise_floor)
    before = (store.directory / "state.json").stat().st_ino
    store.change_state(lambda state: None)
    assert (store.directory / "state.json").stat().st_ino == before


def test_a_corrupt_state_with_a_corrupt_backup_is_an_error(store):
    store.change_state(raise_floor)
    store.change_state(raise_floor)
    for name in ("state.json", "state.copy"):
        (store.directory / name).write_bytes(b"{}\nnonsense")
    with pytest.raises(
        StateDamaged, match=r"state\.json, state\.copy cannot be read; enroll the device again"
    ):
        store.read_state()


def test_the_update_lock_has_one_owner(store):
    with (
        store.update_lock(),
        pytest.raises(Busy, match="busy: another process uses"),
        Store(store.directory).update_lock(),
    ):
        pass
    with store.update_lock():
        pass


def test_a_waiting_caller_gets_the_lock(store, monkeypatch):
    entered, refused, lock = threading.Event(), threading.Event(), store._lock

    @contextmanager
    def observed_lock(name, *, blocking):
        try:
            with lock(name, blocking=blocking):
                yield
        except Busy:
            refused.set()
            raise

    def hold_lock():
        with store.update_lock():
            entered.set()
            refused.wait(PATIENCE_S)

    monkeypatch.setattr(store, "_lock", observed_lock)

    thread = threading.Thread(target=hold_lock)
    thread.start()
    entered.wait(PATIENCE_S)
    with store.update_lock(wait_s=PATIENCE_S):
        assert refused.is_set()
    thread.join()


def test_a_corrupt_object_is_detected_and_stays_until_it_is_replaced(store):
    path = store.objects / sha256_hex(b"good")
    path.write_bytes(b"baad")
    assert store.has_object(sha256_hex(b"good"), 4)
    assert not store.verify_object(sha256_hex(b"good"), 4)
    assert path.exists()


def test_a_full_queue_drops_metrics_before_other_events():
    state = ClientState()
    kinds = ["metrics", "committed"] + ["metrics"] * MAX_OUTBOX
    for number, kind in enumerate(kinds):
        enqueue(state, Event(event_id=new_event_id(number), state=kind, seq=number))
    assert len(state.outbox) == MAX_OUTBOX
    assert [event.state for event in state.outbox].count("committed") == 1


def test_invalid_metrics_are_dropped_and_texts_become_encodable():
    metrics = {"quality": 0.5, "bad name": 1.0, "nan": float("nan"), "inf": float("inf"), "": 1.0}
    assert valid_metrics(metrics) == {"quality": 0.5}
    assert len(valid_metrics({f"m{number}": 1.0 for number in range(99)})) == 32
    assert encodable_text("\udcff" + "x" * 5000) == "?" + "x" * 999


def test_event_ids_are_uuids_of_version_7_that_sort_by_time():
    early, late = new_event_id(1_000_000.0), new_event_id(1_000_000.5)
    assert early < late
    assert {early[14], late[14]} == {"7"}
    assert early[19] in "89ab"
    assert len({new_event_id(5.0) for _ in range(100)}) == 100
