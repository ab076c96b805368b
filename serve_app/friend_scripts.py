"""Lua that changes both sides of friendships, requests and blocks at once.

Every script touches the keys of two or more users, which it names itself, so none works on Redis
Cluster. `declines:NAME` is a hash of who declined requests of NAME, `how often:when`;
`declined:NAME` is the set of those whom NAME declined.
"""

_KEYS = """
local function key(kind, name) return 'hushcast:' .. kind .. ':' .. name end
local function has(kind, one, other) return redis.call('SISMEMBER', key(kind, one), other) == 1 end
local function add(kind, one, other) redis.call('SADD', key(kind, one), other) end
local function rem(kind, one, other) return redis.call('SREM', key(kind, one), other) end
local function unrelate(one, other)
  local changed = 0
  for _, kind in ipairs({'friends', 'incoming', 'outgoing'}) do
    changed = changed + rem(kind, one, other) + rem(kind, other, one)
  end
  return changed
end
local function forget_declines(one, other)
  redis.call('HDEL', key('declines', one), other)
  rem('declined', other, one)
end
local function decline(one, other, now, ttl)
  local times = tonumber(string.match(
    redis.call('HGET', key('declines', one), other) or '0', '%d+'))
  redis.call('HSET', key('declines', one), other, (times + 1) .. ':' .. now)
  add('declined', other, one)
  redis.call('EXPIRE', key('declines', one), ttl)
  redis.call('EXPIRE', key('declined', other), ttl)
end
"""

# ARGV: who asks, whom, now, the limits of friends and declines, how long declines count. Checks the
# accounts in the same script, so that a deleted account leaves no new request behind. Whether the
# other has blocked the caller is asked last, so that it decides no answer.
REQUEST = (
    _KEYS
    + """
local one, other, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('EXISTS', key('account', one), key('account', other)) < 2 then return 'unknown' end
if has('blocks', one, other) then return 'blocked' end
if has('friends', one, other) then return 'unchanged' end
local accepts = has('incoming', one, other)
if not accepts then
  local declines = redis.call('HGET', key('declines', one), other)
  if declines then
    local times, at = string.match(declines, '(%d+):(%d+)')
    local left = at + tonumber(ARGV[6]) - now
    if left <= 0 then forget_declines(one, other)
    elseif tonumber(times) >= tonumber(ARGV[5]) then return tostring(left) end
  end
  for _, name in ipairs({one, other}) do
    local known = 0
    for _, kind in ipairs({'friends', 'incoming', 'outgoing'}) do
      known = known + redis.call('SCARD', key(kind, name))
    end
    if known >= tonumber(ARGV[4]) then return 'full' end
  end
end
if accepts then
  unrelate(one, other)
  forget_declines(one, other)
  forget_declines(other, one)
  add('friends', one, other)
  add('friends', other, one)
  return 'friends'
end
add('outgoing', one, other)
if has('blocks', other, one) then return 'unheard' end
add('incoming', other, one)
return 'requested'
"""
)

END = (
    _KEYS
    + """
local one, other = ARGV[1], ARGV[2]
if has('incoming', one, other) then decline(other, one, ARGV[3], ARGV[4]) end
return unrelate(one, other)
"""
)

# A request of the blocked one that is pending counts as declined: it looks like that to them.
BLOCK = (
    _KEYS
    + """
local one, other = ARGV[1], ARGV[2]
if redis.call('EXISTS', key('account', one), key('account', other)) < 2 then return 'unknown' end
if has('blocks', one, other) then return 'blocked' end
if redis.call('SCARD', key('blocks', one)) >= tonumber(ARGV[5]) then return 'full' end
if has('incoming', one, other) then decline(other, one, ARGV[3], ARGV[4]) end
add('blocks', one, other)
add('blocked-by', other, one)
return unrelate(one, other) > 0 and 'changed' or 'unchanged'
"""
)

UNBLOCK = (
    _KEYS
    + """
local one, other = ARGV[1], ARGV[2]
if rem('blocks', one, other) == 0 then return 0 end
rem('blocked-by', other, one)
return rem('outgoing', other, one)
"""
)

# Leaves nothing of ARGV[1] for a later account of the same name to inherit; returns the friends and
# those with requests.
LEAVE = (
    _KEYS
    + """
local function leave(name)
  local others = redis.call('SUNION', key('friends', name), key('incoming', name),
    key('outgoing', name))
  for _, other in ipairs(others) do unrelate(name, other) end
  -- A request of somebody blocked stands on their side alone.
  for _, other in ipairs(redis.call('SMEMBERS', key('blocks', name))) do
    if rem('outgoing', other, name) == 1 then table.insert(others, other) end
  end
  for _, pair in ipairs({{'blocks', 'blocked-by'}, {'blocked-by', 'blocks'}}) do
    for _, other in ipairs(redis.call('SMEMBERS', key(pair[1], name))) do
      rem(pair[2], other, name)
    end
    redis.call('DEL', key(pair[1], name))
  end
  for _, other in ipairs(redis.call('HKEYS', key('declines', name))) do
    rem('declined', other, name)
  end
  for _, other in ipairs(redis.call('SMEMBERS', key('declined', name))) do
    redis.call('HDEL', key('declines', other), name)
  end
  redis.call('DEL', key('declines', name), key('declined', name))
  return others
end
"""
)
