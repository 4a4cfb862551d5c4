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


class SignatureInvalid(ContractError):
    """A signature by a known key does not fit the bytes."""

    code, number = "signature_invalid", 2001


class ThresholdNotMet(ContractError):
    """Fewer unique keys than the role asks for have signed."""

    code, number = "threshold_not_met", 2002


class UnknownKey(ContractError):
    """None of the signatures is by a key of the role."""

    code, number = "unknown_key", 2003


class WrongPayloadType(ContractError):
    """The envelope says that it holds another kind of document."""

    code, number = "payload_type", 2004


class RollbackRefused(ContractError):
    """The version is older than what the device runs, or below its floor, and nobody allowed that."""

    code, number = "rollback", 2005


class Expired(ContractError):
    """The document's time is over; it starts no new install."""

    code, number = "expired", 2006


class MixedVersions(ContractError):
    """Parts of different versions were offered as one."""

    code, number = "mixed_versions", 2007


class Oversize(ContractError):
    """More bytes than were signed or than the bound of the document's kind."""

    code, number = "oversize", 2008


class WrongDevice(ContractError):
    """The directive is for another device."""

    code, number = "wrong_device", 2009


class WrongNonce(ContractError):
    """The directive does not answer this poll: a replay."""

    code, number = "wrong_nonce", 2010


class WrongRequest(ContractError):
    """The directive was made for other request bytes."""

    code, number = "wrong_request", 2011


class InputHashMismatch(ContractError):
    """Downloaded bytes are not those that were signed."""

    code, number, reaction = "input_hash_mismatch", 2012, Reaction.FULL


class OutputHashMismatch(ContractError):
    """A patch gave other bytes than the manifest names."""

    code, number, reaction = "output_hash_mismatch", 2013, Reaction.FULL


class WrongVariant(ContractError):
    """The variant is not for this class of device."""

    code, number = "wrong_variant", 2014


class Malformed(ContractError):
    """Not the JSON, or not the fields, that the document's kind asks for."""

    code, number = "malformed", 2015


class TrustChainBroken(ContractError):
    """A trust bundle does not follow from the one before it."""

    code, number = "trust_chain", 2016


class WrongManifest(ContractError):
    """The manifest is not the one that the directive names."""

    code, number = "wrong_manifest", 2017


class WrongModel(ContractError):
    """A document speaks of another model than was asked for."""

    code, number = "wrong_model", 2018


class FastForward(ContractError):
    """The floor leaps so far that nothing genuine might ever be above it."""

    code, number = "fast_forward", 2019
