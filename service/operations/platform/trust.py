"""The chain of trust bundles. Writes `trust_bundles`."""

from datetime import datetime

from sqlalchemy.orm import Session

from sdk_contract.documents import TrustBundle
from sdk_contract.errors import ContractError
from service import store
from service.errors import Conflict, Invalid
from service.operations.platform import audit


class InvalidTrustBundle(Invalid):
    """Devices would refuse the trust bundle; `contract_code` is the code with which they would."""

    code, title = "invalid_trust_bundle", "Invalid trust bundle"


class NoTrustBundle(Conflict):
    """There is no trust bundle yet, so no signature can be verified."""

    code, title = "no_trust_bundle", "No trust bundle yet"


def latest(session: Session) -> TrustBundle:
    """The newest trust bundle.

    Raises:
        NoTrustBundle: there is none.
    """
    chain = store.trust.trust_chain(session)
    if not chain:
        raise NoTrustBundle("there is no trust bundle; publish one with `graylag keys publish`")
    return TrustBundle.from_initial_envelope(chain[-1].envelope)


def add(session: Session, envelope: bytes, *, actor: str, now: datetime) -> int:
    """Add a trust bundle and return its version. Adding the newest one again changes nothing.

    Raises:
        InvalidTrustBundle: its signatures are invalid, or it does not follow the newest one.
    """
    chain = store.trust.trust_chain(session)
    if chain and chain[-1].envelope == envelope:
        return chain[-1].version
    try:
        previous = TrustBundle.from_initial_envelope(chain[-1].envelope) if chain else None
        bundle = (
            previous.verify_successor(envelope) if previous else TrustBundle.from_initial_envelope(envelope)
        )
    except ContractError as error:
        raise InvalidTrustBundle(str(error), field="envelope", contract_code=error.code) from error
    session.add(store.trust.TrustBundleRow(version=bundle.version, envelope=envelope))
    audit.record(session, actor=actor, verb="trust_bundle.add", subject=f"trust:{bundle.version}", now=now)
    return bundle.version
