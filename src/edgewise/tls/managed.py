"""Which certificates edgewise gets by itself, and the contexts that a configuration asks for."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from edgewise.config.tls import internal_names, public_names
from edgewise.tls import internal
from edgewise.tls.contexts import ContextSet
from edgewise.tls.errors import TlsError
from edgewise.tls.files import host_names, read_certificate
from edgewise.tls.pem import new_key, private_pem, self_signed
from edgewise.tls.store import Record, Store, check_directory, write_private

if TYPE_CHECKING:
    from edgewise.config.schema import Config

_log = logging.getLogger("edgewise.tls")


class Managed(NamedTuple):
    """A certificate that edgewise gets and renews by itself."""

    name: str
    """Under which it is kept."""
    names: tuple[str, ...]
    """What it is for."""
    file: str
    """Key and chain (PEM); there may be none yet."""
    placeholder: str
    """Self-signed, to be shown until there is one (PEM)."""


def managed_certificates(config: Config) -> list[Managed]:
    """Return what edgewise must get for `config`, with placeholders made. Empty where `tls.directory` is not set yet.

    Names that a certificate of the configuration covers are left to it. The internal authority's certificate is made
    here where it does not fit: it needs nobody else. Raises TlsError.
    """
    settings = config.tls
    if settings.directory is None or not (settings.acme or settings.internal):
        return []
    store = Store(settings.directory)
    hosts = [host for route in config.routes for host in route.hosts]
    try:
        check_directory(store.directory)
        if settings.internal:
            return [_internal(store, _left(config, internal_names(hosts)))]
        assert settings.acme is not None
        placeholder = _placeholder(store, settings.acme.key_type)
        names = settings.acme.names or _left(config, public_names(hosts))
        return [Managed(name, (name,), str(store.certificate_file(name)), placeholder) for name in names]
    except OSError as error:
        raise TlsError(f"{error.filename or store.directory}: {error.strerror or error}") from error


def build_contexts(config: Config, previous: ContextSet | None = None) -> ContextSet | None:
    """Return the contexts of the TLS listeners, None where there are none; see `ContextSet`. Raises TlsError."""
    if not config.server.tls_listen:
        return None
    managed = managed_certificates(config)
    if not (managed or config.tls.certificates) and config.tls.directory is None:
        return None
    contexts = ContextSet(config.tls, previous, managed, http2=config.server.http2)
    for warning in contexts.warnings:
        _log.warning("%s", warning)
    return contexts


def _left(config: Config, names: list[str]) -> list[str]:
    """Return the names that no certificate of the configuration is for."""
    covered: set[str] = set()
    for entry in config.tls.certificates:
        covered.update(entry.hosts or host_names(read_certificate(entry.cert)))
    return [name for name in names if name not in covered and f"*.{name.partition('.')[2]}" not in covered]


def _internal(store: Store, names: list[str]) -> Managed:
    pem = store.certificate(internal.SOURCE)
    if pem is None or not internal.fits(store, pem, names):
        store.keep_certificate(internal.SOURCE, internal.issue(store, names))
        store.keep_record(internal.SOURCE, Record(internal.SOURCE, issued=time.time()))
    file = str(store.certificate_file(internal.SOURCE))
    return Managed(internal.SOURCE, tuple(names), file, file)


def _placeholder(store: Store, key_type: str) -> str:
    """Return the file of a certificate that nobody trusts; it says so in its name."""
    file = store.directory / f"placeholder-{key_type}.pem"
    if not file.exists():
        key = new_key(key_type)
        write_private(file, private_pem(key) + self_signed("edgewise: no certificate yet", key))
    return str(file)
