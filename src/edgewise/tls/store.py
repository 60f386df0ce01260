"""What edgewise keeps of its own certificates on disk: readable by its user only, replaced in one step.

accounts/AUTHORITY.pem, .json    key and URL of the account at an ACME authority
certificates/NAME.pem            key, then certificate chain
certificates/NAME.json           where it came from, failures since, when to try again
challenges/NAME.pem              certificate that answers a challenge under way (RFC 8737)
internal/root.pem, root.key      the authority for development
placeholder-KIND.pem             what a host shows before it has a certificate
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from edgewise.tls.acme.jws import AccountKey
from edgewise.tls.errors import TlsError


class Record(msgspec.Struct):
    """What is known of a certificate beside itself; times are Unix times."""

    source: str = ""
    """Directory URL of the authority it came from, or "internal"."""
    issued: float = 0.0
    failures: int = 0
    """In a row, since the last success."""
    tried: str = ""
    """Source that failed."""
    retry_at: float = 0.0
    error: str = ""
    window: tuple[float, float] | None = None
    """When the authority wants it renewed (RFC 9773)."""
    ask_at: float = 0.0
    """When to ask for the window again."""


class _Account(msgspec.Struct):
    url: str


class Store:
    """One directory. Every method raises OSError for what cannot be read or written, unless it says otherwise."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    # ---- certificates ------------------------------------------------------------------------------------------------

    def certificate_file(self, name: str) -> Path:
        """Return where the certificate of `name` is kept, whether or not there is one."""
        return self.directory / "certificates" / f"{_file_name(name)}.pem"

    def certificate(self, name: str) -> bytes | None:
        """Return key and chain of `name`, None where there is none."""
        try:
            return self.certificate_file(name).read_bytes()
        except FileNotFoundError:
            return None

    def keep_certificate(self, name: str, pem: bytes) -> None:
        """Replace key and chain of `name`."""
        write_private(self.certificate_file(name), pem)

    def record(self, name: str) -> Record:
        """Return what is known of `name`; nothing where the file is missing or damaged."""
        try:
            return msgspec.json.decode(self._record_file(name).read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Record()

    def keep_record(self, name: str, record: Record) -> None:
        """Replace what is known of `name`."""
        write_private(self._record_file(name), msgspec.json.encode(record))

    def _record_file(self, name: str) -> Path:
        return self.certificate_file(name).with_suffix(".json")

    # ---- accounts ----------------------------------------------------------------------------------------------------

    def account(self, authority: str) -> tuple[bytes, str | None]:
        """Return (key as PEM, URL where known) of the account at `authority`; the key is made on first use."""
        file = self._account_file(authority)
        try:
            key = file.read_bytes()
        except FileNotFoundError:
            key = AccountKey.generate().pem()
            write_private(file, key)
        try:
            url = msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=_Account).url
        except (FileNotFoundError, msgspec.MsgspecError):
            url = None
        return key, url

    def keep_account(self, authority: str, url: str) -> None:
        """Note the URL of the account at `authority`."""
        write_private(self._account_file(authority).with_suffix(".json"), msgspec.json.encode(_Account(url)))

    def take_account(self, authority: str, key: bytes, url: str | None) -> None:
        """Replace the account at `authority` by that of other nodes."""
        file = self._account_file(authority)
        _remove([file.with_suffix(".json")])  # never another key's
        write_private(file, key)
        if url is not None:
            self.keep_account(authority, url)

    def _account_file(self, authority: str) -> Path:
        host = urlsplit(authority).hostname or "authority"
        digest = hashlib.sha256(authority.encode()).hexdigest()[:8]
        return self.directory / "accounts" / f"{_file_name(host)}-{digest}.pem"

    def keep_root(self, file: Path, certificate: bytes, key: bytes) -> None:
        """Store the root of the internal authority, its key first: a root without key would have to be trusted anew."""
        write_private(file.with_suffix(".key"), key)
        write_private(file, certificate)

    # ---- challenges --------------------------------------------------------------------------------------------------

    def keep_challenge(self, name: str, pem: bytes) -> Path:
        """Store the certificate that answers a challenge; return its file."""
        file = self.directory / "challenges" / f"{_file_name(name)}.pem"
        write_private(file, pem)
        return file

    def clear_challenges(self) -> None:
        """Remove the certificates of challenges."""
        _remove((self.directory / "challenges").glob("*"))

    def clear_leftovers(self) -> None:
        """Remove what a process that was killed left half-written, and its challenges."""
        self.clear_challenges()
        _remove(self.directory.glob("*/.*"))


def write_private(path: Path, content: bytes) -> None:
    """Put `content` into the file `path` in one step: whoever reads it finds the old content or the new, also after a
    crash. File and directories made on the way are for their owner alone. Raises OSError."""
    private_directory(path.parent)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        made.unlink()
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            made.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def private_directory(path: Path) -> None:
    """Make a directory and those above it that are missing, each for its owner alone. Raises OSError."""
    if not path.is_dir():
        private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def check_directory(path: Path) -> None:
    """Make sure that the directory is there and nobody else's. Raises TlsError."""
    try:
        private_directory(path)
        found = path.stat()
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror or error}") from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise TlsError(f"{path}: keys are kept here, so it must belong to edgewise's user and have mode 0700")


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def _file_name(name: str) -> str:
    """Return a host name as a file name: no separator, no leading dot, a wildcard's asterisk spelled."""
    return name.replace("*", "_").replace("/", "_").replace(":", "_").lstrip(".") or "_"
