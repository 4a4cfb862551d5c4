import threading
import time

import pytest

from sdk_contract.client.errors import Busy, StateDamaged
from sdk_contract.client.record import MAX_OUTBOX, Record
from sdk_contract.client.reports import event_id, queue, sendable, usable
from sdk_contract.client.store import Store
from sdk_contract.wire import Event
from tests.sdk_contract.client.simulator import sha


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "device")
    store.create()
    return store


def bump(record):
    record.floor += 1


def test_a_new_directory_has_an_empty_record(store):
    assert store.read() == Record()


def test_changes_by_many_threads_are_all_kept(store):
    threads = [threading.Thread(target=lambda: [store.change(bump) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read().floor == 80


def test_a_change_that_raises_changes_nothing(store):
    store.change(bump)

    def half(record):
        record.floor = 99
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        store.change(half)
    assert store.read().floor == 1


def test_a_change_that_changes_nothing_does_not_wear_the_disk(store):
    store.change(bump)
    before = (store.directory / "state.json").stat().st_ino
    store.change(lambda record: None)
    assert (store.directory / "state.json").stat().st_ino == before


def test_when_record_and_copy_are_both_gone_bad_it_is_said_and_not_guessed(store):
    store.change(bump)
    store.change(bump)
    for name in ("state.json", "state.copy"):
        (store.directory / name).write_bytes(b"{}\nnonsense")
    with pytest.raises(StateDamaged):
        store.read()


def test_only_one_may_update(store):
    with store.exclusive(), pytest.raises(Busy), Store(store.directory).exclusive():
        pass
    with store.exclusive():
        pass


def test_who_waits_gets_its_turn(store):
    entered = threading.Event()

    def hold():
        with store.exclusive():
            entered.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    with store.exclusive(wait_s=30):
        pass
    thread.join()


def test_an_object_that_rotted_is_noticed_when_it_is_read_and_stays_until_it_is_replaced(store):
    path = store.objects / sha(b"good")
    path.write_bytes(b"baad")
    assert store.has(sha(b"good"), 4)
    assert not store.intact(sha(b"good"), 4)
    assert path.exists()


def test_a_full_queue_gives_up_metrics_before_states():
    record = Record()
    kinds = ["metrics", "committed"] + ["metrics"] * MAX_OUTBOX
    for number, kind in enumerate(kinds):
        queue(record, Event(event_id=event_id(number), state=kind, seq=number))
    assert len(record.outbox) == MAX_OUTBOX
    assert [event.state for event in record.outbox].count("committed") == 1


def test_odd_metrics_and_texts_are_left_out_or_made_sendable():
    odd = {"quality": 0.5, "bad name": 1.0, "nan": float("nan"), "inf": float("inf"), "": 1.0}
    assert usable(odd) == {"quality": 0.5}
    assert len(usable({f"m{number}": 1.0 for number in range(99)})) == 32
    assert sendable("\udcff" + "x" * 5000) == "?" + "x" * 999


def test_event_ids_are_uuids_of_version_7_that_sort_by_time():
    early, late = event_id(1_000_000.0), event_id(1_000_000.5)
    assert early < late
    assert {early[14], late[14]} == {"7"}
    assert early[19] in "89ab"
    assert len({event_id(5.0) for _ in range(100)}) == 100
