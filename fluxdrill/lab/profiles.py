"""What a profile means for the parts of a lab that no repository file holds: the bootstrap and the controllers."""

from __future__ import annotations

from dataclasses import replace

from fluxdrill.flux.bootstrap import Sync
from fluxdrill.flux.controllers import Pace
from fluxdrill.repository.profile import Profile


def pace_of(profile: Profile) -> Pace:
    """Return how fast the controllers retry: `as-written` is what `flux install` sets."""
    if profile is Profile.AS_WRITTEN:
        return Pace(requeue=30, http_retries=9, jitter_percent=5, leases=True)
    return Pace()


def sync_of(profile: Profile, sync: Sync) -> Sync:
    """Return `sync` at the profile's intervals."""
    if profile is Profile.AS_WRITTEN:
        return sync
    return replace(sync, git_interval="2s", retry_interval="2s", timeout="30s")
