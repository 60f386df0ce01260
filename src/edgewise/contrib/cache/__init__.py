"""The cache of an app's own values: `@cached` functions and keys, in memory over the shared state."""

from edgewise.contrib.cache.app_cache import AppCache
from edgewise.contrib.cache.functions import CachedCoroutine, CachedFunction, cached

__all__ = ["AppCache", "CachedCoroutine", "CachedFunction", "cached"]
