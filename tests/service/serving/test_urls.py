from service.serving.urls import DownloadUrls


class Signer:
    """An object store that counts its signatures."""

    def __init__(self):
        self.signed = []

    def download_url(self, key, *, expires_s):
        self.signed.append((key, expires_s))
        return f"https://store/{key}?{len(self.signed)}"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_url_is_signed_once_per_object_and_window():
    signer, clock = Signer(), Clock()
    kept = DownloadUrls(signer, 900, clock)
    first = kept.url("a")
    clock.now = 299
    assert kept.url("a") == first
    clock.now = 300
    assert kept.url("a") != first
    assert signer.signed == [("a", 900), ("a", 900)]


def test_what_is_kept_is_bounded():
    kept = DownloadUrls(Signer(), 900, Clock(), max_kept=2)
    for key in "abc":
        kept.url(key)
    assert kept.url("c").endswith("?3")
    assert kept.url("a").endswith("?4")
