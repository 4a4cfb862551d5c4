"""Every way in which a device refuses: a stable code, a class that decides what to do next."""

from enum import StrEnum


class Reaction(StrEnum):
    """What a client does after an error of a class (`README.md`, "Errors")."""

    RETRY = "retry"
    FULL = "full"
    STOP = "stop"
    ROLL_BACK = "roll_back"
    WAIT = "wait"


class ContractError(Exception):
    """A named refusal.

    Attributes:
        code: stable string, for example `signature_invalid`; SDKs in every language use the same.
        number: the same as an integer, 1xxx network and storage, 2xxx security, 3xxx patch,
            4xxx activation, 5xxx policy.
        reaction: what the client does next.
        detail: a sentence for people; never needed to decide.
    """

    code = "contract"
    number = 2000
    reaction = Reaction.STOP

    def __init__(self, detail: str = "") -> None:
        """Keep the sentence; the code belongs to the class."""
        super().__init__(f"{self.code}: {detail}" if detail else self.code)
        self.detail = detail
