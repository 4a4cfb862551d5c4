import secrets

import pytest
from rich.console import Console

from service.cli.admin_api import AdminApi
from service.cli.errors import CliError
from service.cli.releases.publish import LocalVariant, Release, hash_components, publish_release
from service.cli.releases.upload import upload_file
from tests.service.support import actors
from tests.service.support.actors import MIB, component, ok, version_body


class Api(AdminApi):
    """The admin API of the live service, with a worker that runs as soon as there is work.

    `tamper` changes the first response to a request for upload URLs.
    """

    def __init__(self, live, tamper=None):
        self._live = live
        self._tamper = tamper
        self.requested_parts = []

    def call(self, method, path, body=None, headers=None):
        assert headers is None
        response = self._live.call(method, path, body, "publisher")
        if response.is_error:
            problem = response.json()
            raise CliError(problem["detail"], problem["code"])
        if path.endswith("/submit"):
            self._live.run_jobs()
        answer = response.json() if response.content else None
        if path.endswith("/parts"):
            self.requested_parts.append(body["numbers"])
            if self._tamper is not None:
                answer, self._tamper = self._tamper(answer), None
        return answer


@pytest.fixture
def quiet():
    return Console(quiet=True)


@pytest.fixture
def big(tmp_path):
    """A file of three parts that no other test uploads."""
    path = tmp_path / "weights.bin"
    path.write_bytes(secrets.token_bytes(1) * (10 * MIB) + secrets.token_bytes(99))
    return path


def release(path, quiet, label="v1"):
    files = hash_components({"backbone": path}, quiet)
    return Release("m", label, [LocalVariant("default", {}, 0, files)])


def declare(live, data):
    ok(actors.declare(live, version_body("v1", component(data, path="weights.bin"))))


def test_a_release_becomes_ready_and_publishing_it_again_sends_nothing(live, big, quiet):
    first = publish_release(Api(live), release(big, quiet), quiet)
    assert (first["state"], first["sent_bytes"], first["reused_bytes"]) == ("ready", big.stat().st_size, 0)
    again = publish_release(Api(live), release(big, quiet), quiet)
    assert (again["sent_bytes"], again["reused_bytes"]) == (0, big.stat().st_size)
    assert again["manifest_sha256"] == first["manifest_sha256"]


def test_only_missing_parts_are_sent(live, big):
    data = big.read_bytes()
    declare(live, data)
    actors.send_parts(live, actors.start_upload(live, data), data, [2])
    api, progress = Api(live), list[int]()
    assert upload_file(api, big, actors.sha256(data), progress.append) == len(data) - 5 * MIB
    assert api.requested_parts == [[1, 3]]
    assert sum(progress) == len(data)


def test_an_expired_url_is_requested_again(live, big):
    data = big.read_bytes()
    declare(live, data)

    def expire(answer):
        return {
            "urls": {
                n: url.replace("X-Amz-Signature=", "X-Amz-Signature=0") for n, url in answer["urls"].items()
            }
        }

    api = Api(live, expire)
    assert upload_file(api, big, actors.sha256(data), lambda _count: None) == len(data)
    assert sorted(api.requested_parts[1:]) == [[1], [2], [3]]


def test_a_file_that_shrinks_during_the_upload_is_an_error(live, big):
    data = big.read_bytes()
    declare(live, data)

    def shorten(answer):
        big.write_bytes(data[:100])
        return answer

    with pytest.raises(CliError, match="became shorter"):
        upload_file(Api(live, shorten), big, actors.sha256(data), lambda _count: None)


def test_a_file_that_changes_during_the_upload_is_rejected_by_its_digest(live, big, quiet):
    chosen = release(big, quiet)
    big.write_bytes(bytes(big.stat().st_size))
    with pytest.raises(CliError, match="digest_mismatch") as caught:
        publish_release(Api(live), chosen, quiet)
    assert caught.value.code == "digest_mismatch"


def test_an_error_keeps_the_code_of_the_server(live, big, quiet):
    publish_release(Api(live), release(big, quiet), quiet)
    big.write_bytes(b"other")
    with pytest.raises(CliError) as caught:
        publish_release(Api(live), release(big, quiet), quiet)
    assert caught.value.code == "version_exists"


def test_an_upload_that_the_store_has_lost_is_repeated(live, big, quiet):
    class Losing(Api):
        lost = False

        def call(self, method, path, body=None, headers=None):
            if path.endswith("/submit") and not self.lost:
                self.lost = True
                for row in actors.rows(live, "select key from uploads"):
                    live.worker.blobs.delete(row["key"])
            return super().call(method, path, body, headers)

    done = publish_release(Losing(live), release(big, quiet), quiet)
    assert (done["state"], done["sent_bytes"]) == ("ready", 2 * big.stat().st_size)
