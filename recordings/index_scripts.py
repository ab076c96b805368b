"""The index's changes in Redis, each in one step. KEYS are those of `keys_of`, unless said."""

from foundation.redis import NOW_LUA

# Reads a size without decoding the peaks behind it. A quotation mark inside a text is escaped, so
# the pattern matches the field alone.
_SIZES = """
local function size_of(text)
  return text and tonumber(string.match(text, '"size_bytes": (%d+)')) or 0
end
local function resize(bytes, before, after)
  local change = size_of(after) - size_of(before)
  if change ~= 0 and redis.call('EXISTS', bytes) == 1 then redis.call('INCRBY', bytes, change) end
end
"""

_NAMES = """
local entry, mark, deleted = KEYS[1], KEYS[2], KEYS[3]
local bytes, own_ids, own_deleted = KEYS[4], KEYS[5], KEYS[6]
local all_ids, unfinished, absent, due = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
"""

# KEYS: user's bytes, user's ids, user's deleted ids.
USED = (
    _SIZES
    + """
local known = redis.call('GET', KEYS[1])
if known then return tonumber(known) end
local used, found = 0, 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  used = used + size_of(redis.call('GET', 'hushcast:recording:' .. id))
  found = found + 1
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  used = used + size_of(redis.call('GET', 'hushcast:recording:' .. id .. ':deleted'))
  found = found + 1
end
if found > 0 then redis.call('SET', KEYS[1], string.format('%d', used)) end
return used
"""
)

# Returns what is known of a recording: its entry, one that is deleted, one whose node is lost.
# Then, whether it is deleted.
KNOWN = (
    _NAMES
    + """
local text = redis.call('GET', deleted)
if text then return {text, 1} end
return {redis.call('GET', entry) or redis.call('HGET', absent, ARGV[1]) or '', 0}
"""
)

# ARGV: id, what was known before, new JSON, channel, state.
# Returns 0 for a removed id, -1 if something else is known by now, else 1.
PUT = (
    _SIZES
    + _NAMES
    + """
if redis.call('EXISTS', mark) == 1 then return 0 end
local place = redis.call('EXISTS', deleted) == 1 and deleted or entry
local before = redis.call('GET', place)
if (before or redis.call('HGET', absent, ARGV[1]) or '') ~= ARGV[2] then return -1 end
resize(bytes, before, ARGV[3])
redis.call('SET', place, ARGV[3])
if ARGV[5] == 'recording' or ARGV[5] == 'storing' then
  redis.call('SADD', unfinished, ARGV[1])
else
  redis.call('SREM', unfinished, ARGV[1])
end
if place == deleted then return 1 end
redis.call('ZADD', own_ids, 0, ARGV[1])
redis.call('ZADD', all_ids, 0, ARGV[1])
redis.call('HDEL', absent, ARGV[1])
redis.call('PUBLISH', ARGV[4], cjson.encode({recording = ARGV[3], removed = false}))
return 1
"""
)

# ARGV: id, seconds, channel, reason. Returns the entry, or nil.
DELETE = (
    NOW_LUA
    + _NAMES
    + """
local text = redis.call('GETDEL', entry)
if not text then return text end
redis.call('SET', deleted, text)
redis.call('ZREM', own_ids, ARGV[1])
redis.call('ZREM', all_ids, ARGV[1])
redis.call('SADD', own_deleted, ARGV[1])
redis.call('ZADD', due, now() + ARGV[2], ARGV[1])
redis.call('PUBLISH', ARGV[3],
  cjson.encode({recording = text, removed = true, reason = ARGV[4]}))
return text
"""
)

# ARGV: id, channel. Returns the entry, or nil once it is too late.
RESTORE = (
    NOW_LUA
    + _NAMES
    + """
local at = redis.call('ZSCORE', due, ARGV[1])
if not at or now() >= tonumber(at) then return false end
local text = redis.call('GETDEL', deleted)
if not text then return text end
redis.call('SET', entry, text)
redis.call('ZADD', own_ids, 0, ARGV[1])
redis.call('ZADD', all_ids, 0, ARGV[1])
redis.call('SREM', own_deleted, ARGV[1])
redis.call('ZREM', due, ARGV[1])
redis.call('PUBLISH', ARGV[2], cjson.encode({recording = text, removed = false}))
return text
"""
)

# KEYS: the ids by when they are due. Returns those that are.
DUE = (
    NOW_LUA
    + """
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, 100)
"""
)

# ARGV: id, TTL of the mark in seconds (0: absent, not removed), channel, reason (may be empty).
# Returns the entry, or nil.
REMOVE = (
    _SIZES
    + _NAMES
    + """
local listed = redis.call('GETDEL', entry)
local text = listed or redis.call('GETDEL', deleted)
resize(bytes, text, false)
redis.call('ZREM', own_ids, ARGV[1])
redis.call('SREM', own_deleted, ARGV[1])
if redis.call('EXISTS', own_ids) + redis.call('EXISTS', own_deleted) == 0 then
  redis.call('DEL', bytes)
end
redis.call('ZREM', all_ids, ARGV[1])
redis.call('ZREM', due, ARGV[1])
redis.call('SREM', unfinished, ARGV[1])
redis.call('HDEL', absent, ARGV[1])
if ARGV[2] ~= '0' then
  redis.call('SET', mark, '1', 'EX', ARGV[2])
elseif text then
  redis.call('HSET', absent, ARGV[1], text)
end
if listed then
  local change = {recording = listed, removed = true}
  if ARGV[4] ~= '' then change.reason = ARGV[4] end
  redis.call('PUBLISH', ARGV[3], cjson.encode(change))
end
return text
"""
)
