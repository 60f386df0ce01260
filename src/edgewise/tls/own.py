"""The context of a certificate that edgewise gets by itself: made once, loaded anew when the file changes.

`load_cert_chain` on a context in use replaces the certificate for handshakes to come and keeps the keys of session
tickets. So a context made before workers fork stays common to them: sessions resume at any worker, after a renewal too.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.tls.errors import TlsError
from edgewise.tls.files import Stamp, load_pair, read_certificate, stamp
from edgewise.tls.pem import key_type_of

if TYPE_CHECKING:
    from edgewise.tls.managed import Managed

_log = logging.getLogger("edgewise.tls")


class OwnContext:
    """A context and the file that is loaded into it: the certificate's, or the placeholder's until there is one."""

    def __init__(self, managed: Managed, make: Callable[[], ssl.SSLContext]) -> None:
        """`make` returns a context with all settings but the certificate. Raises TlsError for a bad placeholder."""
        self._managed = managed
        self._make = make
        self._loaded: Stamp | None = None
        self._key_type = ""
        self.certified = False
        """Is it the real certificate that is loaded?"""
        self.context = make()
        if not self.refresh():
            self._load(managed.placeholder)

    def refresh(self) -> bool:
        """Load the certificate's file if it changed; is the real certificate loaded?

        A file that cannot be used is logged, and what is loaded stays.
        """
        file = self._managed.file
        if not Path(file).exists():
            return self.certified
        try:
            found = stamp(file)
            if found != self._loaded:
                self._load(file)
                self._loaded, self.certified = found, True
        except TlsError as error:
            _log.error("%s", error)
        return self.certified

    def _load(self, file: str) -> None:
        """Load into a context of its own first: a file that does not fit must leave the one in use alone.

        Another kind of key needs another context, where no certificate of the old kind is left to be chosen.
        """
        fresh = self._make()
        load_pair(fresh, file, file)
        key_type = key_type_of(read_certificate(file))
        if key_type == self._key_type:
            load_pair(self.context, file, file)
        else:
            self.context, self._key_type = fresh, key_type
