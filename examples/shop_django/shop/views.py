"""Pages and API, with two layers of caches before the database. Nothing here names a tag: reading a model does."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.html import format_html, format_html_join

from edgewise.contrib.cache import cached
from shop.models import Product

Values = dict[str, str | int]


@cached(ttl=3600)
def product_values(key: int) -> Values | None:
    """Return what is shown of a product; None where there is no such product."""
    found = Product.objects.filter(pk=key).first()
    return None if found is None else values(found)


@cached(ttl=3600)
def all_values() -> list[Values]:
    """Return what is shown of every product."""
    return [values(product) for product in Product.objects.order_by("name")]


def values(product: Product) -> Values:
    """Return what is shown of a product."""
    return {"id": product.pk, "name": product.name, "price": str(product.price)}


def listing(request: HttpRequest) -> HttpResponse:
    """Show every product."""
    lines = format_html_join(
        "", '<li><a href="/products/{}/">{}</a> {}</li>', (tuple(v.values()) for v in all_values())
    )
    return HttpResponse(format_html("<title>Shop</title><ul>{}</ul>", lines))


def page(request: HttpRequest, key: int) -> HttpResponse:
    """Show a product."""
    shown = known(product_values(key))
    return HttpResponse(format_html("<title>{name}</title><h1>{name}</h1><p>{price}</p>", **shown))


def api_listing(request: HttpRequest) -> HttpResponse:
    """Return every product."""
    return JsonResponse(all_values(), safe=False)


def api_product(request: HttpRequest, key: int) -> HttpResponse:
    """Return a product."""
    return JsonResponse(known(product_values(key)))


def about(request: HttpRequest) -> HttpResponse:
    """Show what no product changes."""
    return HttpResponse("<title>About</title><p>A shop behind edgewise.</p>")


def known(found: Values | None) -> Values:
    """Return what was found. Raises Http404 where nothing was."""
    if found is None:
        raise Http404("there is no such product")
    return found
