import pytest

from sdk_contract.client.files import DiskFiles
from sdk_contract.client.journal import Journal, Note

NOTE = Note("a" * 64, offset=12, block=3)


@pytest.fixture
def journal(tmp_path):
    return Journal(DiskFiles(), tmp_path / "partial")


def test_the_last_note_is_what_a_resume_reads(journal):
    journal.write(Note("a" * 64, offset=4))
    journal.write(NOTE)
    assert journal.read("a" * 64) == NOTE


def test_a_note_about_another_download_is_worth_nothing(journal):
    journal.write(NOTE)
    assert journal.read("b" * 64) == Note("b" * 64)


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_torn_note_is_worth_nothing(journal, tmp_path, cut):
    journal.write(NOTE)
    path = tmp_path / "partial.journal"
    path.write_bytes(path.read_bytes()[:cut])
    assert journal.read("a" * 64) == Note("a" * 64)


def test_a_forgotten_note_takes_the_head_with_it(journal, tmp_path):
    journal.write(NOTE)
    journal.keep_head(b"head")
    assert journal.head() == b"head"
    journal.clear()
    assert (journal.read("a" * 64), journal.head()) == (Note("a" * 64), b"")
    assert list(tmp_path.iterdir()) == []
