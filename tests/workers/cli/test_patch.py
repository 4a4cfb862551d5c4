"""`graylag patch build`, `apply` and `inspect`, and `graylag bench delta`."""

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from workers.cli.bench import app as bench
from workers.cli.patch import app as patch

run = CliRunner().invoke


def save(path: Path, codes: np.ndarray, *, name: str = "layer.weight") -> Path:
    raw = codes.astype(np.int8).tobytes()
    header = {name: {"dtype": "I8", "shape": list(codes.shape), "data_offsets": [0, len(raw)]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(1)
    codes = rng.integers(-90, 90, (400, 300))
    old = save(tmp_path / "old.safetensors", codes)
    return old, save(tmp_path / "new.safetensors", codes + (rng.random(codes.shape) < 0.1))


@pytest.fixture
def built(files, tmp_path: Path) -> Path:
    result = run(patch, ["build", *map(str, files), "-o", str(tmp_path / "p")])
    assert result.exit_code == 0, result.output
    return tmp_path / "p"


def test_build_reports_sizes_ratio_and_digests_as_json(files, tmp_path):
    result = run(patch, ["build", *map(str, files), "-o", str(tmp_path / "p"), "--threads", "1", "--json"])
    summary = json.loads(result.output)
    assert summary["source_size"] == files[0].stat().st_size
    assert summary["target_size"] == files[1].stat().st_size
    assert summary["patch_size"] == (tmp_path / "p").stat().st_size
    assert summary["ratio"] == pytest.approx(summary["patch_size"] / summary["target_size"])
    assert set(summary) >= {"seconds", "peak_rss_mb", "ops", "index_sha256", "working_set", "reversible"}


def test_apply_makes_the_new_file_and_reverse_the_old_one(files, built, tmp_path):
    forward = run(patch, ["apply", str(files[0]), str(built), "-o", str(tmp_path / "made"), "--json"])
    assert forward.exit_code == 0, forward.output
    assert (tmp_path / "made").read_bytes() == files[1].read_bytes()
    back = run(patch, ["apply", str(files[1]), str(built), "-o", str(tmp_path / "back"), "--reverse"])
    assert back.exit_code == 0, back.output
    assert (tmp_path / "back").read_bytes() == files[0].read_bytes()


def test_apply_to_a_wrong_base_fails_with_a_code_and_writes_nothing(files, built, tmp_path):
    other = save(tmp_path / "other", np.zeros((400, 300)))
    result = run(patch, ["apply", str(other), str(built), "-o", str(tmp_path / "made"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.output)["error"] == "base_mismatch"
    assert not (tmp_path / "made").exists()


def test_a_wrong_base_is_reported_as_base_mismatch_and_not_as_a_corrupt_patch(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1000, 800)).astype(np.float32)
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    for path in (old, new):
        header = {"w": {"dtype": "F32", "shape": values.shape, "data_offsets": [0, values.nbytes]}}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())
        values[:100] += rng.normal(size=(100, 800)).astype(np.float32) * np.float32(1e-3)
    assert run(patch, ["build", str(old), str(new), "-o", str(tmp_path / "p")]).exit_code == 0
    wrong = run(patch, ["apply", str(new), str(tmp_path / "p"), "-o", str(tmp_path / "made"), "--json"])
    assert json.loads(wrong.output)["error"] == "base_mismatch"
    assert "is not the source file of the patch" in wrong.output


def test_an_output_that_is_not_a_regular_file_is_refused(files, built, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for words in (["apply", str(files[0]), str(built)], ["build", *map(str, files)]):
        result = run(patch, [*words, "-o", str(tmp_path / "pipe")])
        assert result.exit_code == 2, result.output
        assert (tmp_path / "pipe").is_fifo()


def test_apply_refuses_a_patch_whose_index_digest_differs(files, built, tmp_path):
    arguments = ["apply", str(files[0]), str(built), "-o", str(tmp_path / "made"), "--index-sha256"]
    assert "index_mismatch" in run(patch, [*arguments, "00" * 32]).output
    assert run(patch, [*arguments, "short"]).exit_code == 2


def test_inspect_lists_changed_tensors_with_their_cost(built):
    found = json.loads(run(patch, ["inspect", str(built), "--json"]).output)
    assert [tensor["name"] for tensor in found["tensors"]] == ["layer.weight"]
    assert 0 < found["tensors"][0]["changed"] < found["tensors"][0]["values"]
    text = run(patch, ["inspect", str(built)]).output
    assert "layer.weight" in text
    assert "reversible" in text


def test_inspect_prints_names_without_interpreting_markup_or_emoji(tmp_path):
    rng = np.random.default_rng(3)
    values = rng.integers(-128, 128, (600, 600))
    changed = values ^ (rng.random(values.shape) < 0.1)
    name = "[red]layer:100:20"
    old, new = (save(tmp_path / part, codes, name=name) for part, codes in (("a", values), ("b", changed)))
    run(patch, ["build", str(old), str(new), "-o", str(tmp_path / "p")])
    assert name in run(patch, ["inspect", str(tmp_path / "p")]).output


def test_inspect_of_a_file_that_is_no_patch_fails_with_a_code(files):
    result = run(patch, ["inspect", str(files[0])])
    assert result.exit_code == 1
    assert "patch_corrupt" in result.output


def test_unrelated_files_exit_with_status_three_and_no_patch(tmp_path):
    rng = np.random.default_rng(2)
    old, new = (save(tmp_path / name, rng.integers(-128, 128, (600, 600))) for name in ("a", "b"))
    result = run(patch, ["build", str(old), str(new), "-o", str(tmp_path / "p"), "--json"])
    assert result.exit_code == 3
    assert json.loads(result.output)["error"] == "not_worth_it"
    assert not (tmp_path / "p").exists()


@pytest.mark.skipif(shutil.which("bspatch") is None, reason="bspatch is not installed")
def test_bspatch_applies_the_export(files, tmp_path):
    result = run(patch, ["build", *map(str, files), "-o", str(tmp_path / "p"), "--format", "bsdiff40"])
    assert result.exit_code == 0, result.output
    subprocess.run(["bspatch", str(files[0]), str(tmp_path / "made"), str(tmp_path / "p")], check=True)
    assert (tmp_path / "made").read_bytes() == files[1].read_bytes()


def test_bench_measures_every_engine(files):
    result = run(bench, ["delta", *map(str, files), "--json"])
    assert result.exit_code == 0, result.output
    found = {one["method"]: one for one in json.loads(result.output)["methods"]}
    assert {"glp1, 1 core", "bsdiff4", "bsdiff40 export"} <= set(found)
    assert found["glp1, 1 core"]["patch_size"] < files[1].stat().st_size // 4
    assert found["glp1, 1 core"]["apply_seconds"] > 0


def test_bench_measures_a_repeated_pair(files):
    result = run(bench, ["delta", *map(str, files), "--repeat", "3", "--json"])
    assert result.exit_code == 0, result.output
    pairs = json.loads(result.output)["pairs"]
    assert list(pairs) == ["new.safetensors", "new.safetensors x 3"]
    once, thrice = ({one["method"]: one for one in each} for each in pairs.values())
    assert list(thrice) == ["glp1, 1 core", "glp1, 2 cores"]
    assert thrice["glp1, 1 core"]["target_size"] > 2.9 * once["glp1, 1 core"]["target_size"]
    assert thrice["glp1, 2 cores"]["patch_size"] == thrice["glp1, 1 core"]["patch_size"]
    assert all(one["first_block_ms"] > 0 for one in thrice.values())


def test_bench_prints_a_markdown_table(files):
    result = run(bench, ["delta", *map(str, files)])
    assert result.exit_code == 0, result.output
    rows = result.output.splitlines()
    assert "first block ms" in rows[0]
    assert {row.count("|") for row in rows} == {14}
