"""The conversation with an authority, without I/O: account, order, challenge, certificate (RFC 8555 section 7)."""

from __future__ import annotations

import re
from typing import Any

from edgewise.tls.acme.jws import AccountKey, encode
from edgewise.tls.acme.messages import (
    AcmeError,
    Challenge,
    Pause,
    Present,
    Request,
    Response,
    Steps,
    described,
    failure,
    list_of,
    members,
    text_of,
)

_PATIENCE = 180.0
"""Seconds of pauses at most until an authority has checked a challenge or made a certificate."""
_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_NONCES = 6
"""Nonces tried for one request; authorities may refuse good ones (RFC 8555 section 6.5)."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")
_KEY_COMPROMISE, SUPERSEDED = 1, 4
"""Reasons of a revocation (RFC 5280 section 5.3.1)."""


class ChallengeError(AcmeError):
    """The authority could not see the answer to a challenge, or offers none of that kind."""


class AcmeSession:
    """One account at one authority. Every method is a conversation (see `messages.Steps`)."""

    def __init__(self, directory: str, key: AccountKey, account: str | None = None) -> None:
        """`account` is the URL of the account where it is known."""
        self._directory_url = directory
        self._key = key
        self.account = account
        self._directory: dict[str, Any] = {}
        self._nonce = ""

    def sign_in(self, email: str | None, external: tuple[str, str] | None = None) -> Steps[None]:
        """Fetch the directory; make the account where its URL is not known, or where the authority forgot it.

        `external` is (key id, HMAC key) of an account that exists already.
        """
        self._directory = members(self._good((yield Request("GET", self._directory_url))))
        if self.account is not None:
            try:
                yield from self._post(self.account, {"contact": _contact(email)})
                return
            except AcmeError as error:
                if error.kind not in ("accountDoesNotExist", "unauthorized", "malformed"):
                    raise
                self.account = None
        url = text_of(self._directory, "newAccount")
        payload: dict[str, Any] = {"termsOfServiceAgreed": True, "contact": _contact(email)}
        if external is not None:
            try:
                payload["externalAccountBinding"] = self._key.bound_to(*external, url)
            except ValueError as error:
                raise AcmeError(f"external_account.hmac_key is not base64url: {error}") from None
        response = yield from self._post(url, payload)
        self.account = _location(response)

    def order(self, name: str, kind: str, request: bytes, replaces: str | None = None) -> Steps[bytes]:
        """Return the certificate chain (PEM) for the signing request `request` (DER), proving `name` by one challenge.

        `replaces` identifies the certificate that it follows, told where the authority has a use for it (RFC 9773).
        Raises ChallengeError where another kind of challenge may do better.
        """
        payload: dict[str, Any] = {"identifiers": [{"type": "dns", "value": name}]}
        if replaces is not None and "renewalInfo" in self._directory:
            payload["replaces"] = replaces
        response = yield from self._post(text_of(self._directory, "newOrder"), payload)
        order, url = members(response), _location(response)
        for authorization in list_of(order, "authorizations"):
            yield from self._authorize(str(authorization), name, kind)
        order = yield from self._poll(url, ("ready", "valid"), "order")
        if order["status"] == "ready":
            response = yield from self._post(text_of(order, "finalize"), {"csr": encode(request)})
            order = members(response)
            if order.get("status") != "valid":
                order = yield from self._poll(url, ("valid",), "order")
        response = yield from self._post(text_of(order, "certificate"), None)
        return response.body

    def revoke(self, certificate: bytes, reason: int = SUPERSEDED) -> Steps[None]:
        """Revoke a certificate (DER) of this account (RFC 8555 section 7.6)."""
        url = text_of(self._directory, "revokeCert")
        yield from self._post(url, {"certificate": encode(certificate), "reason": reason})

    def renewal_info(self, identifier: str) -> Steps[tuple[str, str, float] | None]:
        """Return (start, end, seconds until asking again) of the window in which the authority wants a renewal.

        None where it has no such wish (RFC 9773 section 4). `identifier` names the certificate.
        """
        base = self._directory.get("renewalInfo")
        if not isinstance(base, str):
            return None
        response: Response = self._good((yield Request("GET", f"{base.rstrip('/')}/{identifier}")))
        window = members(response).get("suggestedWindow")
        if not isinstance(window, dict):
            raise AcmeError("the authority's answer lacks 'suggestedWindow'")
        return text_of(window, "start"), text_of(window, "end"), response.retry_after() or 6 * 3600.0

    def _authorize(self, url: str, name: str, kind: str) -> Steps[None]:
        response = yield from self._post(url, None)
        authorization = members(response)
        if authorization.get("status") == "valid":
            return
        challenge = self._challenge(authorization, name, kind)
        yield Present(challenge)
        yield from self._post(challenge.url, {})
        yield from self._poll(url, ("valid",), "authorization", kind)

    def _challenge(self, authorization: dict[str, Any], name: str, kind: str) -> Challenge:
        for offer in list_of(authorization, "challenges"):
            if isinstance(offer, dict) and offer.get("type") == kind:
                token = text_of(offer, "token")
                if not _TOKEN.fullmatch(token):
                    raise AcmeError("the authority's token has characters that it may not have")
                return Challenge(name, kind, token, f"{token}.{self._key.thumbprint}", text_of(offer, "url"))
        raise ChallengeError(f"the authority does not offer {kind}")

    def _poll(self, url: str, wanted: tuple[str, ...], what: str, kind: str = "") -> Steps[dict[str, Any]]:
        """Ask again and again until an object has a wanted state, at the pace that the authority sets."""
        waited, pause = 0.0, _PAUSE
        while True:
            response = yield from self._post(url, None)
            found = members(response)
            status = found.get("status")
            if status in wanted:
                return found
            if status not in ("pending", "processing", "ready"):
                raise _refused(found, what, kind)
            pause = min(response.retry_after() or pause * 1.5, _LONGEST_PAUSE)
            if waited + pause > _PATIENCE:
                raise AcmeError(f"the {what} was still {status} after {waited:.0f} s")
            waited += pause
            yield Pause(pause)

    def _post(self, url: str, payload: Any) -> Steps[Response]:
        """POST a signed request, again with a fresh nonce where the authority refused the one used."""
        for attempt in range(_NONCES):
            if not self._nonce:
                response = self._good((yield Request("HEAD", text_of(self._directory, "newNonce"))))
                if not self._nonce:
                    raise AcmeError("the authority gives no nonce")
            nonce, self._nonce = self._nonce, ""
            response = yield Request("POST", url, self._key.sign(url, nonce, payload, self.account))
            try:
                return self._good(response)
            except AcmeError as error:
                if error.kind != "badNonce" or attempt == _NONCES - 1:
                    raise
        raise AssertionError("not reached")

    def _good(self, response: Response) -> Response:
        self._nonce = response.headers.get("replay-nonce", self._nonce)
        if response.status >= 300:
            raise failure(response)
        return response


def _contact(email: str | None) -> list[str]:
    return [f"mailto:{email}"] if email else []


def _location(response: Response) -> str:
    location = response.headers.get("location")
    if not location:
        raise AcmeError("the authority's answer lacks a Location")
    return location


def _refused(found: dict[str, Any], what: str, kind: str) -> AcmeError:
    """Return the error of an authorization or order that came to nothing; it stands in the challenge or the order."""
    problems = [found.get("error")]
    problems += [offer.get("error") for offer in found.get("challenges") or [] if isinstance(offer, dict)]
    name, words = next((described(problem) for problem in problems if problem), ("", ""))
    text = words or f"the {what} is {found.get('status')}"
    return ChallengeError(f"{kind}: {text}", name) if kind else AcmeError(text, name)
