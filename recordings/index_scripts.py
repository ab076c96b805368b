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
local all_ids, unfinished, absent, due = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
"""

# Reads an entry without decoding it, as above. `tell` publishes a change only if the recording
# belongs to whoever has the name now, since people are told by name.
_OWNER = """
local function account_in(text) return string.match(text, '"account": "([^"]*)"') end
local function name_in(text) return string.match(text, '"username": "([^"]*)"') end
local function account_of(name)
  local account = redis.call('GET', 'hushcast:account:' .. name)
  return account and cjson.decode(account).id
end
local function keys_of_owner(text)
  local account = account_in(text)
  local owner = account and '#' .. account or name_in(text)
  local prefix = 'hushcast:recordings:'
  return prefix .. 'bytes:' .. owner, prefix .. 'of:' .. owner, prefix .. 'deleted:of:' .. owner
end
local function tell(channel, change)
  local account = account_in(change.recording)
  if account and account ~= account_of(name_in(change.recording)) then return end
  redis.call('PUBLISH', channel, cjson.encode(change))
end
"""

# KEYS: the ids, deleted ids and bytes of a name, its account, the ids that the bucket is yet to be
# told of. ARGV: the name. Returns the owner that the name means; it has what was the name's.
OWNER = (
    _OWNER
    + """
local account = account_of(ARGV[1])
if not account then return ARGV[1] end
local function give(key)
  local text = redis.call('GET', key)
  if not text or account_in(text) then return end
  local rest = string.gsub(string.sub(text, 2), ', "account": null', '')
  redis.call('SET', key, '{"account": "' .. account .. '", ' .. rest)
end
local own = '#' .. account
local found = redis.call('EXISTS', KEYS[1]) + redis.call('EXISTS', KEYS[2])
if found == 0 then return own end
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  give('hushcast:recording:' .. id)
  redis.call('ZADD', 'hushcast:recordings:of:' .. own, 0, id)
  redis.call('SADD', KEYS[5], id)
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  give('hushcast:recording:' .. id .. ':deleted')
  redis.call('SADD', 'hushcast:recordings:deleted:of:' .. own, id)
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], 'hushcast:recordings:bytes:' .. own)
return own
"""
)

# KEYS: an owner's bytes, ids, deleted ids.
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
    + _OWNER
    + """
if redis.call('EXISTS', mark) == 1 then return 0 end
local place = redis.call('EXISTS', deleted) == 1 and deleted or entry
local before = redis.call('GET', place)
if (before or redis.call('HGET', absent, ARGV[1]) or '') ~= ARGV[2] then return -1 end
local bytes, own_ids = keys_of_owner(ARGV[3])
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
tell(ARGV[4], {recording = ARGV[3], removed = false})
return 1
"""
)

# ARGV: id, seconds, channel, reason. Returns the entry, or nil.
DELETE = (
    NOW_LUA
    + _NAMES
    + _OWNER
    + """
local text = redis.call('GETDEL', entry)
if not text then return text end
local _, own_ids, own_deleted = keys_of_owner(text)
redis.call('SET', deleted, text)
redis.call('ZREM', own_ids, ARGV[1])
redis.call('ZREM', all_ids, ARGV[1])
redis.call('SADD', own_deleted, ARGV[1])
redis.call('ZADD', due, now() + ARGV[2], ARGV[1])
tell(ARGV[3], {recording = text, removed = true, reason = ARGV[4]})
return text
"""
)

# ARGV: id, channel. Returns the entry, or nil once it is too late.
RESTORE = (
    NOW_LUA
    + _NAMES
    + _OWNER
    + """
local at = redis.call('ZSCORE', due, ARGV[1])
if not at or now() >= tonumber(at) then return false end
local text = redis.call('GETDEL', deleted)
if not text then return text end
local _, own_ids, own_deleted = keys_of_owner(text)
redis.call('SET', entry, text)
redis.call('ZADD', own_ids, 0, ARGV[1])
redis.call('ZADD', all_ids, 0, ARGV[1])
redis.call('SREM', own_deleted, ARGV[1])
redis.call('ZREM', due, ARGV[1])
tell(ARGV[2], {recording = text, removed = false})
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
    + _OWNER
    + """
local listed = redis.call('GETDEL', entry)
local text = listed or redis.call('GETDEL', deleted)
if text then
  local bytes, own_ids, own_deleted = keys_of_owner(text)
  resize(bytes, text, false)
  redis.call('ZREM', own_ids, ARGV[1])
  redis.call('SREM', own_deleted, ARGV[1])
  if redis.call('EXISTS', own_ids) + redis.call('EXISTS', own_deleted) == 0 then
    redis.call('DEL', bytes)
  end
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
  tell(ARGV[3], change)
end
return text
"""
)
