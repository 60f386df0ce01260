"""A shop: products, with pages, an API and an admin."""
