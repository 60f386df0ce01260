"""The command that has this machine trust the internal authority: trust."""

from __future__ import annotations

from pathlib import Path

import click

from edgewise.cli.configuration import BadConfiguration, chosen_file, config_option, load_file


@click.command("trust", short_help="Have this machine trust tls.internal.")
@config_option
@click.option("--uninstall", is_flag=True, help="Trust it no more.")
def trust_command(file: Path | None, uninstall: bool) -> None:
    """Have this machine trust the certificates that `tls.internal` makes, by its system store.

    Where that takes other rights or the system is not Debian's kind, print what to do; exit status 1. Browsers with a
    store of their own (Firefox) must be told by themselves.
    """
    from edgewise.config import ConfigError
    from edgewise.server.instance import with_tls_directory
    from edgewise.tls.errors import TlsError
    from edgewise.tls.internal import root_file
    from edgewise.tls.trust import TrustStore

    path = chosen_file(file)
    try:
        settings = with_tls_directory(load_file(path)).tls
    except ConfigError as error:
        raise BadConfiguration(error) from None
    if not settings.internal or settings.directory is None:
        raise click.ClickException(f"{path} does not use the internal authority: set tls.internal = true")
    root, store = root_file(Path(settings.directory).absolute()), TrustStore()
    try:
        root.stat()
    except FileNotFoundError:
        raise click.ClickException(f"there is no root certificate at {root} yet: start edgewise once") from None
    except OSError as error:
        raise click.ClickException(f"{root}: {error.strerror}: run this as edgewise's user, or as root") from None
    if not store.usable:
        what = "trusted no more" if uninstall else "trusted"
        lines = [f"  {line}" for line in store.by_hand(root, uninstall=uninstall)]
        raise click.ClickException(
            "\n".join(
                [
                    f"this process may not change the system's store. To have {root} {what}, on Debian and its kin:",
                    *lines,
                    f"Elsewhere, let the system's or the browser's settings take {root} as an authority.",
                ]
            )
        )
    try:
        if not uninstall:
            store.install(root)
            click.echo(f"this machine trusts {root}; `edgewise trust --uninstall` ends it")
        elif store.uninstall(root):
            click.echo(f"this machine trusts {root} no more")
        else:
            click.echo(f"{root} was not trusted")
    except TlsError as error:
        raise click.ClickException(str(error)) from None
