"""What the server does in one step, in Lua.

Numbers that must never repeat (revisions, fencing tokens) are the server's time in microseconds, or one more than the
last: they grow even when a server comes back without its data.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

REVISION_DIGITS = 16
"""Before each value stands its revision, in so many digits."""


class Script(NamedTuple):
    """A script and the name under which the server remembers it."""

    source: str
    sha: str


def _script(source: str) -> Script:
    return Script(source, hashlib.sha1(source.encode()).hexdigest())


_NEXT_NUMBER = """
local function next_number(key)
  local time = redis.call('TIME')
  local number = math.max(tonumber(redis.call('GET', key) or '0') + 1, time[1] * 1000000 + time[2])
  local text = string.format('%016.0f', number)
  redis.call('SET', key, text)
  return text
end
"""

GET_ALL = _script("""
local found = {}
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value then found[#found + 1] = {i, value, redis.call('PTTL', key)} end
end
return found
""")
"""KEYS: entries. Result: (number, value, ttl)s of those that are there."""

SET = _script(
    _NEXT_NUMBER
    + """
local present = redis.call('GETRANGE', KEYS[1], 0, 15)
if ARGV[4] ~= '' and tonumber(present == '' and '0' or present) ~= tonumber(ARGV[4]) then return false end
local revision = next_number(KEYS[2])
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], revision .. ARGV[2])
else
  redis.call('SET', KEYS[1], revision .. ARGV[2], 'PX', ARGV[3])
end
if present == '' then redis.call('ZADD', KEYS[3], 0, ARGV[1]) end
return revision
"""
)
"""KEYS: entry, last revision, index. ARGV: key, value, milliseconds or '', expected revision or ''."""

DELETE = _script("""
local present = redis.call('GETRANGE', KEYS[1], 0, 15)
if present == '' then return 0 end
if ARGV[2] ~= '' and tonumber(present) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
""")
"""KEYS: entry, index. ARGV: key, expected revision or ''."""

ENTRIES = _script("""
local found = {}
local keys = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
for _, key in ipairs(keys) do
  local value = redis.call('GET', ARGV[1] .. key)
  if value then
    found[#found + 1] = {key, value, redis.call('PTTL', ARGV[1] .. key)}
  else
    redis.call('ZREM', KEYS[1], key)
  end
end
return {#keys > 0 and keys[#keys] or '', found}
""")
"""KEYS: index. ARGV: prefix of entries, lexical range, how many. Result: last key looked at, (key, value, ttl)s."""

SWEEP = _script("""
local removed = 0
for _, key in ipairs(redis.call('ZRANDMEMBER', KEYS[1], ARGV[2])) do
  if redis.call('EXISTS', ARGV[1] .. key) == 0 then removed = removed + redis.call('ZREM', KEYS[1], key) end
end
return removed
""")
"""KEYS: index. ARGV: prefix of entries, how many to try."""

_WINDOW = """
local key, left = KEYS[1], -1
local window = tonumber(ARGV[1])
if window > 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local number = math.floor(now / window)
  key = key .. '@' .. string.format('%.0f', number)
  left = (number + 1) * window - now
end
"""

ADD = _script(
    _WINDOW
    + """
local value = redis.call('INCRBY', key, ARGV[2])
if left >= 0 and redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, left + 1000) end
return {value, left}
"""
)
"""KEYS: counter. ARGV: window in milliseconds or 0, amount."""

COUNT = _script(_WINDOW + "return tonumber(redis.call('GET', key) or '0')")
"""KEYS: counter. ARGV: window in milliseconds or 0."""

RESTORE = _script(
    _WINDOW
    + """
local value = tonumber(redis.call('GET', key) or '0')
if tonumber(ARGV[2]) <= value then return value end
redis.call('SET', key, ARGV[2])
if left >= 0 then redis.call('PEXPIRE', key, left + 1000) end
return tonumber(ARGV[2])
"""
)
"""KEYS: counter. ARGV: window in milliseconds or 0, value."""

PUBLISH = _script("""
local cursor = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], cursor .. '-0', 'p', ARGV[1])
return cursor
""")
"""KEYS: stream, last cursor. ARGV: payload, how many are kept."""

MESSAGES = _script("""
local after, last = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[2]) or '0')
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local kept = first[1] and tonumber(string.match(first[1][1], '^%d+')) or last + 1
if after > last or after + 1 < kept then return {kept, last} end
return {0, 0, redis.call('XRANGE', KEYS[1], string.format('%.0f-0', after + 1), '+', 'COUNT', ARGV[2])}
""")
"""KEYS: stream, last cursor. ARGV: cursor, how many. Result: (0, 0, messages), or what is kept where there is a gap."""

ACQUIRE = _script(
    _NEXT_NUMBER
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local token = next_number(KEYS[2])
redis.call('SET', KEYS[1], token .. ARGV[1], 'PX', ARGV[2])
return token
"""
)
"""KEYS: lease, last token. ARGV: owner, milliseconds."""

RENEW = _script("""
local present = redis.call('GETRANGE', KEYS[1], 0, 15)
if present == '' or tonumber(present) ~= tonumber(ARGV[1]) then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
"""KEYS: lease. ARGV: token, milliseconds or '' to give it back."""

RAISE = _script("""
for index = 1, 2 do
  if tonumber(ARGV[index]) > tonumber(redis.call('GET', KEYS[index]) or '0') then
    redis.call('SET', KEYS[index], string.format('%016.0f', ARGV[index]))
  end
end
return 1
""")
"""KEYS: last revision, last token. ARGV: floors of both."""
