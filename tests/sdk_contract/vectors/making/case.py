"""The shape of a case."""

ATTACKS = {
    "arbitrary_software": "a server, mirror or worker that offers a foreign model",
    "rollback": "an old, genuine version is offered again",
    "freeze": "an old answer is given again, or time stands still",
    "fast_forward": "counters or trust versions jump, so that nothing genuine is accepted any more",
    "mix_and_match": "genuine parts of different versions, models or devices",
    "endless_data": "more bytes, levels or entries than can be meant",
    "wrong_software": "a genuine version for another class of device",
    "key_compromise": "a key of one role signs for another; lost keys; thresholds met by one key",
    "slow_retrieval": "bytes that trickle, or stop, without an end",
    "malicious_mirror": "addresses and bytes from someone else",
    "replay": "an answer or credential is used again, or elsewhere",
    "parser_differences": "bytes that two libraries read in two ways",
}


def case(name, comment, inputs, expect, *, attack=None, now=None, state=None):
    """One case.

    `expect` is a code for a refusal, or the fields of what is accepted.
    """
    assert attack is None or attack in ATTACKS, attack
    verdict = (
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
        "expect": verdict,
    }
