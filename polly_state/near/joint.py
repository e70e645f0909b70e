"""Joint trust: one near cache over several servers, each of which tells of its own keys alone."""

from __future__ import annotations

import math

from polly_state.near.cache import NearCache

__all__ = ["JointTrust", "Voucher"]


class JointTrust:
    """What is near is handed out while all vouch for it: nobody keeps book of which server has which key."""

    def __init__(self, near: NearCache) -> None:
        self.near = near
        self._vouchers: set[Voucher] = set()

    def voucher(self) -> Voucher:
        """One more whose word is needed from now on."""
        voucher = Voucher(self)
        self._vouchers.add(voucher)
        self.near.distrust()
        return voucher

    def dismiss(self, voucher: Voucher) -> None:
        """Whose word is not needed any more; what they had vouched for is dropped."""
        self._vouchers.discard(voucher)
        self.near.distrust()

    def settle(self) -> None:
        """Go by what all of them say now."""
        until = min((each.until for each in self._vouchers), default=-math.inf)
        lifetime = min((each.lifetime for each in self._vouchers), default=math.inf)
        if until == -math.inf:
            return
        if lifetime < math.inf:
            self.near.trust_briefly(lifetime)
        else:
            self.near.trust(until)


class Voucher:
    """One server's part in it; see `NearCache`."""

    def __init__(self, joint: JointTrust) -> None:
        self.until = -math.inf
        self.lifetime = math.inf
        self._joint = joint
        self.invalidate = joint.near.invalidate
        self.flush = joint.near.flush

    def trust(self, until: float) -> None:
        """See `NearCache.trust`."""
        self.until, self.lifetime = until, math.inf
        self._joint.settle()

    def trust_briefly(self, lifetime: float) -> None:
        """See `NearCache.trust_briefly`."""
        self.until, self.lifetime = math.inf, lifetime
        self._joint.settle()

    def distrust(self) -> None:
        """See `NearCache.distrust`."""
        self.until = -math.inf
        self._joint.near.distrust()
