"""The structure of a case, and the attacks that cases belong to."""

ATTACKS = {
    "arbitrary_software": "a server, store or worker offers a model that is not the publisher's",
    "rollback": "an old, genuine version is offered again",
    "freeze": "an old response is replayed, or updates are withheld",
    "fast_forward": "counters or trust versions jump so far that no genuine version is accepted any more",
    "mix_and_match": "genuine parts of different versions, models or devices are combined",
    "endless_data": "more bytes, levels or entries than any genuine response has",
    "wrong_software": "a genuine version for another class of device",
    "key_compromise": "a key of one role signs for another; keys are stolen; one key tries to meet a threshold of two",
    "slow_retrieval": "a download that is too slow or stalls, without an end",
    "malicious_mirror": "URLs and bytes of somebody else",
    "replay": "a response or credential is used again, or by another device",
    "parser_differences": "bytes that two libraries parse differently",
}


def make_case(name, comment, inputs, expect, *, attack=None, now=None, state=None):
    """One case; `expect` is the error code of a rejected case, or a dict of results of an accepted one."""
    assert attack is None or attack in ATTACKS, attack
    result = (
        {"result": "reject", "code": expect}
        if isinstance(expect, str)
        else {"result": "accept", "code": None} | expect
    )
    return {
        "id": name,
        "comment": comment,
        "attack": attack,
        "inputs": inputs,
        "now": now,
        "device_state": state,
        "expect": result,
    }
