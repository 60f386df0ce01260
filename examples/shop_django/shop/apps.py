"""Has writes of the app purge before they are answered: whoever changes a price sees it on the next page."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_delete, post_save

import edgewise
from edgewise.contrib.tags import row_tag, table_tag


class Shop(AppConfig):
    """The app."""

    name = "shop"

    def ready(self) -> None:
        """Watch products."""
        product = self.get_model("Product")
        post_save.connect(written, product)
        post_delete.connect(written, product)


def written(instance: Any, **_details: Any) -> None:
    """Have what shows a product purged once the transaction is committed; one that is rolled back purges nothing."""
    tags = [row_tag("shop_product", instance.pk), table_tag("shop_product")]
    transaction.on_commit(lambda: edgewise.purge(tags=tags))
