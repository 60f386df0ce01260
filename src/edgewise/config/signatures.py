"""The tables of signatures: how a sender signs its requests with a secret that both know."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from edgewise.config.problems import BadValue, show
from edgewise.config.types import Age, Duration, FieldName, FileName, Model, Size, Text

PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([!#$%&'*+.^_`|~0-9A-Za-z-]+))?\}")
_PLAIN = ("body", "timestamp", "method", "path", "query", "target", "host")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
Encoding = Literal["hex", "base64", "base64url"]

PRESETS: dict[str, dict[str, Any]] = {
    "github": {"header": "X-Hub-Signature-256", "prefix": "sha256="},
    "stripe": {"header": "Stripe-Signature", "pairs": "v1", "timestamp": "t", "signed": "{timestamp}.{body}"},
    "slack": {
        "header": "X-Slack-Signature",
        "prefix": "v0=",
        "timestamp_header": "X-Slack-Request-Timestamp",
        "signed": "v0:{timestamp}:{body}",
    },
    "standard-webhooks": {
        "header": "webhook-signature",
        "prefix": "v1,",
        "separator": " ",
        "encoding": "base64",
        "timestamp_header": "webhook-timestamp",
        "signed": "{header:webhook-id}.{timestamp}.{body}",
        "secret_form": "whsec",
    },
}
"""What a preset stands for."""


def _template(text: str) -> str:
    """Check what is signed. Raises BadValue."""
    rest = PLACEHOLDER.sub("", text)
    found = PLACEHOLDER.findall(text)
    wrong = [name for name, of in found if (name == "header") != bool(of) or name not in ("header", *_PLAIN)]
    if "{" in rest or "}" in rest or wrong:
        known = ", ".join(f"{{{name}}}" for name in _PLAIN)
        raise BadValue(f"{show(text)} is not what can be signed", f"text with {known} or {{header:NAME}}")
    if ("body", "") not in found:
        raise BadValue(f"{show(text)} leaves the content unsigned", "{body} in it")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise BadValue(f"{show(text)} is not the name of an environment variable", 'a name such as "WEBHOOK_SECRET"')
    return text


SIGNATURE_VALIDATORS = {_template: "template", _variable: "name"}
"""What checks the values here -> in words; known to the reference."""


class Signature(Model):
    """How a sender signs its requests (HMAC, RFC 2104): webhooks of GitHub, Stripe, Slack, or in a way of one's own.

    A preset gives the keys that say how; those that are written here go before it. The secrets of all three keys count,
    so that one can be replaced while both are in use.
    """

    preset: Literal["github", "stripe", "slack", "standard-webhooks"] | None = None
    """Who sends: GitHub, Stripe, Slack, or whoever keeps to Standard Webhooks."""
    secrets: list[Annotated[str, Field(min_length=8)]] = Field(default=[], repr=False)
    """Shared secrets, or in the environment: EDGEWISE_SIGNATURES__NAME__SECRETS."""
    secret_files: list[FileName] = Field(default=[])
    """Files with one secret each; read at start and at each reload."""
    secret_env: list[Annotated[str, AfterValidator(_variable)]] = Field(default=[])
    """Environment variables with one secret each."""
    secret_form: Literal["text", "base64", "whsec"] = "text"
    """How the key is written: as it is, in base64, or in base64 behind `whsec_` (Standard Webhooks)."""
    header: FieldName = "X-Signature"
    """Field with the signature."""
    prefix: str = ""
    """What stands before the signature in it."""
    separator: str = ""
    """What parts several signatures in it, one of which must be right; none: there is one."""
    pairs: str = ""
    """The field is of pairs `t=...,v1=...`: name of those with a signature."""
    timestamp: str = ""
    """The same: name of the pair with the time."""
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    """Hash function of the HMAC."""
    encoding: Encoding = "hex"
    """How the signature is written."""
    signed: Annotated[str, AfterValidator(_template)] = "{body}"
    """What is signed: text with {body}, {timestamp}, {method}, {path}, {query}, {target}, {host}, {header:NAME}."""
    timestamp_header: FieldName | None = None
    """Field with the time of the request, in Unix seconds."""
    tolerance: Duration = 300.0
    """How far that may be from now."""
    once: Age | None = None
    """How long a signature is refused when it comes again, with [state]; by default as long as its time is within the
    tolerance, and not at all without a time. 0 turns it off."""
    max_body: Size = 1 << 20
    """Content at most, which is gathered before anything is sent on; more gets 413."""
    name: Text | None = None
    """Name of the sender for policies, logs and servers; that of the table by default."""
    groups: list[Text] = Field(default=[])
    """Groups of the sender."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("preset"), str):
            return data
        return PRESETS.get(data["preset"], {}) | data
