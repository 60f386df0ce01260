"""Checks of what a provider signed: ID tokens and logout tokens. Their signature is good when they come here."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgewise.gateway.claims import claim
from edgewise.protocols.jose import base64url

if TYPE_CHECKING:
    from edgewise.config.oidc import Oidc

LEEWAY = 60.0
"""Seconds by which the clocks may differ."""
_LOGOUT_AGE = 300.0
"""Seconds after which a logout token is no longer taken."""
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
MOST_GROUPS = 128
_MOST_TEXT = 255
"""Characters of a subject at most (OpenID Connect Core 1.0 section 2); sid is held to it too."""


class NotGood(Exception):
    """A token is not what it has to be; the text, for the log, says in what."""


def check_id_token(
    algorithm: str, claims: Mapping[str, Any], spec: Oidc, now: float, *, nonce: str | None, access: str
) -> None:
    """Check an ID token of the token endpoint (OpenID Connect Core 1.0 section 3.1.3.7). Raises NotGood.

    `nonce` is None for one that came with a refresh (section 12.2); `access` is the access token that came along.
    """
    _check_issued(claims, spec, now)
    if not _is_time(claims.get("exp")) or claims["exp"] + LEEWAY <= now:
        raise NotGood("it is expired, or does not say when it is")
    _text(claims, "sub")
    if nonce is not None:
        told = claims.get("nonce")
        if not isinstance(told, str) or not hmac.compare_digest(told.encode(), nonce.encode()):
            raise NotGood("its nonce is that of another login")
        _check_age(claims, spec, now)
    told = claims.get("at_hash")
    if told is not None and told != _half_hash(algorithm, access):
        raise NotGood("its at_hash is that of another access token")


def check_logout_token(claims: Mapping[str, Any], spec: Oidc, now: float) -> None:
    """Check a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6), all but its `jti`. Raises NotGood."""
    _check_issued(claims, spec, now)
    if abs(now - claims["iat"]) > _LOGOUT_AGE:
        raise NotGood("it is too old")
    if claims.get("exp") is not None and (not _is_time(claims["exp"]) or claims["exp"] + LEEWAY <= now):
        raise NotGood("it is expired")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(_LOGOUT_EVENT), dict):
        raise NotGood("it tells of no logout")
    if "nonce" in claims:
        raise NotGood("it has a nonce: it is an ID token")
    named = [_text(claims, key) for key in ("sid", "sub") if key in claims]
    if not named:
        raise NotGood("it names neither a session nor a subject")
    _text(claims, "jti")


def _check_issued(claims: Mapping[str, Any], spec: Oidc, now: float) -> None:
    """Check who issued a token, for whom, and that it was not in the future."""
    if claims.get("iss") != spec.issuer:
        raise NotGood("it is of another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if spec.client_id not in audiences:
        raise NotGood("it is for another client")
    party = claims.get("azp")
    if party != spec.client_id and (party is not None or len(audiences) > 1):
        raise NotGood("it was issued to another client")
    if not _is_time(claims.get("iat")) or claims["iat"] - LEEWAY > now:
        raise NotGood("it does not say when it was issued, or says a time to come")
    if claims.get("nbf") is not None and (not _is_time(claims["nbf"]) or claims["nbf"] - LEEWAY > now):
        raise NotGood("it does not count yet")


def _check_age(claims: Mapping[str, Any], spec: Oidc, now: float) -> None:
    """Check when the user was authenticated, where that matters (Core section 3.1.2.1)."""
    if spec.max_age is None:
        return
    if not _is_time(claims.get("auth_time")) or now - claims["auth_time"] > spec.max_age + LEEWAY:
        raise NotGood("the user was authenticated too long ago, or it does not say when")


def _text(claims: Mapping[str, Any], key: str) -> str:
    value = claims.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_TEXT:
        raise NotGood(f"it has no usable {key}")
    return value


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11


def _half_hash(algorithm: str, access: str) -> str:
    """Return the left half of the access token's hash (Core section 3.1.3.6); Ed25519 goes with SHA-512."""
    digest = _HASHES.get(algorithm[-3:], hashlib.sha512)(access.encode()).digest()
    return base64url(digest[: len(digest) // 2]).decode()


# ---- claims ----------------------------------------------------------------------------------------------------------


def unmet(claims: Mapping[str, Any], required: Mapping[str, str | bool | int]) -> str | None:
    """Return the name of the first claim that is not as it must be, True not being 1; None where all are."""
    for name, wanted in required.items():
        found = claim(claims, name)
        if isinstance(found, list):
            if not any(type(one) is type(wanted) and one == wanted for one in found):
                return name
        elif type(found) is not type(wanted) or found != wanted:
            return name
    return None


def user_of(claims: Mapping[str, Any], name: str) -> str:
    """Return who logs in, by the claim `name`. Raises NotGood for what no header field could tell."""
    user = claim(claims, name)
    if not isinstance(user, str) or not 0 < len(user) <= 256 or not _is_visible(user):
        raise NotGood(f"the claim {name} names no user in 1 to 256 visible ASCII characters")
    return user


def groups_of(claims: Mapping[str, Any], name: str) -> tuple[list[str], int]:
    """Return the groups in the claim `name`, and how many of what it has are none: 1 to 64 visible ASCII characters
    without a comma each, the first 128 of them."""
    told = claim(claims, name)
    found: Sequence[Any] = told if isinstance(told, list) else [told] if isinstance(told, str) else []
    kept = list(dict.fromkeys(one for one in found if isinstance(one, str) and _is_group(one)))[:MOST_GROUPS]
    return kept, len(found) - len(kept)


def _is_group(text: str) -> bool:
    return 0 < len(text) <= 64 and _is_visible(text) and "," not in text


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
