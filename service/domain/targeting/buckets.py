"""Sticky percentage buckets: a device keeps its bucket in a rollout forever, so widening never drops a device."""

import hashlib
import math

BUCKETS = 10_000
"""Number of buckets of a rollout; one bucket is 0.01 %."""


def rollout_salt(name: str) -> str:
    """Return the salt of the rollout with this name, so that a preview can list devices before the rollout exists."""
    return hashlib.sha256(b"graylag rollout\0" + name.encode()).hexdigest()[:32]


def bucket(salt: str, device_id: str) -> int:
    """Return the bucket of a device, 0 to 9999: the first 8 bytes of a SHA-256, big-endian, modulo 10,000."""
    return hashed_bucket(hash_seed(salt), device_id.encode())


def hashed_bucket(seed: bytes, device: bytes) -> int:
    """Return the same as `bucket`, from a seed that `hash_seed` made and the bytes of the device's id."""
    return int.from_bytes(hashlib.sha256(seed + device).digest()[:8]) % BUCKETS


def hash_seed(salt: str) -> bytes:
    """Return the bytes that are hashed before the device's id."""
    return salt.encode() + b"\0"


def in_percent(salt: str, device_id: str, percent: float) -> bool:
    """Return whether a device is in the first `percent` of the buckets; stays true as `percent` grows."""
    return admits(percent, bucket(salt, device_id))


def admits(percent: float, device_bucket: int) -> bool:
    """Return whether `percent` includes a bucket: 0.01 % is one bucket, 100 % are all of them."""
    return device_bucket < bucket_limit(percent)


def bucket_limit(percent: float) -> float:
    """Return the bound that buckets within `percent` stay below."""
    # 1.1 * 100 is slightly more than 110 in binary, which would admit a 111th bucket.
    return round(percent * 100, 6)


def buckets_within(percent: float) -> int:
    """Return how many buckets a percentage includes, rounded as in `admits`."""
    return math.ceil(bucket_limit(percent))
