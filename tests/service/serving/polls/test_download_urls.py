from service.serving.polls.download_urls import DownloadUrls


class Signer:
    """A blob store that records what it signs."""

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
    urls = DownloadUrls(signer, 900, clock)
    first = urls.url("a")
    clock.now = 299
    assert urls.url("a") == first
    clock.now = 300
    assert urls.url("a") != first
    assert signer.signed == [("a", 900), ("a", 900)]


def test_the_cache_is_bounded():
    urls = DownloadUrls(Signer(), 900, Clock(), max_cached=2)
    for key in "abc":
        urls.url(key)
    assert urls.url("c").endswith("?3")
    assert urls.url("a").endswith("?4")
