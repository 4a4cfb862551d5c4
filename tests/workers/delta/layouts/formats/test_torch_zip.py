import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.delta.layouts.writers import Bytes, torch_pickle, torch_zip
from workers.delta.layouts import MalformedFile, read_layout

STORAGES = {"0": b"abcdefgh", "1": bytes(16)}
PROGRAM = torch_pickle({"0": "FloatStorage", "1": "HalfStorage"})


def error_of(raw):
    with pytest.raises(MalformedFile) as caught:
        read_layout(Bytes(bytes(raw)))
    assert caught.value.format == "torch_zip"
    return caught.value


def found(raw):
    return {
        tensor.name: (tensor.dtype, tensor.shape, raw[tensor.offset :][: tensor.size])
        for tensor in read_layout(Bytes(raw)).tensors
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.pt"


def test_storages_are_found_by_entry_with_the_dtype_of_the_pickle(path):
    raw = torch_zip(path, STORAGES, PROGRAM)
    assert found(raw) == {"data/0": ("f32", (2,), b"abcdefgh"), "data/1": ("f16", (8,), bytes(16))}
    layout = read_layout(Bytes(raw))
    assert layout.format == "torch_zip"
    assert all(tensor.offset % 64 == 0 for tensor in layout.tensors)
    assert layout.metadata["byteorder"] == "little"


def test_the_pickle_is_never_executed(path, tmp_path):
    trap = tmp_path / "owned"
    program = (
        b"\x80\x02cos\nsystem\nX"
        + struct.pack("<I", len(f"touch {trap}"))
        + f"touch {trap}".encode()
        + b"\x85R."
    )
    assert found(torch_zip(path, STORAGES, program))["data/0"][0] == "bytes"
    assert not trap.exists()


@pytest.mark.parametrize(
    ("program", "byteorder"),
    [
        (b"", b"little"),
        (b"\xff\xff", b"little"),
        (PROGRAM, b"big"),
        (torch_pickle({"0": "NewStorage"}), b"little"),
        (torch_pickle({"0": "ComplexDoubleStorage"}), b"little"),
    ],
)
def test_a_storage_of_unknown_dtype_is_bytes(path, program, byteorder):
    assert found(torch_zip(path, STORAGES, program, byteorder))["data/0"] == ("bytes", (8,), b"abcdefgh")


def test_compressed_entries_are_not_listed(path):
    raw = torch_zip(path, {"0": bytes(5000)}, PROGRAM, compression=zipfile.ZIP_DEFLATED)
    layout = read_layout(Bytes(raw))
    assert (layout.format, layout.tensors) == ("torch_zip", ())


def test_archives_without_a_data_pkl_are_opaque(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.npy", bytes(100))
    raw = path.read_bytes()
    assert read_layout(Bytes(raw)).format == "opaque"
    assert read_layout(Bytes(raw[:-10])).format == "opaque"
    assert read_layout(Bytes(b"PK\x03\x04")).format == "opaque"


def test_a_truncated_file_is_refused_as_truncated(path):
    raw = torch_zip(path, STORAGES, PROGRAM)
    assert error_of(raw[:-1]).code == "truncated"
    assert error_of(raw[: len(raw) // 2]).code == "truncated"


def test_a_local_header_that_contradicts_the_directory_is_refused(path):
    raw = bytearray(torch_zip(path, STORAGES, PROGRAM))
    at = raw.index(b"m/data/0")
    raw[at : at + 8] = b"m/data/9"
    assert error_of(raw).code == "bad_local_header"


def test_a_directory_without_the_data_pkl_is_refused(path):
    raw = bytearray(torch_zip(path, STORAGES, PROGRAM))
    at = raw.rindex(b"m/data.pkl")
    raw[at : at + 10] = b"m/data.pkx"
    assert error_of(raw).code == "bad_directory"


def test_duplicate_entry_names_are_refused(path):
    raw = torch_zip(path, STORAGES, PROGRAM).replace(b"m/data/1", b"m/data/0")
    assert error_of(raw).code == "duplicate_name"


def test_an_extra_field_that_makes_storages_overlap_is_refused(path):
    raw = bytearray(torch_zip(path, STORAGES, PROGRAM))
    at = raw.index(b"m/data/0") - 2
    raw[at : at + 2] = struct.pack("<H", 300)
    assert error_of(raw).code == "entries_overlap"


@given(st.dictionaries(st.integers(0, 99).map(str), st.binary(min_size=1, max_size=50), max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_written_tensors_are_read_back(tmp_path_factory, storages):
    path = tmp_path_factory.mktemp("torch") / "m.pt"
    raw = torch_zip(path, storages, torch_pickle(dict.fromkeys(storages, "CharStorage")))
    assert found(raw) == {f"data/{key}": ("i8", (len(data),), data) for key, data in storages.items()}
