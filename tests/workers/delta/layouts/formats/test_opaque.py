from tests.workers.delta.layouts.writers import Bytes
from workers.delta.layouts import Layout
from workers.delta.layouts.formats.opaque import read


def test_an_opaque_file_has_only_a_size():
    assert read(Bytes(b"anything")) == Layout("opaque", 8, ())
