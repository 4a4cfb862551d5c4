import pytest

from sdk_contract.client.storage.download_journal import Checkpoint, DownloadJournal
from sdk_contract.client.storage.file_system import LocalFileSystem

NOTE = Checkpoint("a" * 64, offset=12, blocks_done=3)


@pytest.fixture
def journal(tmp_path):
    return DownloadJournal(LocalFileSystem(), tmp_path / "partial")


def test_a_resume_reads_the_last_checkpoint(journal):
    journal.write(Checkpoint("a" * 64, offset=4))
    journal.write(NOTE)
    assert journal.read("a" * 64) == NOTE


def test_a_checkpoint_of_another_download_is_ignored(journal):
    journal.write(NOTE)
    assert journal.read("b" * 64) == Checkpoint("b" * 64)


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_torn_checkpoint_is_ignored(journal, tmp_path, cut):
    journal.write(NOTE)
    path = tmp_path / "partial.journal"
    path.write_bytes(path.read_bytes()[:cut])
    assert journal.read("a" * 64) == Checkpoint("a" * 64)


def test_clearing_the_journal_deletes_the_head_too(journal, tmp_path):
    journal.write(NOTE)
    journal.save_head(b"head")
    assert journal.read_head() == b"head"
    journal.clear()
    assert (journal.read("a" * 64), journal.read_head()) == (Checkpoint("a" * 64), b"")
    assert list(tmp_path.iterdir()) == []
