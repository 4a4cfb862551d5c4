"""The errors of the contract. Every error has a stable code and the reaction that a client must show."""

from enum import StrEnum


class Reaction(StrEnum):
    """What a client does after an error (`README.md`, section 13)."""

    RETRY = "retry"
    FULL_DOWNLOAD = "full_download"
    STOP = "stop"
    ROLL_BACK = "roll_back"
    WAIT = "wait"


class ContractError(Exception):
    """Base of all errors that a device reports.

    Attributes:
        code: stable string, for example `signature_invalid`; the same in the SDKs of all languages.
        number: the code as an integer: 1xxx network and storage, 2xxx security, 3xxx patch, 4xxx activation,
            5xxx policy.
        reaction: what the client does next.
        detail: one sentence for people; code must not depend on it.
    """

    code = "contract"
    number = 2000
    reaction = Reaction.STOP

    def __init__(self, detail: str = "") -> None:
        """Store `detail`; the code belongs to the class."""
        super().__init__(f"{self.code}: {detail}" if detail else self.code)
        self.detail = detail


class SignatureInvalid(ContractError):
    """A signature by a known key does not verify."""

    code, number = "signature_invalid", 2001


class ThresholdNotMet(ContractError):
    """Fewer different keys have signed than the role requires."""

    code, number = "threshold_not_met", 2002


class UnknownKey(ContractError):
    """No signature is by a key of the role."""

    code, number = "unknown_key", 2003


class WrongPayloadType(ContractError):
    """The envelope holds another kind of document."""

    code, number = "wrong_payload_type", 2004


class RollbackRefused(ContractError):
    """The version is below the floor, or older than the running one without an order to roll back."""

    code, number = "rollback_refused", 2005


class Expired(ContractError):
    """The document has expired; it cannot start a new install."""

    code, number = "expired", 2006


class MixedVersions(ContractError):
    """Parts of different versions were offered as one version."""

    code, number = "mixed_versions", 2007


class Oversize(ContractError):
    """More bytes than were signed, or than the limit of this kind of document."""

    code, number = "oversize", 2008


class WrongDevice(ContractError):
    """The directive is for another device."""

    code, number = "wrong_device", 2009


class WrongNonce(ContractError):
    """The directive does not carry the nonce of this poll: a replay."""

    code, number = "wrong_nonce", 2010


class WrongRequest(ContractError):
    """The directive was made for other request bytes."""

    code, number = "wrong_request", 2011


class InputHashMismatch(ContractError):
    """The downloaded bytes do not have the signed digest."""

    code, number, reaction = "input_hash_mismatch", 2012, Reaction.FULL_DOWNLOAD


class OutputHashMismatch(ContractError):
    """The patch produced bytes that do not have the manifest's digest."""

    code, number, reaction = "output_hash_mismatch", 2013, Reaction.FULL_DOWNLOAD


class WrongVariant(ContractError):
    """The manifest does not have the variant that the directive names."""

    code, number = "wrong_variant", 2014


class Malformed(ContractError):
    """The bytes are not valid JSON, or a field does not match its schema."""

    code, number = "malformed", 2015


class TrustChainBroken(ContractError):
    """A trust bundle's version does not follow the version before it."""

    code, number = "trust_chain_broken", 2016


class WrongManifest(ContractError):
    """The manifest is missing, or is not the one that the directive names."""

    code, number = "wrong_manifest", 2017


class WrongModel(ContractError):
    """A document is for another model than the device asked for."""

    code, number = "wrong_model", 2018


class FastForward(ContractError):
    """The manifest raises the floor so far that it could lock out every later version."""

    code, number = "fast_forward", 2019


def as_clause(message: str) -> str:
    """Return a title or a message of pydantic in the style of our errors: a lower-case clause without a period."""
    clause = message.removeprefix("Value error, ").removesuffix(".")
    starts_with_acronym = clause[:2].isupper()
    return clause if starts_with_acronym else clause[:1].lower() + clause[1:]
