"""Glue for apps: sessions in ASGI, WSGI, Starlette, FastAPI, Flask and Django, and a cache of an app's own values."""
