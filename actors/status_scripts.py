"""The changes of live status in Redis, each in one step. `status.py` says what the keys are."""

from foundation import lease
from foundation.redis import NOW_LUA

# Lua wraps a status as a string without decoding it: cjson rounds numbers and cannot tell an empty
# list from an empty object.
_PUBLISH = """
local function publish(version_key, channel, username, document, change_id, changed_at)
  local version = redis.call('INCR', version_key)
  redis.call('PUBLISH', channel, cjson.encode({version = version, username = username,
    stream = document, change_id = change_id, changed_at = changed_at}))
  return version
end
"""

# KEYS: lease, epoch counter, status, version, streaming, deadlines, hosted, called. ARGV: token,
# holder, TTL (ms) and epoch of the lease, then username, stream id, document, time until the
# deadline (s), TTL of the key (s), channel, change id, time of the change, TTL of the host's list
# (s). Takes or renews the lease; writes only if we hold it. If the document is unchanged, only its
# deadline is renewed. Returns the current grant.
WRITE = (
    lease.LUA
    + NOW_LUA
    + _PUBLISH
    + """
local standing, ours = hold(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
if not ours then return standing end
redis.call('ZADD', KEYS[6], now() + ARGV[8], ARGV[5])
local current = redis.call('GET', KEYS[3])
if current and cjson.decode(current).stream == ARGV[7] then
  redis.call('EXPIRE', KEYS[3], ARGV[9])
  return standing
end
local version = publish(KEYS[4], ARGV[10], ARGV[5], ARGV[7], ARGV[11], ARGV[12])
local document = cjson.encode({version = version, stream = ARGV[7]})
redis.call('SET', KEYS[3], document, 'EX', ARGV[9])
redis.call('HSET', KEYS[5], ARGV[5], ARGV[6])
redis.call('SADD', KEYS[7], ARGV[5])
redis.call('EXPIRE', KEYS[7], ARGV[13])
redis.call('ZREM', KEYS[8], ARGV[5])
return standing
"""
)

# KEYS: lease, status, version, streaming, deadlines, hosted. ARGV: token, username, stream id,
# actor, channel, change id, time of the change. Ends a stream and releases its lease, unless
# another holds it. The same stream may go on with another actor: that one's status stays.
END = (
    lease.LUA
    + _PUBLISH
    + """
if release(KEYS[1], ARGV[1]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('HGET', KEYS[4], ARGV[2]) ~= ARGV[3] then return 0 end
local current = redis.call('GET', KEYS[2])
if current and cjson.decode(cjson.decode(current).stream).actor ~= ARGV[4] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[4], ARGV[2])
redis.call('ZREM', KEYS[5], ARGV[2])
redis.call('SREM', KEYS[6], ARGV[2])
publish(KEYS[3], ARGV[5], ARGV[2], nil, ARGV[6], ARGV[7])
return 1
"""
)

# Asks a user's pages to wait, or to publish again. What was asked is kept: the socket of such a
# page is often lost together with its stream.
_ASK = """
local function ask(asked, life_s, control, username, action, stream_id)
  local message = cjson.encode({username = username, action = action, stream_id = stream_id,
    session = ''})
  redis.call('SET', asked .. username, message, 'EX', life_s)
  redis.call('PUBLISH', control, message)
end
"""

# For what a dead actor cannot end itself. KEYS: version, streaming, deadlines, returning. ARGV:
# prefixes of statuses and hosts' lists, channels of changes and control, id of the changes, prefix
# and life (s) of what pages were asked. `bury(username)` publishes the end of a stream, once, and
# lets its page wait for its turn to come back. `ended` has username, stream id and change id of
# each end.
_BURY = (
    NOW_LUA
    + _PUBLISH
    + _ASK
    + """
local version, streaming, deadlines, returning = unpack(KEYS)
local statuses, hosted, channel, control, change_id, asked, asked_life_s = unpack(ARGV)
local at = now()

local function actor_of(username)
  local text = redis.call('GET', statuses .. username)
  return text and cjson.decode(cjson.decode(text).stream).actor
end

local ended = {}
local function bury(username)
  redis.call('ZREM', deadlines, username)
  local stream_id = redis.call('HGET', streaming, username)
  if not stream_id then return end
  redis.call('HDEL', streaming, username)
  local actor = actor_of(username)
  if actor then redis.call('SREM', hosted .. actor, username) end
  redis.call('DEL', statuses .. username)
  local change = change_id .. '-' .. #ended / 3 + 1
  publish(version, channel, username, nil, change, string.format('%.6f', at))
  ask(asked, asked_life_s, control, username, 'wait', stream_id)
  redis.call('ZADD', returning, at, username .. ' ' .. stream_id)
  for _, each in ipairs({username, stream_id, change}) do table.insert(ended, each) end
end
"""
)

# KEYS and ARGV: those of `_BURY`, and the sweeps' key; then the greatest pause between sweeps, the
# patience after a longer one, the time from a heartbeat to its deadline (all in s), and how many
# ends to publish at most.
#
# Buries the streams whose deadline has passed, each once, whoever sweeps. Nobody could renew a
# deadline while Redis was away, and then nobody swept either: after a pause, actors get some time
# to do so. Returns `ended`.
SWEEP = (
    _BURY
    + """
local sweeps = KEYS[5]
local pause, patience, life, most = unpack(ARGV, 8)
local last, from = unpack(redis.call('HMGET', sweeps, 'at', 'from'))
if at - (last or 0) > tonumber(pause) then from = at + patience end
redis.call('HSET', sweeps, 'at', at, 'from', from)
if at < tonumber(from) then return {} end

-- An actor of an earlier release sets no deadline, but renews a key that expires when one would
-- pass.
if redis.call('HLEN', streaming) > redis.call('ZCARD', deadlines) then
  for _, username in ipairs(redis.call('HKEYS', streaming)) do
    redis.call('ZADD', deadlines, 'NX', at + life, username)
  end
end
local function left_of_earlier_release(username)
  local left = redis.call('PTTL', statuses .. username) / 1000
  return left > 0 and left <= tonumber(life) and left
end

for _, username in ipairs(redis.call('ZRANGEBYSCORE', deadlines, '-inf', at, 'LIMIT', 0, most)) do
  local left = left_of_earlier_release(username)
  if left then redis.call('ZADD', deadlines, at + left, username) else bury(username) end
end
return ended
"""
)

# KEYS and ARGV: those of `_BURY`; then the actor, the prefix of leases, and how long the mark on a
# revoked one stays (s). Buries all streams of an actor that is dead, and revokes its leases on
# them: should it be alive after all, it ends them. Returns `ended`.
BURY_ACTOR = (
    lease.LUA
    + _BURY
    + """
local actor, leases, void_s = unpack(ARGV, 8)
for _, username in ipairs(redis.call('SMEMBERS', hosted .. actor)) do
  if actor_of(username) == actor then bury(username) end
  revoke_from(leases .. username, actor, void_s)
end
redis.call('DEL', hosted .. actor)
return ended
"""
)

# KEYS: returning, called. ARGV: prefixes of statuses, of leases and of what pages were asked,
# channel of control, how many may be called and not be back yet, how long one who does not come
# counts among these, and how long pages wait (s). Calls the pages whose turn it is, the longest
# waiting first; not those whose lease somebody holds: a cut-off actor may still be heard. Returns
# username and stream id of each.
CALL_BACK = (
    NOW_LUA
    + _ASK
    + """
local returning, called = unpack(KEYS)
local statuses, leases, asked, control, most, coming, patience = unpack(ARGV)
local at = now()
redis.call('ZREMRANGEBYSCORE', returning, '-inf', at - patience)
redis.call('ZREMRANGEBYSCORE', called, '-inf', at - coming)
local free, told = most - redis.call('ZCARD', called), {}
for _, each in ipairs(redis.call('ZRANGE', returning, 0, -1)) do
  if free <= 0 then break end
  local username, stream_id = string.match(each, '^(%S+) (%S+)$')
  if redis.call('EXISTS', statuses .. username) == 1 then
    redis.call('ZREM', returning, each)
  elseif redis.call('EXISTS', leases .. username) == 0 then
    redis.call('ZREM', returning, each)
    redis.call('ZADD', called, at, username)
    ask(asked, patience, control, username, 'republish', stream_id)
    free = free - 1
    for _, name in ipairs({username, stream_id}) do table.insert(told, name) end
  end
end
return told
"""
)
