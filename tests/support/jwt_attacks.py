"""Attacks on JWT sessions alone (RFC 8725): what a token says of its key, time and purpose, and tokens used twice."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from edgewise.contracts.identity import Identity
from edgewise.gateway.identity import IdentityToken
from edgewise.gateway.identity_keys import SigningKey
from edgewise.sessions.claims import token_keys
from edgewise.sessions.jwt import TokenKeys
from support.session_attacks import NEW, NEW_KEY, OLD, OLD_KEY, Attack, Site, nobody


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return head, claims and signature of a token."""
    head, claims, signature = token.split(".")
    head_json, claims_json = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims))
    return head_json, claims_json, signature


def unsigned(head: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return what there is to sign."""
    return f"{b64(json.dumps(head, separators=(',', ':')).encode())}.{b64(json.dumps(claims).encode())}"


def resigned(site: Site, token: str, typ: str = "access+jwt", **changes: Any) -> str:
    """Return a token with other claims, signed by the site's own key: what only its own mistake could let out."""
    claims = {**parts_of(token)[1], **changes}
    return TokenKeys(token_keys(site.settings), [typ]).sign(json.dumps(claims).encode(), typ)


async def refused(site: Site, *tokens: str) -> str:
    """Check that none of these tokens opens anything, in the cookie and in the Authorization field."""
    bearer = site.with_settings(bearer=True)
    for token in tokens:
        nobody(await site.ask("/", f"{site.name}={token}"))
        nobody(await bearer.ask("/", authorization=f"Bearer {token}"))
    await bearer.close()
    return f"{len(tokens)} of {len(tokens)} open nothing, as cookie and as bearer token"


def refresh_of(cookie: str) -> str:
    """Return the refresh token among the cookies of a login."""
    return next(pair.partition("=")[2] for pair in cookie.split("; ") if pair.partition("=")[0].endswith("-refresh"))


async def algorithm_none(site: Site) -> str:
    """The head says that nothing signs (CVE-2015-9235 and its spellings)."""
    head, claims, signature = parts_of((await site.ask("/login")).token)
    tokens = []
    for name in ("none", "None", "NONE", "nOnE", "", "null"):
        for end in ("", signature):
            tokens.append(f"{unsigned({**head, 'alg': name}, {**claims, 'sub': 'victim'})}.{end}")
    tokens.append(f"{unsigned({'typ': 'JWT'}, claims)}.")
    return await refused(site, *tokens)


async def another_key_id(site: Site) -> str:
    """The head names a key that is not there, a file, a query; or none."""
    head, claims, signature = parts_of((await site.ask("/login")).token)
    names: tuple[Any, ...] = ("", "x", "../../../../dev/null", "' OR 1=1 --", 0, None, [head["kid"]], head["kid"] + "A")
    tokens = [f"{unsigned({**head, 'kid': kid}, claims)}.{signature}" for kid in names]
    for kid in ("../../../../dev/null", head["kid"]):
        signing = unsigned({**head, "alg": "HS256", "kid": kid}, claims)
        tokens.append(f"{signing}.{b64(hmac.digest(b'', signing.encode(), 'sha256'))}")
    return await refused(site, *tokens)


async def public_key_as_hmac_secret(site: Site) -> str:
    """The public key, which everybody has, used as the secret of HS256; and RS256 by a key of the attacker's."""
    head, claims, _ = parts_of((await site.ask("/login")).token)
    public = load_pem_private_key(NEW_KEY.encode(), None).public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    tokens = []
    for secret in (raw, pem, pem.strip(), b64(raw).encode(), head["kid"].encode()):
        for name in ("HS256", "HS384", "HS512", "hs256"):
            signing = unsigned({**head, "alg": name}, claims)
            digest = getattr(hashlib, f"sha{name[2:]}")
            tokens.append(f"{signing}.{b64(hmac.new(secret, signing.encode(), digest).digest())}")
    signing = unsigned({**head, "alg": "RS256"}, claims)
    key = rsa.generate_private_key(65537, 2048)
    tokens.append(f"{signing}.{b64(key.sign(signing.encode(), padding.PKCS1v15(), SHA256()))}")
    return await refused(site, *tokens)


async def a_key_brought_along(site: Site) -> str:
    """The head holds, or points to, the attacker's own key: jwk, jku, x5u, x5c; or asks for an extension (crit)."""
    head, claims, _ = parts_of((await site.ask("/login")).token)
    key = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))}
    tokens = []
    for extra in (
        {"jwk": jwk},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/keys"},
        {"x5c": ["AA=="]},
        {"crit": ["exp"], "exp": 0},
        {"b64": False, "crit": ["b64"]},
    ):
        signing = unsigned({**head, "alg": "EdDSA", **extra}, claims)
        tokens.append(f"{signing}.{b64(key.sign(signing.encode()))}")
    return await refused(site, *tokens)


async def signed_by_another_key(site: Site) -> str:
    """The right head and claims, signed by a key of the attacker's."""
    token = (await site.ask("/login")).token
    signing = token.rpartition(".")[0]
    return await refused(
        site,
        f"{signing}.{b64(Ed25519PrivateKey.generate().sign(signing.encode()))}",
        f"{signing}.{b64(hmac.digest(OLD.encode(), signing.encode(), 'sha256'))}",
        f"{signing}.{b64(bytes(64))}",
        f"{signing}.{b64(bytes(32))}",
        f"{signing}.",
        signing,
    )


async def expired_token(site: Site) -> str:
    """An access token after its end, and ones whose times make no sense, signed by the real key."""
    token = (await site.ask("/login")).token
    now = int(time.time())
    assert (await site.ask("/", f"{site.name}={resigned(site, token, exp=now + 60)}")).user == "victim"
    return await refused(
        site,
        resigned(site, token, exp=now - 1),
        resigned(site, token, exp=0),
        resigned(site, token, exp=-1),
        resigned(site, token, exp=f"{now + 100}"),
        resigned(site, token, exp=None),
        resigned(site, token, exp=1e400),
        resigned(site, token, iat=now - 86400, nbf=now - 86400, exp=now + 86400),
        resigned(site, token, created=now - 400 * 86400.0),
    )


async def not_valid_yet(site: Site) -> str:
    """A token of the future: nbf and iat beyond the leeway."""
    token = (await site.ask("/login")).token
    now = int(time.time())
    later = resigned(site, token, iat=now + 60, nbf=now + 60, exp=now + 120)
    return await refused(site, later, resigned(site, token, nbf=now + 60), resigned(site, token, iat=now + 60))


async def for_another_audience(site: Site) -> str:
    """A good token of another host, another issuer, another app with the same key."""
    token = (await site.ask("/login")).token
    other = site.with_settings(namespace="admin")
    foreign = (await other.ask("/login")).token
    elsewhere = (await site.ask("/login", host="other.example")).token
    nobody(await other.ask("/", f"{other.name}={token}"))
    await other.close()
    return await refused(
        site,
        foreign,
        elsewhere,
        resigned(site, token, aud="other.example"),
        resigned(site, token, aud=["shop.example", "other.example"]),
        resigned(site, token, aud=""),
        resigned(site, token, iss="edgewise/admin"),
        resigned(site, token, iss=None),
    )


async def of_another_kind(site: Site) -> str:
    """A refresh token as access token, the reverse, and a JWT that the same key signed for upstreams."""
    login = await site.ask("/login")
    refresh = refresh_of(login.cookie)
    nobody(await site.ask("/", f"{site.name}-refresh={login.token}"))
    for_upstreams = IdentityToken("X-Identity", SigningKey(NEW_KEY.encode()), issuer="edgewise/app")
    line, _ = for_upstreams.write(Identity("victim", "session"), "shop.example", time.time())
    bearer = site.with_settings(bearer=True)
    nobody(await bearer.ask("/", authorization=f"Bearer ~{refresh}"))
    nobody(await bearer.ask("/", authorization=f"Bearer {login.token}~{refresh}"))
    nobody(await bearer.ask("/", login.cookie, authorization="Bearer x"))
    await bearer.close()
    return await refused(site, refresh, line.decode().removeprefix("X-Identity: ").strip())


async def replayed_refresh_token(site: Site) -> str:
    """A refresh token that was used before is used again, by whoever copied it: the whole family ends."""
    strict = site.with_settings(grace=0.001)
    first = refresh_of((await strict.ask("/login")).cookie)
    second = await strict.ask("/", f"{site.name}-refresh={first}")
    assert second.user == "victim"
    assert refresh_of(second.cookie) != first
    assert (await strict.ask("/", second.cookie)).user == "victim"
    await asyncio.sleep(0.05)
    nobody(await strict.ask("/", f"{site.name}-refresh={first}"))
    await asyncio.sleep(site.settings.revocation_delay)
    nobody(await strict.ask("/", second.cookie))
    nobody(await strict.ask("/", f"{site.name}-refresh={refresh_of(second.cookie)}"))
    await strict.close()
    return "opens nothing; the tokens that came of it end too"


async def replayed_within_the_grace(site: Site) -> str:
    """The copy is used right after the victim's: it gets what the victim got, and whose comes second ends both."""
    strict = site.with_settings(grace=3.0)
    first = refresh_of((await strict.ask("/login")).cookie)
    victims = await strict.ask("/", f"{site.name}-refresh={first}")
    thiefs = await strict.ask("/", f"{site.name}-refresh={first}")
    assert refresh_of(thiefs.cookie) == refresh_of(victims.cookie)
    stolen = refresh_of(thiefs.cookie)
    used = await strict.ask("/", f"{site.name}-refresh={stolen}")
    assert used.user == "victim"
    await asyncio.sleep(3.1)
    nobody(await strict.ask("/", f"{site.name}-refresh={stolen}"))
    await asyncio.sleep(site.settings.revocation_delay)
    nobody(await strict.ask("/", used.cookie))
    await strict.close()
    return "found out at the next refresh: all tokens of the family end"


async def refresh_token_of_an_ended_session(site: Site) -> str:
    """A refresh token copied before the logout, and before everything was revoked."""
    first, second = await site.ask("/login"), await site.ask("/login")
    await site.ask("/logout", first.cookie)
    nobody(await site.ask("/", f"{site.name}-refresh={refresh_of(first.cookie)}"))
    await site.ask("/revoke")
    await asyncio.sleep(site.settings.revocation_delay)
    nobody(await site.ask("/", f"{site.name}-refresh={refresh_of(second.cookie)}"))
    nobody(await site.ask("/", second.cookie))
    return "both open nothing"


async def refresh_number_made_up(site: Site) -> str:
    """A refresh token with a number that is still to come, or of a family that is not there, signed by the real key."""
    refresh = refresh_of((await site.ask("/login")).cookie)
    forged = (
        resigned(site, refresh, "refresh+jwt", number=2),
        resigned(site, refresh, "refresh+jwt", number=2**63),
        resigned(site, refresh, "refresh+jwt", sid="0" * 32),
        resigned(site, refresh, "refresh+jwt", exp=1),
        resigned(site, refresh, "refresh+jwt", aud="other.example"),
    )
    for token in forged:
        nobody(await site.ask("/", f"{site.name}-refresh={token}"))
    assert (await site.ask("/", f"{site.name}-refresh={refresh}")).user == "victim"
    return f"{len(forged)} of {len(forged)} open nothing, and end nobody's session"


async def signed_by_a_removed_key(site: Site) -> str:
    """A token of a key that leaked and was replaced; first kept for verifying, then removed."""
    hmac_keys = bool(site.settings.secrets)
    name, old_key, new_key = ("secrets", OLD, NEW) if hmac_keys else ("keys", OLD_KEY, NEW_KEY)
    old = site.with_settings(**{name: (old_key,)})
    cookie = (await old.ask("/login")).cookie
    both = site.with_settings(**{name: (new_key, old_key)})
    assert (await both.ask("/", cookie)).user == "victim"
    nobody(await site.ask("/", cookie))
    nobody(await site.ask("/", f"{site.name}-refresh={refresh_of(cookie)}"))
    for each in (old, both):
        await each.close()
    return "verifies while the old key is listed, then nothing does"


async def every_character_changed(site: Site) -> str:
    """Each character of the refresh token changed, one at a time; and other ways to write the same signature."""
    login = await site.ask("/login")
    refresh = refresh_of(login.cookie)
    for at, letter in enumerate(refresh):
        other = "A" if letter != "A" else "B"
        nobody(await site.ask("/", f"{site.name}-refresh={refresh[:at]}{other}{refresh[at + 1 :]}"))
    head, claims, signature = login.token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + last[last.index(signature[-1]) ^ 1]
    variants = (
        f"{head}.{claims}.{twin}",
        f"{head}.{claims}.{signature}=",
        f"{head}=.{claims}.{signature}",
        f"{head}..{signature}",
        f"{head}.{claims}.{signature}.",
        f".{head}.{claims}.{signature}",
        f" {login.token}x",
        login.token.replace("-", "+").replace("_", "/") + "\xa0",
    )
    return f"{len(refresh)} changed refresh tokens, " + await refused(site, *variants)


JWT_ATTACKS: list[Attack] = [
    algorithm_none,
    another_key_id,
    public_key_as_hmac_secret,
    a_key_brought_along,
    signed_by_another_key,
    expired_token,
    not_valid_yet,
    for_another_audience,
    of_another_kind,
    replayed_refresh_token,
    replayed_within_the_grace,
    refresh_token_of_an_ended_session,
    refresh_number_made_up,
    signed_by_a_removed_key,
    every_character_changed,
]
JWT_KINDS = ("EdDSA", "HS256")
