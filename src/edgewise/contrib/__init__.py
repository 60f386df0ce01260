"""Glue for apps: sessions in ASGI, WSGI, Starlette, FastAPI, Flask and Django, a cache, tags of database rows."""
