"""Races edgewise against other proxies: CPU time of the proxy's process tree per unit of work."""
