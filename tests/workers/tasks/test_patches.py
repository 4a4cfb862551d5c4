import secrets

from tests.service.support import actors
from tests.service.support.actors import ok, publish
from tests.workers.delta.layouts.writers import safetensors


def pair():
    raw = secrets.token_bytes(40_000)
    old = safetensors({"w": ("I8", [40_000], raw)})
    new = safetensors({"w": ("I8", [40_000], raw[:39_000] + bytes(1000))})
    return old, new


def patches(live, label="v2"):
    return ok(live.call("GET", f"/v1/admin/models/m/versions/{label}/patches", scope="viewer"))


def test_a_new_version_gets_a_patch_from_the_previous_one(live):
    old, new = pair()
    publish(live, "v1", old)
    publish(live, "v2", new)
    (made,) = patches(live)
    assert (made["source_sha256"], made["target_sha256"]) == (actors.sha256(old), actors.sha256(new))
    assert (made["format"], made["state"]) == ("glp1", "ready")
    assert made["size"] < len(new) / 10
    assert made["stats"]["ratio"] == made["size"] / len(new)
    assert actors.process(live).blobs.size(f"blobs/{made['sha256']}") == made["size"]
    assert patches(live, "v1") == []


def test_a_patch_that_saves_too_little_is_not_kept(live):
    publish(live, "v1", safetensors({"w": ("I8", [40_000], secrets.token_bytes(40_000))}))
    publish(live, "v2", safetensors({"w": ("I8", [40_000], secrets.token_bytes(40_000))}))
    (made,) = patches(live)
    assert (made["state"], made["sha256"]) == ("not_worth_it", None)
    assert made["stats"]["full_size"] > 40_000


def test_devices_get_the_full_file_when_the_patch_cannot_be_built(live):
    old, new = pair()
    publish(live, "v1", old)
    actors.process(live).blobs.delete(f"blobs/{actors.sha256(old)}")
    with live.worker_with(settings=live.settings.model_copy(update={"patcher_key": None})):
        publish(live, "v2", new)
    (waiting,) = patches(live)
    assert waiting["state"] == "queued"
    for _ in range(2):
        actors.write(live, "update jobs set run_after = now() where kind = 'build_patch'")
        live.run_jobs()
    (failed,) = patches(live)
    assert failed["state"] == "failed"
    actors.roll_out(live, "r", "v2")
    answer = actors.enroll(live).poll("v1", accepts=["glp1", "full"])
    assert [option["format"] for option in answer["downloads"][0]["options"]] == ["full"]


def test_a_patch_is_requested_once_per_pair_of_files(live):
    old, new = pair()
    publish(live, "v1", old)
    publish(live, "v2", new)
    publish(live, "v3", new, notes="the same weights")
    keys = actors.rows(live, "select key from jobs where kind = 'build_patch'")
    assert len(keys) == 1


def test_a_dead_patch_job_marks_the_patch_failed(live):
    old, new = pair()
    publish(live, "v1", old)
    ok(actors.declare(live, actors.version_body("v2", actors.component(new))))
    actors.upload_file(live, new)
    ok(actors.submit(live, "v2"))
    live.run_jobs(except_for="build_patch")
    actors.write(
        live,
        """update jobs set state = 'running', attempts = 3, lease_until = now() - interval '1 minute'
           where kind = 'build_patch'""",
    )
    live.run_scheduled_tasks()
    (failed,) = patches(live)
    assert (failed["state"], failed["stats"]["code"]) == ("failed", "worker_lost")
