"""The applier in C makes what the page says: golden cases, our writer's patches, any payload, and nothing worse than a named error.

It is compiled with the sanitizers for addresses and undefined behaviour, and with an allocator that ends the process at
one allocation of more than 80 MiB. `GRAYLAG_FUZZ_MUTATIONS=100000` makes the mutations go on for so long.
"""

import base64
import hashlib
import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zstandard

from sdk_contract.patch import PatchError
from sdk_contract.patch.block import make_target
from sdk_contract.patch.container import Header, Op, Record, pack_head
from sdk_contract.vectors import load
from tests.sdk_contract.patch.payloads import Payload, any_payload
from workers.delta.align import Piece
from workers.delta.bsdiff import encode_bsdiff
from workers.delta.build import build_patch
from workers.delta.encode import encode_block
from workers.delta.lanes import LITERAL, delta_lane

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[2] / "sdk_contract/patch/c").glob("*.c"))
LIBRARY = [path for path in SOURCES if path.name != "main.c"]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LIBRARIES = ["-lzstd", "-lcrypto"]
OPTIONS = "allocator_may_return_null=0:max_allocation_size_mb=80"
MUTATIONS = int(os.environ.get("GRAYLAG_FUZZ_MUTATIONS", "3000"))
PROBE = "#include <openssl/evp.h>\n#include <zstd.h>\nint main(void) { return EVP_sha256() == NULL || ZSTD_versionNumber() == 0; }\n"
"""
