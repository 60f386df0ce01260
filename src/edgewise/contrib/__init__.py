"""Glue for apps: sessions in ASGI, WSGI, Starlette, FastAPI, Flask and Django, a cache of values, tags of database rows."""
