"""Commands about the database whose writes purge: db triggers."""

from __future__ import annotations

import click


@click.group("db", short_help="Print the SQL that has a database tell of its writes.")
def db_command() -> None:
    """About the database whose writes purge what was read of it."""


@db_command.command("triggers")
@click.option("--table", "tables", metavar="NAME", multiple=True, required=True, help="A table. May be repeated.")
@click.option("--schema", metavar="NAME", default="", help="Where the tables are; by default found by search_path.")
@click.option("--drop", is_flag=True, help="Print the SQL that removes the triggers.")
def db_triggers(tables: tuple[str, ...], schema: str, drop: bool) -> None:
    """Print the SQL of PostgreSQL triggers that tell edgewise of every write to tables, whoever makes it.

    \b
    edgewise db triggers --table shop_product --table shop_price | psql -1 shop

    Running it again changes nothing. With --schema, tags name the schema too, as where the ORM does. edgewise hears
    the triggers where its configuration has a [database] table.
    """
    from edgewise.contrib.postgres import drop_triggers, install_triggers

    try:
        sql = (drop_triggers if drop else install_triggers)(*tables, schema=schema)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(sql, nl=False)
