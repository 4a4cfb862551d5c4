"""The undo log restores old bytes, and detects corruption."""

import numpy as np
import pytest

from sdk_contract.client.errors import StorageFailed
from sdk_contract.client.storage.file_system import LocalFileSystem
from sdk_contract.client.storage.undo_log import UndoLog


def test_a_corrupt_undo_log_is_detected(tmp_path):
    log = UndoLog(LocalFileSystem(), tmp_path / "x.log")
    rng = np.random.default_rng(1)
    old, new = rng.bytes(1000), rng.bytes(1000)
    log.append(0, old, new, sync=True)
    assert log.old_bytes(log.entries[0], new) == old
    with pytest.raises(StorageFailed, match="storage_failed: the old bytes at offset 0 cannot be restored"):
        log.old_bytes(log.entries[0], new[:-1] + b"?")
    log.close()
