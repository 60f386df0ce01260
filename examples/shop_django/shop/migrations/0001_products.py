"""The table of products, and on PostgreSQL the triggers that tell edgewise of writes to it."""

from __future__ import annotations

from typing import ClassVar

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from edgewise.contrib.postgres import drop_triggers, install_triggers

PRODUCTS = [("Kettle", "39.00"), ("Teapot", "24.50"), ("Cup", "6.00"), ("Spoon", "2.80")]


def watch(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Have writes told. A project that is on PostgreSQL alone writes `migrations.RunSQL(install_triggers(...))`."""
    if editor.connection.vendor == "postgresql":
        editor.execute(install_triggers("shop_product"), params=None)


def unwatch(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Undo it."""
    if editor.connection.vendor == "postgresql":
        editor.execute(drop_triggers("shop_product"), params=None)


def stock(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Have something to sell."""
    product = apps.get_model("shop", "Product")
    for name, price in PRODUCTS:
        product.objects.create(name=name, price=price)


class Migration(migrations.Migration):
    """The first."""

    initial = True
    operations: ClassVar = [
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                ("price", models.DecimalField(decimal_places=2, max_digits=8)),
            ],
        ),
        migrations.RunPython(watch, unwatch),
        migrations.RunPython(stock, migrations.RunPython.noop),
    ]
