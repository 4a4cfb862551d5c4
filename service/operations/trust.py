"""The chain of trust bundles. Writes `trust_bundles`."""

from datetime import datetime

from sqlalchemy.orm import Session

from sdk_contract.documents import TrustBundle
from sdk_contract.errors import ContractError
from service import store
from service.errors import Conflict, Invalid
from service.operations import audit


class InvalidTrustBundle(Invalid):
    """A bundle that devices would refuse; `contract_code` says as what."""

    code, title = "invalid_trust_bundle", "Invalid trust bundle"


class NoTrustBundle(Conflict):
    """Nothing here says yet whose signatures count."""

    code, title = "no_trust_bundle", "No trust bundle yet"


def newest(session: Session) -> TrustBundle:
    """The bundle that devices are told to follow.

    Raises:
        NoTrustBundle: none has been handed in.
    """
    chain = store.trust.trust_chain(session)
    if not chain:
        raise NoTrustBundle("hand in a trust bundle first: graylag keys publish")
    return TrustBundle.open_first(chain[-1].envelope)


def add(session: Session, envelope: bytes, *, actor: str, now: datetime) -> int:
    """Keep a bundle that devices will accept; handing the newest one in again changes nothing.

    Raises:
        InvalidTrustBundle: it does not verify, or does not follow from the newest one.
    """
    chain = store.trust.trust_chain(session)
    if chain and chain[-1].envelope == envelope:
        return chain[-1].version
    try:
        newest = TrustBundle.open_first(chain[-1].envelope) if chain else None
        bundle = newest.open_next(envelope) if newest else TrustBundle.open_first(envelope)
    except ContractError as error:
        raise InvalidTrustBundle(str(error), field="envelope", contract_code=error.code) from error
    session.add(store.trust.TrustBundleRow(version=bundle.version, envelope=envelope))
    audit.record(session, actor=actor, verb="trust.add", subject=f"trust:{bundle.version}", now=now)
    return bundle.version
