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

# KEYS: lease, epoch counter, status, version, streaming, deadlines. ARGV: token, holder,
# TTL (ms) and epoch of the lease, then username, stream id, document, time until the deadline (s),
# TTL of the key (s), channel, change id, time of the change. Takes or renews the lease; writes only
# if we hold it. If the document is unchanged, only its deadline is renewed. Returns the current
# grant.
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
return standing
"""
)

# KEYS: lease, status, version, streaming, deadlines. ARGV: token, username, stream id, channel,
# change id, time of the change. Ends a stream and releases its lease, unless another holds it.
END = (
    lease.LUA
    + _PUBLISH
    + """
if release(KEYS[1], ARGV[1]) == 0 and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('HGET', KEYS[4], ARGV[2]) ~= ARGV[3] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[4], ARGV[2])
redis.call('ZREM', KEYS[5], ARGV[2])
publish(KEYS[3], ARGV[4], ARGV[2], nil, ARGV[5], ARGV[6])
return 1
"""
)

# KEYS: version, streaming, deadlines, sweeps. ARGV: prefix of statuses, channel, id of the changes,
# the greatest pause between sweeps, the patience after a longer one, the time from a heartbeat to
# its deadline (all in s), and how many ends to publish at most.
#
# Publishes the ends of streams whose deadline has passed, each once, whoever sweeps. Nobody could
# renew a deadline while Redis was away, and then nobody swept either: after a pause, actors get
# some time to do so. Returns username, stream id and change id of each end.
SWEEP = (
    NOW_LUA
    + _PUBLISH
    + """
local version, streaming, deadlines, sweeps = unpack(KEYS)
local statuses, channel, change_id = ARGV[1], ARGV[2], ARGV[3]
local pause, patience, life, most = unpack(ARGV, 4)
local at = now()
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

local ended = {}
local function publish_end(username)
  redis.call('ZREM', deadlines, username)
  local stream_id = redis.call('HGET', streaming, username)
  if not stream_id then return end
  redis.call('HDEL', streaming, username)
  redis.call('DEL', statuses .. username)
  local change = change_id .. '-' .. #ended / 3 + 1
  publish(version, channel, username, nil, change, string.format('%.6f', at))
  for _, each in ipairs({username, stream_id, change}) do table.insert(ended, each) end
end
for _, username in ipairs(redis.call('ZRANGEBYSCORE', deadlines, '-inf', at, 'LIMIT', 0, most)) do
  local left = left_of_earlier_release(username)
  if left then redis.call('ZADD', deadlines, at + left, username) else publish_end(username) end
end
return ended
"""
)
